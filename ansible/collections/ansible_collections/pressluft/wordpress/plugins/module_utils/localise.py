"""Which rows of a table differ from a baseline: by their keys, never by their content."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Sequence

from ansible_collections.pressluft.wordpress.plugins.module_utils.column import (
    describe_key,
    make_key_list,
    make_text_expression,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import (
    hold_snapshot,
    stream_query,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import SAMPLES
from ansible_collections.pressluft.wordpress.plugins.module_utils.table_digest import (
    Chunk,
    Key,
    Plan,
    digest_range,
    make_plan,
    read_keys,
)

if TYPE_CHECKING:
    from pymysql.connections import Connection

ROWS_KEPT = 20000
"""Tables of up to this many rows keep each row's hash in the baseline's evidence: 1.5 MB at most."""
_HASH_DIGITS = 16  # enough to name a row; the verdict rests on the whole digest


def read_row_hashes(connection: Connection[Any], database: str, table: str) -> Dict[str, str]:
    """Return the beginning of each row's hash by its key as a person reads it; empty without a key."""
    with hold_snapshot(connection):
        plan = make_plan(connection, database, table)
        if not plan.key:
            return {}
        fields = ", ".join(make_text_expression(column) for column in plan.key)
        rows = stream_query(
            connection,
            "SELECT LEFT(%s, %d), %s FROM %s ORDER BY %s"
            % (plan.row_hash, _HASH_DIGITS, fields, plan.table, make_key_list(plan.key)),
        )
        return {describe_key(plan.key, key): start for start, *key in rows}


def find_changed_keys(
    connection: Connection[Any], database: str, table: str, *, evidence: Mapping[str, Any]
) -> List[str]:
    """Return up to 20 keys of rows that were added, removed or changed since the evidence was taken.

    Where the evidence holds no row's hash, the range of keys of each chunk that differs (`8193..16384`); rows
    after the last chunk are named one by one. Without a usable key: nothing.
    """
    with hold_snapshot(connection):
        if evidence["rows"] is not None:
            now = read_row_hashes(connection, database, table)
            return _compare_rows(evidence["rows"], now)[:SAMPLES]
        plan = make_plan(connection, database, table)
        chunks = [Chunk(tuple(bound), count, digest) for bound, count, digest in evidence["chunks"]]
        if not plan.key or not chunks or len(chunks[0].bound) != len(plan.key):
            return []
        return _find_changed_ranges(connection, plan, chunks)


def _compare_rows(before: Mapping[str, str], after: Mapping[str, str]) -> List[str]:
    changed = [key for key in before if before[key] != after.get(key)]
    return changed + [key for key in after if key not in before]


def _find_changed_ranges(connection: Connection[Any], plan: Plan, chunks: Sequence[Chunk]) -> List[str]:
    found: List[str] = []
    after: Optional[Key] = None
    for chunk in chunks:
        if len(found) == SAMPLES:
            return found
        if digest_range(connection, plan, after=after, up_to=chunk.bound) != (chunk.count, chunk.digest):
            found.append(_describe_range(connection, plan, after, chunk.bound))
        after = chunk.bound
    added = read_keys(connection, plan, after=after, limit=SAMPLES - len(found))
    return found + [describe_key(plan.key, key) for key in added]


def _describe_range(connection: Connection[Any], plan: Plan, after: Optional[Key], bound: Key) -> str:
    first = read_keys(connection, plan, after=after, limit=1)
    start = first[0] if first else bound
    return "%s..%s" % (describe_key(plan.key, start), describe_key(plan.key, bound))
