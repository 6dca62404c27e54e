"""Moves values of a WordPress database from one site's addresses and paths to another's (design.md §5).

A value is read as what it is: PHP's serialized data, JSON, either of them percent-encoded, or plain text; and so
is each string within, down to plain text. Only addresses, paths and the lengths written before them change.

What is not sound is left as it was and named in `left_alone`: serialized data that PHP could not read, or with
more bytes behind it; the payload of a `C:` object, unless it is itself made of serialized data, is JSON, or is
text in which no number could count bytes; arrays in which two keys would become one.

A second run changes nothing, even where a new text holds an old one. The one exception: if the source's place
begins with the target's (`a.test/shop` -> `a.test`), what is left of `a.test/shop/shop` after the first run cannot
be told from a value that was never rewritten.
"""

from __future__ import annotations

import re
from typing import List, NamedTuple, Optional, Sequence, Set, Tuple, TypeVar

from ansible_collections.pressluft.wordpress.plugins.module_utils.php_serialize import (
    Malformed,
    Text,
    looks_serialized,
    read_payload,
    read_serialized,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.rewrite_edit import (
    Edit,
    Unescaped,
    apply_edits,
    binary_escape,
    escape_edits,
    find_growth,
    find_json_slash,
    json_escape,
    percent_escape,
    shift_edits,
    undo_binary,
    undo_json,
    undo_percent,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.rewrite_json import Literal, find_literals
from ansible_collections.pressluft.wordpress.plugins.module_utils.rewrite_match import Matcher
from ansible_collections.pressluft.wordpress.plugins.module_utils.rewrite_table import make_url_replacements

__all__ = ["MAX_LAYERS", "Rewriter", "Rewritten", "make_url_replacements", "rewrite"]

MAX_LAYERS = 32  # of strings within strings: bounds the work, as each layer is read once more

_PHP_SLASH = b"\\/"  # what json_encode writes for a slash unless told not to
_LOOKS_PERCENT = re.compile(rb"\s*(?:[aOCsSE]%3[aA][0-9]+%3[aA]|%7[bB]|%5[bB]|%22)")
# Control characters, serialized tokens, or numbers that may count the bytes of what follows them.
_COUNTS_BYTES = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]|[A-Za-z]:[+-]?[0-9]+[:;]|(?<![0-9.])[0-9]+[:|]")


class Rewritten(NamedTuple):
    """A value after rewriting, how many addresses and paths were replaced in it, and why parts were left alone."""

    value: bytes
    count: int
    left_alone: Tuple[str, ...]


def rewrite(value: bytes, replacements: Sequence[Tuple[bytes, bytes]]) -> Rewritten:
    """One value with all replacements made in one pass; for many values keep a `Rewriter`."""
    return Rewriter(replacements).rewrite(value)


class Rewriter:
    """A table of replacements, compiled once for millions of values.

    Old texts are addresses or absolute paths in their plain form, UTF-8, in the case in which they are written.
    They match whole names only, and the longest wins. Raises ValueError for a table that cannot be applied.
    """

    def __init__(self, replacements: Sequence[Tuple[bytes, bytes]]) -> None:
        self._matcher = Matcher(replacements)
        # A value that holds none of these is never changed, so a query may look for them first.
        self.cores = self._matcher.cores

    def rewrite(self, value: bytes) -> Rewritten:
        """The value with all replacements made; the same object if nothing was."""
        for core in self.cores:
            if core in value:
                break
        else:
            return Rewritten(value, 0, ())
        walk = _Walk(self._matcher)
        edits = walk.find_edits(value, 0)
        if not edits:
            return Rewritten(value, 0, tuple(walk.left_alone))
        return Rewritten(apply_edits(value, edits), sum(edit.count for edit in edits), tuple(walk.left_alone))


_Part = TypeVar("_Part", Text, Literal)


class _Walk:
    """One value on its way down through the forms it is nested in."""

    def __init__(self, matcher: Matcher) -> None:
        self._matcher = matcher
        self.left_alone: List[str] = []

    def find_edits(self, text: bytes, layer: int) -> List[Edit]:
        """The edits of a text that holds a core, `layer` strings deep in the value."""
        if layer > MAX_LAYERS:
            return self._leave(text, f"strings nested more than {MAX_LAYERS} deep")
        if looks_serialized(text):
            return self._edit_serialized(text, layer)
        literals = find_literals(text)
        if literals is not None:
            return self._edit_json(text, literals, layer)
        if _LOOKS_PERCENT.match(text):
            edits = self._edit_percent(text, layer)
            if edits is not None:
                return edits
        return self._matcher.find_edits(text)

    def _leave(self, text: bytes, reason: str) -> List[Edit]:
        """No edits; the reason is worth telling only if there is something to replace."""
        if self._matcher.find_edits(text):
            self.left_alone.append(reason)
        return []

    def _edit_serialized(self, text: bytes, layer: int) -> List[Edit]:
        try:
            parts = read_serialized(text)
        except Malformed as error:
            return self._leave(text, str(error))
        return self._edit_counted(text, parts, layer)

    def _edit_counted(self, text: bytes, parts: Sequence[Text], layer: int) -> List[Edit]:
        """Edits of texts with their length before them, and of those lengths."""
        edits: List[Edit] = []
        for part, plain, inner in self._edit_parts(text, parts, layer):
            growth = find_growth(inner)
            if growth:
                edits.append(Edit(part.length_at, part.start - 2, b"%d" % (part.length + growth), 0))
            edits += shift_edits(
                escape_edits(inner, plain, binary_escape if part.kind == "S" else bytes), part.start
            )
        return edits

    def _edit_json(self, text: bytes, literals: Sequence[Literal], layer: int) -> List[Edit]:
        slash = find_json_slash(text, _PHP_SLASH)
        edits: List[Edit] = []
        for part, plain, inner in self._edit_parts(text, literals, layer):
            escape = json_escape(find_json_slash(text[part.start : part.end], slash))
            edits += shift_edits(escape_edits(inner, plain, escape), part.start)
        return edits

    def _edit_parts(
        self, text: bytes, parts: Sequence[_Part], layer: int
    ) -> List[Tuple[_Part, Unescaped, List[Edit]]]:
        """The parts that change, with their plain text and its edits; none if that would make two keys one."""
        changed: List[Tuple[_Part, Unescaped, List[Edit]]] = []
        hits = self._matcher.find_hits(text)
        hit = -1
        for part in parts:
            while hit < part.start:
                hit = next(hits, (len(text), b""))[0]
            if hit >= part.end:
                continue
            plain = _undo(text, part)
            inner = (
                self._edit_payload(plain.text, layer + 1)
                if part.kind == "C"
                else self.find_edits(plain.text, layer + 1)
            )
            if inner:
                changed.append((part, plain, inner))
        if _merges_keys(text, parts, changed):
            self._leave(text, "two keys of one array would become the same")
            return []
        return changed

    def _edit_payload(self, payload: bytes, layer: int) -> List[Edit]:
        """Edits of what a `C:` object wrote in a format of its own."""
        if layer > MAX_LAYERS:
            return self._leave(payload, f"strings nested more than {MAX_LAYERS} deep")
        try:
            return self._edit_counted(payload, read_payload(payload), layer)
        except Malformed:
            pass
        literals = find_literals(payload)
        if literals is not None:
            return self._edit_json(payload, literals, layer)
        if _COUNTS_BYTES.search(payload):
            return self._leave(payload, "the payload of a C: object, which only its class can read")
        return self._matcher.find_edits(payload)

    def _edit_percent(self, text: bytes, layer: int) -> Optional[List[Edit]]:
        """Edits of percent-encoded serialized data or JSON; None if it is neither."""
        plain = undo_percent(text)
        if not looks_serialized(plain.text) and find_literals(plain.text) is None:
            return None
        return escape_edits(self.find_edits(plain.text, layer + 1), plain, percent_escape(text))


def _undo(text: bytes, part: _Part) -> Unescaped:
    """What a part says."""
    raw = text[part.start : part.end]
    if part.kind == "json":
        return undo_json(raw)
    return undo_binary(raw) if part.kind == "S" else Unescaped(raw, [], [])


def _merges_keys(
    text: bytes, parts: Sequence[_Part], changed: Sequence[Tuple[_Part, Unescaped, List[Edit]]]
) -> bool:
    """Whether two keys of one array or object would be the same after the change."""
    renamed = {part.start: apply_edits(plain.text, inner) for part, plain, inner in changed if part.is_key}
    boxes = {part.box for part, _, _ in changed if part.is_key}
    seen: Set[Tuple[int, bytes]] = set()
    for part in parts if boxes else ():
        if part.is_key and part.box in boxes:
            name = part.box, renamed[part.start] if part.start in renamed else _undo(text, part).text
            if name in seen:
                return True
            seen.add(name)
    return False
