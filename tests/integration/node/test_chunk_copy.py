"""A copy made by chunks is production's to the byte, whatever was written to either side; mariadb-dump is the judge."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils import chunk_copy
from ansible_collections.pressluft.wordpress.plugins.module_utils.chunk_copy import copy_by_chunks, find_spans
from ansible_collections.pressluft.wordpress.plugins.module_utils.row_copy import copy_table
from ansible_collections.pressluft.wordpress.plugins.module_utils.table_digest import digest_table

from tests.integration.node.test_row_copy import SOURCE, TARGET, Pair, pair

__all__ = ["pair"]

EARLIER = "copy_earlier"
ROWS_IN_A_CHUNK = 8
KEYS = {
    "number": ("id INT", "id"),
    "string": ("id VARCHAR(20) COLLATE utf8mb4_general_ci", "id"),
    "two columns": ("id INT, part VARCHAR(9) DEFAULT 'x'", "part, id"),
    "negative": ("id BIGINT", "id DESC"),
}


@pytest.fixture(params=KEYS)
def table(request: pytest.FixtureRequest, pair: Pair) -> Iterator[Pair]:
    """A table of 100 rows, and the copy of it that was made last time."""
    columns, key = KEYS[request.param]
    pair.sql(
        f"DROP DATABASE IF EXISTS {EARLIER}", f"CREATE DATABASE {EARLIER}",
        f"CREATE TABLE t ({columns}, value LONGTEXT, at TIMESTAMP NULL, PRIMARY KEY ({key}))",
        "INSERT INTO t (id, value) SELECT seq * 3, CONCAT('row ', seq) FROM seq_1_to_100",
        "UPDATE t SET value = REPEAT('x', 100000) WHERE id = 30",
    )  # fmt: skip
    pair.open_snapshot()
    copy_table(pair.reader, pair.writer, SOURCE, "t", EARLIER, "t")
    yield pair
    pair.sql(f"DROP DATABASE {EARLIER}")


def read_chunks(connection: Any, database: str) -> list[Any]:
    connection.rollback()
    digest = digest_table(connection, database, "t", chunk_rows=ROWS_IN_A_CHUNK)
    return [list(chunk) for chunk in digest.chunks]


def copy_again(pair: Pair, *, before: list[Any], held: list[Any]) -> Any:
    pair.reader.rollback()
    pair.open_snapshot()
    now = digest_table(pair.reader, SOURCE, "t", chunk_rows=ROWS_IN_A_CHUNK)
    spans = find_spans([list(chunk) for chunk in now.chunks], before=before, copied=held)
    pair.sql(f"DROP TABLE IF EXISTS {TARGET}.t")
    places = ((SOURCE, "t"), (TARGET, "t"))
    return copy_by_chunks(pair.reader, pair.writer, *places, earlier=(EARLIER, "t"), spans=spans, renamed={})


def test_an_unchanged_table_is_taken_whole_from_the_earlier_copy(table: Pair) -> None:
    before, held = (read_chunks(table.reader, name) for name in (SOURCE, EARLIER))
    assert copy_again(table, before=before, held=held).rows == 0
    table.assert_equal("t")


def test_of_a_changed_table_only_the_chunk_comes_from_production(table: Pair) -> None:
    before, held = (read_chunks(table.reader, name) for name in (SOURCE, EARLIER))
    table.sql("UPDATE t SET value = 'changed' WHERE id = 150")
    assert 1 <= copy_again(table, before=before, held=held).rows <= ROWS_IN_A_CHUNK
    table.assert_equal("t")


def test_a_row_that_somebody_added_to_the_copy_is_gone(table: Pair) -> None:
    before, held = (read_chunks(table.reader, name) for name in (SOURCE, EARLIER))
    table.sql(f"INSERT INTO {EARLIER}.t (id, value) VALUES (31, 'mine'), (100000, 'mine too')")
    assert copy_again(table, before=before, held=held).rows <= 2 * ROWS_IN_A_CHUNK
    table.assert_equal("t")


def test_a_copy_that_lost_a_column_is_not_taken_from(table: Pair) -> None:
    before, held = (read_chunks(table.reader, name) for name in (SOURCE, EARLIER))
    table.sql(f"ALTER TABLE {EARLIER}.t DROP COLUMN value")
    assert copy_again(table, before=before, held=held).rows == 100
    table.assert_equal("t")


def test_random_changes_on_both_sides_leave_no_difference(table: Pair) -> None:
    chance = random.Random(5)
    before, held = (read_chunks(table.reader, name) for name in (SOURCE, EARLIER))
    for _round in range(8):
        for place in (SOURCE, EARLIER):
            table.sql(*(make_change(place, chance) for _change in range(chance.randrange(4))))
        copy_again(table, before=before, held=held)
        table.assert_equal("t")


def make_change(place: str, chance: random.Random) -> str:
    number = chance.randrange(310)
    return chance.choice(
        [
            f"INSERT IGNORE INTO {place}.t (id, value) VALUES ({number}, 'new {number}')",
            f"DELETE FROM {place}.t WHERE id = {number // 3 * 3}",
            f"DELETE FROM {place}.t WHERE id BETWEEN {number} AND {number + 30}",
            f"UPDATE {place}.t SET value = CONCAT(value, '{place}') WHERE id = {number // 3 * 3}",
            f"UPDATE {place}.t SET value = NULL, at = '2024-03-31 02:30:00' WHERE id = {number // 3 * 3}",
            f"UPDATE IGNORE {place}.t SET id = id + 1 WHERE id = {number // 3 * 3}",
        ]
    )


def test_what_was_taken_is_not_believed(table: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    before, held = (read_chunks(table.reader, name) for name in (SOURCE, EARLIER))
    table.sql(f"UPDATE {EARLIER}.t SET value = 'forged' WHERE id = 150")
    seen: list[Any] = []
    digest_range = chunk_copy.digest_range

    def look(*places: Any, **span: Any) -> Any:
        seen.append(span)
        return digest_range(*places, **span)

    monkeypatch.setattr(chunk_copy, "digest_range", look)
    copy_again(table, before=before, held=held)
    assert len(seen) == len(before)
    table.assert_equal("t")
