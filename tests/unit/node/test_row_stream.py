"""Reading packets: where rows begin and end in bytes that may hold anything."""

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.row_stream import find_rows, split_row
from hypothesis import given
from hypothesis import strategies as st

END = b"\5\0\0\x09\xfe\0\0\2\0"
FULL = 0xFFFFFF


def make_packet(content: bytes, number: int = 7) -> bytes:
    return len(content).to_bytes(3, "little") + bytes([number]) + content


@given(st.lists(st.binary(min_size=1, max_size=300).filter(lambda row: row[0] < 0xFC)), st.integers(1, 9))
def test_rows_are_counted_up_to_the_limit_and_never_beyond_the_end(rows: list[bytes], limit: int) -> None:
    block = bytearray(b"".join(map(make_packet, rows)) + END)
    count, last, end = find_rows(block, limit=limit)
    taken = rows[:limit]
    assert (count, end) == (len(taken), sum(len(row) + 4 for row in taken))
    assert not taken or block[last:end] == make_packet(taken[-1], number=0)


def test_the_same_rows_are_the_same_bytes_wherever_they_stand_in_an_answer() -> None:
    blocks = [bytearray(make_packet(b"\1x", number) + END) for number in (3, 200)]
    for block in blocks:
        find_rows(block, limit=1)
    assert blocks[0] == blocks[1]


@pytest.mark.parametrize("missing", range(1, 7))
def test_a_row_that_has_not_come_in_full_is_no_row(missing: int) -> None:
    block = bytearray(make_packet(b"\1x") + make_packet(b"\1y"))
    assert find_rows(block[:-missing], limit=9)[0] == 1


@pytest.mark.parametrize("rest", [b"", b"\xfe", b"\xfe\0\0\0\0", b"\xff\x28\4#70100"])
def test_a_row_that_goes_on_in_the_next_packet_ends_where_it_ends(rest: bytes) -> None:
    row = make_packet(b"\1" * FULL) + make_packet(rest)
    assert find_rows(bytearray(row + make_packet(b"\1x") + END), limit=9)[::2] == (2, len(row) + 6)


def test_a_value_over_16_mb_in_front_is_not_taken_for_the_end() -> None:
    row = make_packet(b"\xfe\0\0\0\1\0\0\0\0" + b"x" * (FULL - 9)) + make_packet(b"x" * 10)
    assert find_rows(bytearray(row + END), limit=9)[0] == 1


@pytest.mark.parametrize(
    ("row", "values"),
    [
        (b"\1a\xfb\0", [b"a", None, b""]),
        (b"\xfc\xfb\0" + b"x" * 251 + b"\1y", [b"x" * 251, b"y"]),
        (b"\xfd\0\0\1" + b"x" * 65536, [b"x" * 65536]),
        (b"\xfe\2\0\0\0\0\0\0\0ab", [b"ab"]),
    ],
)
def test_a_row_is_taken_apart_by_the_lengths_it_names(row: bytes, values: list[bytes | None]) -> None:
    assert split_row(row) == values
    assert split_row(row, first=1) == values[:1]
