"""Reads what PHP's `serialize()` writes (`a O C E s S i d b N r R`), byte by byte, creating nothing.

The grammar is that of `ext/standard/var_unserializer.re` in PHP 8. The reader keeps a stack of its own, so that
no depth of nesting can exhaust Python's.
"""

from __future__ import annotations

import re
from typing import List, NamedTuple, NoReturn

MAX_DEPTH = 4096  # PHP's own `unserialize_max_depth`: what is deeper, PHP refuses to read

_SPACE = b" \t\n\r\0\x0b"  # what WordPress trims before it unserializes
_LOOKS = re.compile(rb"[ \t\n\r\0\x0b]*(?:a:[+-]?[0-9]+:\\*\{|[OCEsS]:[+-]?[0-9]+:\\*\")")
_TOKEN = re.compile(
    rb"(?P<key>i:[+-]?[0-9]+;)"
    rb"|(?P<scalar>N;|b:[01];|d:(?:[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|NAN|-?INF);)"
    rb"|[sS]:(?P<string>[0-9]{1,18}):\""
    rb"|a:(?P<array>[0-9]{1,18}):\{"
    rb"|O:(?P<object>[0-9]{1,18}):\""
    rb"|E:(?P<enum>[0-9]{1,18}):\""
    rb"|C:(?P<custom>[0-9]{1,18}):\""
    rb"|[rR]:(?P<reference>[0-9]{1,18});"
)
_SIZE = re.compile(rb"\":(?P<size>[0-9]{1,18}):\{")
_NAME = re.compile(rb"[A-Za-z0-9_\\\x7f-\xff]+")
_CASE = re.compile(rb"[A-Za-z0-9_\\\x7f-\xff]+:[A-Za-z0-9_\x7f-\xff]+")
_HEX_PAIR = re.compile(rb"[0-9A-Fa-f]{2}")
_PAYLOAD_GLUE = re.compile(rb"(?:[xm]:|[;,])*")


class Malformed(ValueError):
    """The bytes are not, or not only, what `serialize()` writes. The message says what is wrong with them."""


class Text(NamedTuple):
    """A run of bytes whose length is written before it: a string, or the payload of a `C:` object.

    Positions are in bytes of the value: `start:end` is the text, and two bytes before it end the digits that start
    at `length_at`. `kind` is `s`, `S` or `C`; `box` tells arrays and objects apart, `is_key` the keys in them.
    """

    kind: str
    length: int
    length_at: int
    start: int
    end: int
    box: int
    is_key: bool


def looks_serialized(value: bytes) -> bool:
    """Whether a value starts as serialized data that can hold text does, sound or not."""
    return _LOOKS.match(value) is not None


def read_serialized(value: bytes) -> List[Text]:
    """All texts in a serialized value, in order. Space around it is skipped, as WordPress does.

    Raises Malformed where PHP could not read the value, or where more follows it.
    """
    start = len(value) - len(value.lstrip(_SPACE))
    reader = _Reader(value, slots_known=True)
    end = reader.read(start)
    if value[end:].strip(_SPACE):
        raise Malformed(f"serialized data with {len(value) - end} more bytes after it")
    return reader.texts


def read_payload(value: bytes) -> List[Text]:
    """All texts in the payload of a `C:` object that is made of serialized values and nothing else.

    So do most `Serializable` classes write it, and PHP's own (`x:i:0;...;m:a:0:{}`). Raises Malformed otherwise.
    """
    reader = _Reader(value, slots_known=False)
    at = 0
    while True:
        at = _end_of(_PAYLOAD_GLUE, value, at)
        if at >= len(value):
            break
        at = reader.read(at)
    return reader.texts


def _end_of(pattern: re.Pattern[bytes], value: bytes, at: int) -> int:
    found = pattern.match(value, at)
    return found.end() if found else at


