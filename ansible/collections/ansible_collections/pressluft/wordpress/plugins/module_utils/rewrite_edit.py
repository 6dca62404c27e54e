"""Edits of a byte string, and how they reach through an escaped form of it.

Rewriting never prints a value anew: it finds the few places that change and leaves every other byte as it was.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import Callable, Iterable, List, NamedTuple


class Edit(NamedTuple):
    """One place that changes: `start` and `end` in bytes, what comes there, and how many needles that replaces."""

    start: int
    end: int
    new: bytes
    count: int = 1


class Unescaped(NamedTuple):
    """A text with its escapes undone, and where each escape ended on either side."""

    text: bytes
    text_marks: List[int]
    raw_marks: List[int]

    def find_raw(self, at: int) -> int:
        """Place in the escaped form of the place `at` in the text; `at` must not lie inside one character."""
        mark = bisect_right(self.text_marks, at) - 1
        return at if mark < 0 else self.raw_marks[mark] + at - self.text_marks[mark]


def apply_edits(value: bytes, edits: Iterable[Edit]) -> bytes:
    """`value` with the edits made; they must be in order and must not overlap."""
    pieces, at = [], 0
    for edit in edits:
        pieces += (value[at : edit.start], edit.new)
        at = edit.end
    pieces.append(value[at:])
    return b"".join(pieces)


def find_growth(edits: Iterable[Edit]) -> int:
    """How many bytes longer (negative: shorter) a value is after the edits."""
    return sum(len(edit.new) - edit.end + edit.start for edit in edits)


def shift_edits(edits: Iterable[Edit], by: int) -> List[Edit]:
    """The same edits for a text that starts `by` bytes further on."""
    return [Edit(edit.start + by, edit.end + by, edit.new, edit.count) for edit in edits]


def escape_edits(edits: Iterable[Edit], plain: Unescaped, escape: Callable[[bytes], bytes]) -> List[Edit]:
    """Edits of the plain text, as edits of its escaped form."""
    return [
        Edit(plain.find_raw(edit.start), plain.find_raw(edit.end), escape(edit.new), edit.count)
        for edit in edits
    ]


def undo_escapes(
    raw: bytes, pattern: re.Pattern[bytes], undo: Callable[[re.Match[bytes]], bytes]
) -> Unescaped:
    """The text that `raw` stands for, where each match of `pattern` stands for what `undo` makes of it."""
    pieces: List[bytes] = []
    text_marks: List[int] = []
    raw_marks: List[int] = []
    at = length = 0
    for found in pattern.finditer(raw):
        piece = undo(found)
        pieces += (raw[at : found.start()], piece)
        length += found.start() - at + len(piece)
        at = found.end()
        text_marks.append(length)
        raw_marks.append(at)
    pieces.append(raw[at:])
    return Unescaped(b"".join(pieces), text_marks, raw_marks)


_PERCENT = re.compile(rb"%[0-9A-Fa-f]{2}|\+")
_RESERVED = re.compile(rb"[^A-Za-z0-9._~-]")
_LOWER_HEX = re.compile(rb"%(?:[0-9][a-f]|[a-f][0-9a-f])")


def undo_percent(raw: bytes) -> Unescaped:
    """The text behind PHP's `urlencode` or `rawurlencode`."""
    return undo_escapes(
        raw, _PERCENT, lambda found: b" " if found[0] == b"+" else bytes((int(found[0][1:], 16),))
    )


def percent_escape(raw: bytes) -> Callable[[bytes], bytes]:
    """How to percent-encode a text so that it fits into `raw`: its hex digits are in the same case."""
    form = b"%%%02x" if _LOWER_HEX.search(raw) else b"%%%02X"
    return lambda text: _RESERVED.sub(lambda found: form % found[0][0], text)


_BINARY = re.compile(rb"\\[0-9A-Fa-f]{2}")


def undo_binary(raw: bytes) -> Unescaped:
    """The text of an `S:` string, in which PHP writes any byte as a backslash and two hex digits."""
    return undo_escapes(raw, _BINARY, lambda found: bytes((int(found[0][1:], 16),)))


def binary_escape(text: bytes) -> bytes:
    """`text` as it may stand in an `S:` string."""
    return text.replace(b"\\", b"\\5c")


_JSON_ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\[\"\\/bfnrt]"
)
_JSON_LETTERS = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t"}
_JSON_MUST_ESCAPE = re.compile(rb"[\x00-\x1f\"\\]")
_JSON_BARE_SLASH = re.compile(rb"(?<!\\)(?:\\\\)*/")


def undo_json(raw: bytes) -> Unescaped:
    """The UTF-8 text of a JSON string, given without its quotes."""
    return undo_escapes(raw, _JSON_ESCAPE, _undo_json_escape)


def _undo_json_escape(found: re.Match[bytes]) -> bytes:
    escape = found[0]
    if escape[1:2] != b"u":
        return _JSON_LETTERS.get(escape[1:], escape[1:])
    units = b"".join(bytes.fromhex(part.decode()) for part in escape.split(b"\\u")[1:])
    return units.decode("utf-16-be", "surrogatepass").encode("utf-8", "surrogatepass")


def find_json_slash(raw: bytes, otherwise: bytes) -> bytes:
    """How slashes are written in a piece of JSON, bare or with a backslash; `otherwise` if it has none."""
    if b"/" not in raw:
        return otherwise
    return b"/" if _JSON_BARE_SLASH.search(raw) else b"\\/"


def json_escape(slash: bytes) -> Callable[[bytes], bytes]:
    """How to write a text into a JSON string."""
    return lambda text: _JSON_MUST_ESCAPE.sub(_escape_json_char, text).replace(b"/", slash)


def _escape_json_char(found: re.Match[bytes]) -> bytes:
    return b"\\" + found[0] if found[0] in b'"\\' else b"\\u%04x" % found[0][0]
