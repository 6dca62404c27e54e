"""Finds addresses and paths in plain text, however they are escaped, and says what takes their place.

A table of replacements names each address in its plain form; the escapes are this file's matter: `\\/` with up to 63
backslashes (six layers of JSON), `%2F` and `%252F` in either case, `\\u002f`. What takes its place is escaped alike.
"""

from __future__ import annotations

import re
from typing import Callable, Dict, FrozenSet, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.pressluft.wordpress.plugins.module_utils.rewrite_boundary import (
    is_host_joined_before,
    is_joined_after,
    is_path_joined_before,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.rewrite_edit import Edit

_CORE = re.compile(r"[A-Za-z0-9._]+")  # no escape ever touches these, so they stand in every form as they are
_PORT_FREE = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:)?(?://)?[^/:]+")
_NAME_END = re.compile(r"[\w-]\Z")
_SEPARATOR = re.compile(
    rb"(?P<slashes>\\{0,63}/|\\{1,63}u002[fF])|%(?P<percent>(?:25){0,4})(?P<hex>2[fF]|3[aA])"
)
_SEPARATOR_WIDTH = 68
_RESERVED = re.compile(rb"[^A-Za-z0-9._~-]")


class _Needle(NamedTuple):
    """One old text, cut at one place where it holds a core; `new` None leaves it as it is."""

    prefix: str
    length: int
    new: Optional[str]
    last_bytes: FrozenSet[bytes]  # any form of the prefix ends with one of these, which is quick to look up
    before: re.Pattern[bytes]
    after: re.Pattern[bytes]
    width: int  # the most bytes that what stands before the core can take
    is_joined_before: Optional[Callable[[bytes, int], bool]]
    has_right_edge: bool
    has_port: bool


class _Match(NamedTuple):
    start: int
    end: int
    core: range
    needle: _Needle


class Matcher:
    """All needles of a table, ready to be looked for.

    Raises ValueError for a table that cannot be applied: an old text without a letter or digit, one that is to
    become two different things, or a text that is not UTF-8.
    """

    def __init__(self, replacements: Sequence[Tuple[bytes, bytes]]) -> None:
        table = _read_table(replacements)
        owners = _find_settled(table)
        self._needles: Dict[bytes, List[_Needle]] = {core.encode(): [] for core in _find_cores(table)}
        self.cores = tuple(self._needles)
        for old, new in table.items():
            self._add(old, new if new != old else None, like=old)
        for settled, like in owners.items():
            self._add(settled, None, like=like)
        for needles in self._needles.values():
            needles.sort(key=lambda needle: (-len(needle.prefix), -needle.length))

    def _add(self, old: str, new: Optional[str], *, like: str) -> None:
        for core, needles in self._needles.items():
            for found in re.finditer(f"(?={re.escape(core.decode())})", old):
                place = range(found.start(), found.start() + len(core))
                needles.append(_make_needle(old, new, core=place, like=like))

    def find_edits(self, text: bytes) -> List[Edit]:
        """The edits of a plain text: leftmost first, the longest of those that start at the same byte."""
        edits: List[Edit] = []
        floor = 0
        for at, core in self.find_hits(text):
            place = range(at, at + len(core))
            match = _find_first(text, place, floor, self._needles[core])
            if match is None:
                continue
            floor = match.end
            if match.needle.new is not None:
                edits.append(_make_edit(text, match))
        return edits

    def find_hits(self, text: bytes) -> Iterator[Tuple[int, bytes]]:
        """Each place of each core, in the order in which they stand; nothing is to be found elsewhere."""
        following = {core: text.find(core) for core in self.cores}
        while True:
            hits = [(at, core) for core, at in following.items() if at >= 0]
            if not hits:
                return
            at, core = min(hits, key=lambda hit: hit[0])
            yield at, core
            following[core] = text.find(core, at + 1)


def _read_table(replacements: Sequence[Tuple[bytes, bytes]]) -> Dict[str, str]:
    table: Dict[str, str] = {}
    for old_bytes, new_bytes in replacements:
        old, new = old_bytes.decode(), new_bytes.decode()
        if not _CORE.search(old):
            raise ValueError(f"a replacement's old text needs a letter or a digit: {old!r}")
        if table.setdefault(old, new) != new:
            raise ValueError(f"{old!r} is to become both {table[old]!r} and {new!r}")
    return table


def _find_settled(table: Dict[str, str]) -> Dict[str, str]:
    """New texts that hold an old one, each with the old text it comes from.

    They stand for themselves, or a second run would rewrite what the first one wrote (`shop.test` -> `shop.test/new`).
    """
    changing = [old for old, new in table.items() if old != new]
    return {
        new: old for old, new in table.items() if new not in table and any(other in new for other in changing)
    }


def _find_cores(table: Dict[str, str]) -> List[str]:
    """Texts such that each old one holds at least one: few, long, and free of anything that is ever escaped."""
    cores: List[str] = []
    for old in sorted((old for old, new in table.items() if old != new), key=len):
        if not any(core in old for core in cores):
            cores.append(max(reversed(_CORE.findall(old)), key=len))
    return cores


def _make_needle(old: str, new: Optional[str], *, core: range, like: str) -> _Needle:
    """`like` is the old text whose edges count: what is settled stands wherever that was put."""
    prefix, suffix = old[: core.start], old[core.stop :]
    return _Needle(
        prefix=prefix,
        length=len(old),
        new=new,
        last_bytes=_find_last_bytes(prefix[-1:]),
        before=re.compile(b"".join(map(_make_pattern, prefix)) + rb"\Z"),
        after=re.compile(b"".join(map(_make_pattern, suffix))),
        width=sum(map(_find_width, prefix)),
        is_joined_before=_find_left_edge(like),
        has_right_edge=_NAME_END.search(like) is not None,
        has_port=not _PORT_FREE.fullmatch(like),
    )


def _find_left_edge(old: str) -> Optional[Callable[[bytes, int], bool]]:
    if "://" in old or old.startswith("//") or not re.match(r"[\w/]", old):
        return None
    return is_path_joined_before if old.startswith("/") else is_host_joined_before


def _make_pattern(char: str) -> bytes:
    """All forms in which a character of an address may be written."""
    if _CORE.match(char):
        return re.escape(char).encode()
    percent = b"".join(rb"%(?:25){0,4}" + _make_hex_pattern("%02X" % byte) for byte in char.encode())
    forms = [rb"\\{0,63}/" if char == "/" else re.escape(char).encode(), percent]
    if ord(char) < 0x10000:
        forms.append(rb"\\{1,63}u" + _make_hex_pattern("%04X" % ord(char)))
    return b"(?:" + b"|".join(forms) + b")"


def _find_last_bytes(char: str) -> FrozenSet[bytes]:
    if not char or _CORE.match(char):
        return frozenset((char.encode(),))
    digits = f"{char.encode()[-1]:X}"[-1] + f"{ord(char):X}"[-1]
    return frozenset((char.encode()[-1:], *(digit.encode() for digit in digits + digits.lower())))


def _make_hex_pattern(digits: str) -> bytes:
    return b"".join(
        f"[{digit}{digit.lower()}]".encode() if digit.isalpha() else digit.encode() for digit in digits
    )


def _find_width(char: str) -> int:
    return 1 if _CORE.match(char) else max(_SEPARATOR_WIDTH, 11 * len(char.encode()))


def _find_first(text: bytes, core: range, floor: int, needles: Sequence[_Needle]) -> Optional[_Match]:
    """The longest match around this place of a core.

    The needles come with the longest prefix first. Where two fit, one prefix ends with the other, so the longer
    one starts no later.
    """
    for needle in needles:
        match = _find_match(text, core, floor, needle)
        if match is not None:
            return match
    return None


def _find_match(text: bytes, core: range, floor: int, needle: _Needle) -> Optional[_Match]:
    """The needle around this place of its core, if all of it stands there and no longer name does."""
    if needle.prefix and text[core.start - 1 : core.start] not in needle.last_bytes:
        return None
    before = needle.before.search(text, max(floor, core.start - needle.width), core.start)
    after = needle.after.match(text, core.stop)
    if before is None or after is None:
        return None
    start, end = before.start(), after.end()
    if needle.is_joined_before and needle.is_joined_before(text, start):
        return None
    if needle.has_right_edge and is_joined_after(text, end, has_port=needle.has_port):
        return None
    return _Match(start, end, core, needle)


def _make_edit(text: bytes, match: _Match) -> Edit:
    """What takes the place of a match; what stands before its core stays as it is written, if it may stay."""
    start, new, prefix = match.start, match.needle.new or "", match.needle.prefix
    if new.startswith(prefix):
        start, new = match.core.start, new[len(prefix) :]
    return Edit(start, match.end, _find_escape(text, match)(new.encode()))


def _find_escape(text: bytes, match: _Match) -> Callable[[bytes], bytes]:
    """How the separator nearest to the core is escaped, or else one right beside the match."""
    inside = list(_SEPARATOR.finditer(text, match.start, match.core.start))
    sample = (
        (inside[-1] if inside else None)
        or _SEPARATOR.search(text, match.core.stop, match.end)
        or _SEPARATOR.match(text, match.end)
        or _find_separator_before(text, match.start)
    )
    if sample is None:
        return bytes
    slashes = sample["slashes"]
    if slashes:
        return lambda new: new.replace(b"/", slashes)
    form = b"%%" + sample["percent"] + (b"%02x" if sample["hex"].islower() else b"%02X")
    return lambda new: _RESERVED.sub(lambda found: form % found[0][0], new)


def _find_separator_before(text: bytes, at: int) -> Optional[re.Match[bytes]]:
    for found in _SEPARATOR.finditer(text, max(0, at - _SEPARATOR_WIDTH), at):
        if found.end() == at:
            return found
    return None