class _Reader:
    """One walk over one value; `texts` fills as it goes."""

    def __init__(self, value: bytes, *, slots_known: bool) -> None:
        self.value = value
        self.texts: List[Text] = []
        self._boxes = 0
        self._slots = 0
        self._knows_slots = slots_known
        # Of each open array or object: its number, and how many keys and values it lacks (even: a key is next).
        self._open: List[List[int]] = []

    def read(self, at: int) -> int:
        """Reads one whole value that starts at `at`, and returns where it ends."""
        while True:
            while self._open and self._open[-1][1] == 0:
                at = self._close(at)
                if not self._open:
                    return at
            at = self._read_token(at)
            if not self._open:
                return at

    def _close(self, at: int) -> int:
        if self.value[at : at + 1] != b"}":
            self._fail(at)
        self._open.pop()
        return at + 1

    def _read_token(self, at: int) -> int:
        is_key = False
        if self._open:
            is_key = self._open[-1][1] % 2 == 0
            self._open[-1][1] -= 1
        found = _TOKEN.match(self.value, at)
        if found is None:
            self._fail(at)
        kind = found.lastgroup
        if not is_key and self.value[at] != ord("R"):
            self._slots += 1  # PHP counts every value but R: itself
        if kind == "string":
            return self._read_string(found, is_key=is_key)
        if kind == "key":
            return found.end()
        if is_key:
            self._fail(at)
        return self._read_value(found)

    def _read_value(self, found: re.Match[bytes]) -> int:
        kind = found.lastgroup
        if kind == "array":
            return self._enter(int(found[kind]), found.end())
        if kind == "object":
            size = self._read_class(found)
            return self._enter(int(size["size"]), size.end())
        if kind == "custom":
            return self._read_custom(found)
        if kind == "enum":
            return self._read_enum(found)
        if kind == "reference" and not 1 <= int(found[kind]) <= self._slots and self._knows_slots:
            self._fail(found.start())
        return found.end()

    def _enter(self, items: int, at: int) -> int:
        if len(self._open) >= MAX_DEPTH:
            raise Malformed(f"serialized data nested more than {MAX_DEPTH} deep, which PHP does not read")
        self._boxes += 1
        self._open.append([self._boxes, 2 * items])
        return at

    def _read_string(self, found: re.Match[bytes], *, is_key: bool) -> int:
        length, start = int(found["string"]), found.end()
        escaped = self.value[found.start()] == ord("S")
        end = self._skip_escaped(start, length) if escaped else start + length
        if self.value[end : end + 2] != b'";':
            self._fail(found.start())
        box = self._open[-1][0] if self._open else 0
        kind = "S" if escaped else "s"
        self.texts.append(Text(kind, length, found.start() + 2, start, end, box, is_key))
        return end + 2

    def _skip_escaped(self, at: int, length: int) -> int:
        while length > 0:
            backslash = self.value.find(b"\\", at, at + length)
            if backslash < 0:
                return at + length
            if not _HEX_PAIR.match(self.value, backslash + 1):
                self._fail(backslash)
            length -= backslash - at + 1
            at = backslash + 3
        return at

    def _read_class(self, found: re.Match[bytes]) -> re.Match[bytes]:
        start = found.end()
        end = start + int(found[found.lastgroup or 0])
        size = _SIZE.match(self.value, end)
        if size is None or not _NAME.fullmatch(self.value, start, end):
            self._fail(found.start())
        return size

    def _read_custom(self, found: re.Match[bytes]) -> int:
        size = self._read_class(found)
        length, start = int(size["size"]), size.end()
        if self.value[start + length : start + length + 1] != b"}":
            self._fail(found.start())
        self._knows_slots = False  # what its payload holds may count as slots too
        self.texts.append(Text("C", length, size.start() + 2, start, start + length, 0, is_key=False))
        return start + length + 1

    def _read_enum(self, found: re.Match[bytes]) -> int:
        end = found.end() + int(found["enum"])
        if self.value[end : end + 2] != b'";' or not _CASE.fullmatch(self.value, found.end(), end):
            self._fail(found.start())
        return end + 2

    def _fail(self, at: int) -> NoReturn:
        raise Malformed(f"malformed serialized data at byte {at}")
