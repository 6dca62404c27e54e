"""Where a host's name or a path begins and ends in a text, seen through percent, JSON and backslash escapes.

`old.test` is not in `old.testing.com`, `my-old.test` or `old.test:8080`, and an e-mail address is no address of a site.
"""

from __future__ import annotations

import re
from typing import Tuple

NOTHING = -1  # the code before the first byte and after the last

_ASCII_NAME = frozenset(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz-")
_DIGITS = frozenset(b"0123456789")
_PATH_BEFORE = frozenset(b".~")
_NAME_AFTER = frozenset(b"@~")

_ESCAPE_BEFORE = re.compile(
    rb"(?:%(?:25){0,4}(?P<percent>[0-9A-Fa-f]{2})|\\u(?P<unicode>[0-9A-Fa-f]{4})|\\[bfnrt])\Z"
)
_ESCAPE_AFTER = re.compile(rb"%(?:25){0,4}(?P<percent>[0-9A-Fa-f]{2})|\\{1,63}u(?P<unicode>[0-9A-Fa-f]{4})")
_ESCAPE_WIDTH = 11
_USER_INFO = re.compile(rb"(?:/\\{0,63}/|%2[fF]%2[fF])[^/\s\"'<>@\\]{1,200}@\Z")
_USER_INFO_WIDTH = 270


def is_host_joined_before(text: bytes, at: int) -> bool:
    """Whether a host that starts at `at` is only the end of a longer name, or of an e-mail address."""
    code, start = _read_before(text, at)
    if code == ord("."):  # `.old.test` is how cookies name the host itself, `my.old.test` is another
        code, start = _read_before(text, start)
    if code == ord("@"):
        return not _USER_INFO.search(text, max(0, at - _USER_INFO_WIDTH), at)
    return _is_name(code)


def is_path_joined_before(text: bytes, at: int) -> bool:
    """Whether an absolute path that starts at `at` is only the end of a longer path."""
    code, _ = _read_before(text, at)
    return _is_name(code) or code in _PATH_BEFORE


def is_joined_after(text: bytes, at: int, *, has_port: bool) -> bool:
    """Whether the name that ends at `at` goes on there; where `has_port` is false, a port makes it another site too."""
    code, end = _read_after(text, at)
    if code == ord("."):  # a full stop ends a sentence unless a name follows
        return _is_name(_read_after(text, end)[0])
    if code == ord(":"):
        return not has_port and _read_after(text, end)[0] in _DIGITS
    return _is_name(code) or code in _NAME_AFTER


def _is_name(code: int) -> bool:
    """ASCII letters and digits, and the letters of scripts that put spaces between words (Latin to Armenian)."""
    return code in _ASCII_NAME or 0xC0 <= code < 0x590


def _read_before(text: bytes, at: int) -> Tuple[int, int]:
    """The character that ends at `at`, and where it starts."""
    if at <= 0:
        return NOTHING, 0
    found = _ESCAPE_BEFORE.search(text, max(0, at - _ESCAPE_WIDTH), at)
    if found:
        return _decode(found, ord("\n")), found.start()
    if at > 1 and text[at - 1] & 0xC0 == 0x80 and 0xC3 <= text[at - 2] <= 0xD6:
        return (text[at - 2] & 0x1F) << 6 | text[at - 1] & 0x3F, at - 2
    return _as_code(text[at - 1]), at - 1


def _read_after(text: bytes, at: int) -> Tuple[int, int]:
    """The character that starts at `at`, and where it ends."""
    if at >= len(text):
        return NOTHING, at
    found = _ESCAPE_AFTER.match(text, at)
    if found:
        return _decode(found, ord("\n")), found.end()
    if 0xC3 <= text[at] <= 0xD6 and text[at + 1 : at + 2] and text[at + 1] & 0xC0 == 0x80:
        return (text[at] & 0x1F) << 6 | text[at + 1] & 0x3F, at + 2
    return _as_code(text[at]), at + 1


def _decode(found: re.Match[bytes], otherwise: int) -> int:
    if found["unicode"]:
        return int(found["unicode"], 16)
    return _as_code(int(found["percent"], 16)) if found["percent"] else otherwise


def _as_code(byte: int) -> int:
    """A byte that is no ASCII character is a part of one, which says nothing about the whole."""
    return byte if byte < 128 else 0x10FFFF
