"""Says where the source's host still occurs in a value after rewriting, and why it was not replaced."""

from __future__ import annotations

import base64
import re
from typing import Iterator, Tuple

from ansible_collections.pressluft.wordpress.plugins.module_utils.rewrite_boundary import (
    is_host_joined_before,
    is_joined_after,
)

BASE64 = "base64"
EMAIL = "e-mail address"
OTHER_NAME = "part of another name"
OTHER_PORT = "another port"
LETTER_CASE = "other letter case"
UNCHANGED = "left as it was"  # the name itself: malformed data, an opaque payload, or a place no one rewrites


class ResidueFinder:
    """Looks for one host[:port], given as UTF-8 without scheme and path, in any number of values."""

    def __init__(self, host: bytes) -> None:
        self._host = re.compile(re.escape(host), re.IGNORECASE)
        self._exact = host
        self._has_port = b":" in host
        self._stems = [_make_base64_stem(host, shift) for shift in range(3)]

    def find(self, value: bytes) -> Tuple[str, ...]:
        """The reasons for which the host is still in this value, each once and in order; empty if it is not in it."""
        reasons = set(self._find_plain(value))
        if any(stem in value for stem in self._stems):
            reasons.add(BASE64)
        return tuple(sorted(reasons))

    def _find_plain(self, value: bytes) -> Iterator[str]:
        for found in self._host.finditer(value):
            start, end = found.span()
            if is_host_joined_before(value, start):
                yield EMAIL if value[start - 1 : start] == b"@" else OTHER_NAME
            elif is_joined_after(value, end, has_port=True):
                yield OTHER_NAME
            elif is_joined_after(value, end, has_port=self._has_port):
                yield OTHER_PORT
            else:
                yield UNCHANGED if found[0] == self._exact else LETTER_CASE


def _make_base64_stem(host: bytes, shift: int) -> bytes:
    """What base64 makes of the host behind `shift` bytes (modulo 3), less the characters that its neighbours share."""
    encoded = base64.b64encode(b"\0" * shift + host)
    shared = (0, 2, 3)[shift]
    return encoded[shared : (shift + len(host)) * 8 // 6]
