"""Documents that nearly make sense: valid ones, changed by bytes, by lines and by words that mean something to us."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from tests.unit.schemas.documents import ALL

WRITTEN = """
null ~ no on off true yes 010 1:30 3.10 1e3 0x1F 0o7 -0 .inf .nan 12345678901234567890
P7D PT0S PT2H P1Y 1h 1.5h -1s 7d 2026-02-30 2026-11-27T00:00:00 Europe/Berlin Mars/Base
FREQ=WEEKLY;BYDAY=FR FREQ=SECONDLY COUNT=0 wp_ wp% ../x /etc wp-content/../.. . .git
staging production clone Promotion DriftCheck Fleet Site block warn full protected create
&a *a <<: !!binary !!python/object:os.system --- ... % @ ` | > |- >+ ? - [] {} [[]] {a: {}}
3f0d6c0a-7f7c-4a2b-9a3f-0a1d2c3b4e5f 'it''s' "\\u0000" "\\ud800" e\u0301 \u202e \ufeff
"""
WORDS: tuple[bytes, ...] = (*WRITTEN.encode().split(), b"x" * 300)


SEEDS: tuple[tuple[str, bytes], ...] = tuple(ALL.items())


def flip_byte(data: bytes, chance: Random) -> bytes:
    """Change one byte."""
    at = chance.randrange(len(data) + 1)
    return data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]


def cut(data: bytes, chance: Random) -> bytes:
    """Take a piece out."""
    at = chance.randrange(len(data) + 1)
    return data[:at] + data[at + chance.randrange(1, 40) :]


def repeat(data: bytes, chance: Random) -> bytes:
    """Write a piece twice."""
    at = chance.randrange(len(data) + 1)
    until = at + chance.randrange(1, 80)
    return data[:until] + data[at:until] + data[until:]


def insert_word(data: bytes, chance: Random) -> bytes:
    """Write a word somewhere."""
    at = chance.randrange(len(data) + 1)
    return data[:at] + chance.choice(WORDS) + data[at:]


def replace_value(data: bytes, chance: Random) -> bytes:
    """Give a field another value."""
    places = [at for at in range(len(data) - 1) if data[at : at + 2] == b": "]
    if not places:
        return insert_word(data, chance)
    at = chance.choice(places) + 2
    ends = [end for end in (data.find(mark, at) for mark in (b",", b"}", b"]", b"\n")) if end >= 0]
    return data[:at] + chance.choice(WORDS) + data[min(ends, default=len(data)) :]


def write_otherwise(data: bytes, chance: Random) -> bytes:
    """Write the same in another way: a comment, an empty line, quotes."""
    lines = data.split(b"\n")
    at = chance.randrange(len(lines))
    key, colon, value = lines[at].partition(b": ")
    ways = [[lines[at] + b"  # said otherwise"], [b"", lines[at]], [lines[at] + b" "]]
    if colon and value[:1].isalnum():
        ways += [[key + colon + mark + value + mark] for mark in (b"'", b'"')]
    return b"\n".join([*lines[:at], *chance.choice(ways), *lines[at + 1 :]])


def borrow_value(data: bytes, chance: Random) -> bytes:
    """Give a field the value that the same field has elsewhere, or another field has."""
    lines = [line for _, other in SEEDS for line in other.split(b"\n") if b": " in line]
    value = chance.choice(lines).partition(b": ")[2]
    mine = data.split(b"\n")
    places = [at for at, line in enumerate(mine) if b": " in line]
    if places:
        at = chance.choice(places)
        mine[at] = mine[at].partition(b": ")[0] + b": " + value
    return b"\n".join(mine)


def swap_lines(data: bytes, chance: Random) -> bytes:
    """Swap two lines, or write one at another depth."""
    lines = data.split(b"\n")
    first, second = chance.randrange(len(lines)), chance.randrange(len(lines))
    lines[first], lines[second] = lines[second], b" " * chance.randrange(5) + lines[first].lstrip()
    return b"\n".join(lines)


def nest(data: bytes, chance: Random) -> bytes:
    """Put a value into many brackets."""
    depth = chance.choice([2, 31, 32, 33, 400])
    at = chance.randrange(len(data) + 1)
    opening, closing = chance.choice([(b"[", b"]"), (b"{a: ", b"}")])
    return data[:at] + opening * depth + closing * depth + data[at:]


def swell(data: bytes, chance: Random) -> bytes:
    """Make it as long as is allowed, or longer."""
    return data + chance.choice([b"# ", b" ", b"\n", b"x: 1\n"]) * chance.choice([100, 30_000, 70_000])


CHANGES: tuple[Callable[[bytes, Random], bytes], ...] = (
    flip_byte,
    cut,
    repeat,
    insert_word,
    insert_word,
    replace_value,
    replace_value,
    replace_value,
    write_otherwise,
    write_otherwise,
    borrow_value,
    borrow_value,
    swap_lines,
    nest,
)


def mutate(data: bytes, others: Sequence[bytes], chance: Random) -> bytes:
    """Change a document in one to three ways; now and then mix it with another or make it huge."""
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        data = chance.choice(CHANGES)(data, chance)
    if chance.random() < 0.05:
        other = chance.choice(others)
        data = data[: chance.randrange(len(data) + 1)] + other[chance.randrange(len(other) + 1) :]
    return swell(data, chance) if chance.random() < 0.01 else data
