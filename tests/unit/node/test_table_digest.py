"""The SQL under every digest: literals, ranges and encodings."""

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.column import (
    Column,
    describe_key,
    make_after,
    make_field,
    make_literal,
    make_up_to,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import (
    DatabaseError,
    find_nested_prefixes,
    quote_name,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.table_digest import make_segments

NUMBER = Column("id", "bigint", "", "")
WORD = Column("wo`rd", "varchar", "utf8mb4", "utf8mb4_unicode_520_ci")
MOMENT = Column("at", "datetime", "", "")
BYTES = Column("raw", "varbinary", "", "")


@pytest.mark.parametrize(
    ("column", "text", "literal"),
    [
        (NUMBER, "-7", "-7"),
        (NUMBER, "18446744073709551615", "18446744073709551615"),
        (WORD, "C3A427", "_utf8mb4 x'c3a427' COLLATE utf8mb4_unicode_520_ci"),
        (WORD, "", "_utf8mb4 x'' COLLATE utf8mb4_unicode_520_ci"),
        (BYTES, "00FF", "x'00ff'"),
        (MOMENT, "2024-02-29 23:59:59.000001", "'2024-02-29 23:59:59.000001'"),
    ],
)
def test_a_key_becomes_a_literal_of_its_own_type(column: Column, text: str, literal: str) -> None:
    assert make_literal(column, text) == literal


@pytest.mark.parametrize(
    ("column", "text"),
    [(NUMBER, "1 OR 1=1"), (WORD, "x' OR 1"), (BYTES, "zz"), (MOMENT, "2024' OR '1")],
)
def test_a_key_that_is_no_value_never_reaches_the_server(column: Column, text: str) -> None:
    with pytest.raises((DatabaseError, ValueError)):
        make_literal(column, text)


def test_ranges_of_a_composite_key_leave_no_gap_and_no_overlap() -> None:
    key, values = [NUMBER, Column("part", "int", "", "")], ["5", "7"]
    assert make_after(key, values) == "(`id` >= 5 AND ((`id` > 5) OR (`id` = 5 AND `part` > 7)))"
    assert make_up_to(key, values) == "(`id` <= 5 AND ((`id` < 5) OR (`id` = 5 AND `part` <= 7)))"


def test_a_key_is_shown_as_a_person_reads_it() -> None:
    assert describe_key([NUMBER, WORD], ["5", "C3A4"]) == "5,ä"
    assert describe_key([BYTES], ["FF"]) == "\\xff"


@pytest.mark.parametrize("column", [NUMBER, WORD, MOMENT, BYTES])
def test_what_the_server_sends_in_full_is_taken_as_it_is(column: Column) -> None:
    assert make_field(column) == quote_name(column.name)


@pytest.mark.parametrize("kind", ["float", "double", "bit", "enum", "set"])
def test_what_the_server_would_shorten_is_converted(kind: str) -> None:
    assert "CAST" in make_field(NUMBER._replace(type=kind))


def test_a_type_nobody_has_thought_through_is_refused() -> None:
    with pytest.raises(DatabaseError, match="cannot be digested"):
        make_field(NUMBER._replace(type="hologram"))


@pytest.mark.parametrize("name", ["", "a\0b"])
def test_a_name_no_table_can_have_is_refused(name: str) -> None:
    with pytest.raises(DatabaseError):
        quote_name(name)


def test_a_backtick_in_a_name_ends_nothing() -> None:
    assert quote_name("a`; DROP TABLE b; --") == "`a``; DROP TABLE b; --`"


def test_a_site_within_the_site_is_found_by_its_tables() -> None:
    shop = [f"shop_{name}" for name in ("options", "posts", "postmeta", "comments", "terms")]
    assert find_nested_prefixes(["options", "posts", *shop, "2_posts"]) == {"shop_", "2_"}


def test_a_plugin_with_an_options_table_is_no_site() -> None:
    assert find_nested_prefixes(["options", "posts", "my_options", "my_posts"]) == set()


@pytest.mark.parametrize(
    ("first", "last"), [(1, 1), (-5, 3), (0, 1_000_000), (7, 1 << 64), (-(1 << 63), 1 << 63), (16383, 16384)]
)
def test_segments_leave_no_gap_no_overlap_and_no_end(first: int, last: int) -> None:
    segments = make_segments(first, last)
    assert (segments[0][0], segments[-1][1]) == (None, None)
    assert [up_to for _after, up_to in segments[:-1]] == [after for after, _up_to in segments[1:]]
    assert len(segments) <= 17


def test_a_further_row_moves_no_limit_of_a_segment() -> None:
    assert make_segments(1, 1_000_001)[:-1] == make_segments(1, 1_000_000)[:-1]
