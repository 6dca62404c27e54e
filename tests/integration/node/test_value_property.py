"""Every type, every pair of values that are easily mistaken: they look the same exactly when they are."""

from typing import Any

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.column import make_field, read_columns
from ansible_collections.pressluft.wordpress.plugins.module_utils.row_stream import hash_rows

from reconciler.stack.mariadb import Login
from tests.integration.node.random_table import FAMILIES, Kind


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family[0].declared)
def test_two_values_look_the_same_exactly_when_they_are(
    admin: Any, ours: Any, database: Login, family: list[Kind]
) -> None:
    for number, kind in enumerate(family):
        admin.execute(
            f"CREATE TABLE wp_{number} (id INT PRIMARY KEY, c {kind.declared}) CHARACTER SET utf8mb4"
        )
        for row, value in enumerate(kind.values):
            admin.execute(f"INSERT IGNORE INTO wp_{number} (id, c) VALUES (%s, {kind.insert})", (row, value))
        admin.execute(f"SELECT {kind.judged.format('c')} FROM wp_{number} ORDER BY id")
        judged = list(map(repr, admin.fetchall()))
        [_id, column] = read_columns(ours, database.user, f"wp_{number}")
        query = f"SELECT {make_field(column)} FROM {database.user}.wp_{number} ORDER BY id"
        seen = [found.digest for found in hash_rows(ours, query, chunk_rows=1)]
        assert len(set(judged)) > 1, kind.declared
        assert find_same(seen) == find_same(judged), kind.declared


def find_same(values: list[str]) -> list[int]:
    """For each value, where the first one like it stands."""
    return [values.index(value) for value in values]
