"""Finds the strings in a JSON document without building it, so that all bytes between them stay as they are."""

from __future__ import annotations

import re
from typing import List, NamedTuple, Optional

_STARTS = re.compile(rb"[ \t\r\n]*[{\[\"]")
_TOKEN = re.compile(
    rb"[ \t\r\n]*(?:(?P<mark>[{}\[\],:\"])"
    rb"|(?P<scalar>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null))"
)
_SPACE = b" \t\r\n"

# What may come next, by what was read last; `}` and `]` are checked against what is open.
_AFTER_VALUE = frozenset((b",", b"}", b"]"))
_VALUE = frozenset((b"{", b"[", b'"', b"scalar"))
_KEY = frozenset((b'"',))
_COLON = frozenset((b":",))
_KEY_OR_END = frozenset((b'"', b"}"))
_VALUE_OR_END = _VALUE | {b"]"}


class Literal(NamedTuple):
    """A JSON string: `start:end` is what stands between its quotes; `box` tells the objects and lists apart."""

    start: int
    end: int
    box: int
    is_key: bool
    kind: str = "json"


def find_literals(text: bytes) -> Optional[List[Literal]]:
    """All strings of a JSON document in order, or None if `text` as a whole is not JSON.

    Bare line breaks in strings are let through, though PHP refuses them.
    """
    if not _STARTS.match(text):
        return None
    reader = _Reader(text)
    return reader.literals if reader.read() else None


class _Reader:
    def __init__(self, text: bytes) -> None:
        self.text = text
        self.literals: List[Literal] = []
        self._open: List[int] = []  # the number of each open object, and of each open list below zero
        self._boxes = 0
        self._next = _VALUE

    def read(self) -> bool:
        at = 0
        while True:
            found = _TOKEN.match(self.text, at)
            mark = (found["mark"] or b"scalar") if found else b""
            if found is None or mark not in self._next:
                return False
            at = self._read_string(found.end()) if mark == b'"' else found.end()
            if at < 0 or not self._step(mark):
                return False
            if not self._open and self._next is _AFTER_VALUE:
                return not self.text[at:].strip(_SPACE)

    def _step(self, mark: bytes) -> bool:
        """Takes one token in; False if it closes what is not open."""
        if mark in (b"{", b"["):
            self._boxes += 1
            self._open.append(self._boxes if mark == b"{" else -self._boxes)
            self._next = _KEY_OR_END if mark == b"{" else _VALUE_OR_END
        elif mark in (b"}", b"]"):
            if not self._open or (self._open.pop() > 0) != (mark == b"}"):
                return False
            self._next = _AFTER_VALUE
        elif mark == b",":
            self._next = _KEY if self._open[-1] > 0 else _VALUE
        elif mark == b":":
            self._next = _VALUE
        elif mark == b'"' and self.literals[-1].is_key:
            self._next = _COLON
        else:
            self._next = _AFTER_VALUE
        return True

    def _read_string(self, start: int) -> int:
        """Takes in the string whose text starts here, and returns where it ends, or -1."""
        end = self._find_quote(start)
        if end < 0:
            return -1
        is_key = self._next is _KEY or self._next is _KEY_OR_END
        self.literals.append(Literal(start, end, self._open[-1] if self._open else 0, is_key))
        return end + 1

    def _find_quote(self, start: int) -> int:
        quote = self.text.find(b'"', start)
        while quote >= 0:
            before = quote
            while before > start and self.text[before - 1] == ord("\\"):
                before -= 1
            if (quote - before) % 2 == 0:
                return quote
            quote = self.text.find(b'"', quote + 1)
        return -1
