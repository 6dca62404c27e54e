"""The digest against an independent judge: whatever is done to a table, it changes exactly when the rows do."""

import os
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import connect
from ansible_collections.pressluft.wordpress.plugins.module_utils.table_digest import digest_table
from hypothesis import HealthCheck, event, given, settings

from reconciler.stack.mariadb import MariaDB
from tests.integration.node.random_table import RandomTable, random_tables

DATABASE = "digest_property"
CASES = int(os.environ.get("PRESSLUFT_DIGEST_CASES", "150"))
"""Random tables; 2,000 were run for docs/reference/drift-guarantees.md."""


@pytest.fixture(scope="module")
def cursor(mariadb: MariaDB) -> Iterator[Any]:
    mariadb.create_database(DATABASE)
    with mariadb.connect(DATABASE) as cursor:
        cursor.execute("SET sql_mode = '', time_zone = '+00:00'")
        yield cursor
    mariadb.drop_database(DATABASE)


@pytest.fixture(scope="module")
def connection(mariadb: MariaDB) -> Iterator[Any]:
    with closing(connect(str(mariadb.client_file))) as connection:
        yield connection


@settings(
    max_examples=CASES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(table=random_tables())
def test_digests_are_equal_exactly_when_the_rows_are(
    cursor: Any, connection: Any, table: RandomTable
) -> None:
    cursor.execute("DROP TABLE IF EXISTS wp_t")
    cursor.execute(table.define("wp_t"))
    digests, seen = [], []
    for rows in (table.rows, table.changed):
        cursor.execute("DELETE FROM wp_t")
        for row in rows:
            cursor.execute(table.insert("wp_t"), row)
        digests.append(digest_table(connection, DATABASE, "wp_t", chunk_rows=2))
        cursor.execute(table.judge("wp_t"))
        seen.append(sorted(map(repr, cursor.fetchall())))
    event("the same rows" if seen[0] == seen[1] else "other rows")
    assert [digest.rows for digest in digests] == [len(rows) for rows in seen]
    assert (digests[0].digest == digests[1].digest) == (seen[0] == seen[1])
