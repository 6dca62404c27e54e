"""What a table holds, as one digest that no change escapes.

Rows are hashed here, in chunks, in the bytes in which the server sends them (`row_stream`): by primary key from one
snapshot. A table whose first key column is a whole number is read in segments of that number, which several
connections may share. A table without a usable key, or whose engine knows no snapshot, is summed up in one statement.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Deque, Dict, List, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.pressluft.wordpress.plugins.module_utils.column import (
    INTEGERS,
    Column,
    decode_key,
    make_after,
    make_field,
    make_key_list,
    make_text_expression,
    make_up_to,
    read_columns,
    read_key,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import (
    hold_snapshot,
    quote_name,
    run_query,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.row_stream import (
    hash_rows,
    split_row,
    stream_rows,
)

if TYPE_CHECKING:
    from pymysql.connections import Connection

Key = Tuple[str, ...]
Segment = Tuple[Optional[int], Optional[int]]
"""Values of the key's first column: greater than the first, up to the second; None is no limit."""

DIGEST_FORMAT = 2
"""Raised whenever the same rows get another digest, so that no remembered one is compared with a new one."""
_MODULUS = 1 << 256
_SEGMENT_KEYS = 1 << 14
_SEGMENTS = 16


class Chunk(NamedTuple):
    """Rows after the last chunk's `bound` and up to this one's: their number and their digest in hex.

    A bound is the key of the chunk's last row, a text for each column as `column.make_text_expression` gives.
    """

    bound: Key
    count: int
    digest: str


class TableDigest(NamedTuple):
    """The digest of a table's rows (`sha256:<hex>`), how many there are, and the chunks it was made of."""

    digest: str
    rows: int
    chunks: Tuple[Chunk, ...]


class Plan(NamedTuple):
    """How a table is read: its name quoted, what to select (the key first), and the key (none: in one statement)."""

    table: str
    fields: str
    key: List[Column]


def digest_table(
    connection: Connection[Any],
    database: str,
    table: str,
    *,
    chunk_rows: int = 8192,
    beside: Sequence[Connection[Any]] = (),
) -> TableDigest:
    """Digest all rows of a table, as the open snapshot sees them, or one of its own where none is open.

    Connections `beside` it share the work; they must see the same rows (`open_same_snapshot`). Equal content and
    equal `chunk_rows` give equal digests, whatever the table's name and database and whoever reads it. The schema is
    no part of it (`schema_digest`). Raises DatabaseError when anything could not be read to the last byte.
    """
    with hold_snapshot(connection):
        plan = make_plan(connection, database, table)
        if not plan.key:
            return _digest_in_one_statement(connection, plan)
        chunks = tuple(_digest_segments([connection, *beside], plan, chunk_rows))
    rows = sum(chunk.count for chunk in chunks)
    return TableDigest(_digest_values(["chunks", chunk_rows, chunks]), rows, chunks)


def make_plan(connection: Connection[Any], database: str, table: str) -> Plan:
    """Decide how a table is read. The table's definition cannot change until the snapshot ends."""
    name = "%s.%s" % (quote_name(database), quote_name(table))
    run_query(connection, "SELECT 1 FROM %s LIMIT 0" % name)  # takes the metadata lock
    columns = read_columns(connection, database, table)
    key = []
    if _is_in_snapshot(connection, database, table):
        key = read_key(connection, database, table, columns=columns)
    fields = [*key, *(column for column in columns if column not in key)]
    return Plan(name, ", ".join(map(make_field, fields)), key)


def digest_range(
    connection: Connection[Any], plan: Plan, *, after: Optional[Key], up_to: Optional[Key]
) -> Tuple[int, str]:
    """Return number and digest (hex) of the rows between two keys, the first excluded. Raises DatabaseError."""
    query = make_query(plan, make_where(plan.key, after=after, up_to=up_to))
    for found in hash_rows(connection, query, chunk_rows=sys.maxsize):
        return found.count, found.digest
    return 0, hashlib.sha256().hexdigest()


def read_keys(connection: Connection[Any], plan: Plan, *, after: Optional[Key], limit: int) -> List[Key]:
    """Return the first keys after `after`, in their order."""
    fields = ", ".join(make_text_expression(column) for column in plan.key)
    where = make_where(plan.key, after=after, up_to=None)
    query = make_query(plan._replace(fields=fields), where)
    return [tuple(row) for row in run_query(connection, "%s LIMIT %d" % (query, limit))]


def make_query(plan: Plan, where: str) -> str:
    """Return the query for the rows of a table with a key, in the order of the key."""
    order = make_key_list(plan.key)
    return "SELECT %s FROM %s FORCE INDEX (PRIMARY) WHERE %s ORDER BY %s" % (
        plan.fields,
        plan.table,
        where,
        order,
    )


def make_where(key: Sequence[Column], *, after: Optional[Key], up_to: Optional[Key]) -> str:
    """Return the condition *between two keys*, the first excluded; no key is no limit."""
    conditions = []
    if after is not None:
        conditions.append(make_after(key, after))
    if up_to is not None:
        conditions.append(make_up_to(key, up_to))
    return " AND ".join(conditions) or "TRUE"


def make_segments(first: int, last: int) -> List[Segment]:
    """Divide the numbers from `first` to `last` at multiples of a power of two; rows beyond them are not lost.

    The same for nearly the same numbers: a row that is added hardly ever moves the limits of all chunks.
    """
    bits = max(_SEGMENT_KEYS, (last - first) // _SEGMENTS).bit_length()
    limits = [(number << bits) - 1 for number in range((first >> bits) + 1, (last >> bits) + 1)]
    return list(zip([None, *limits], [*limits, None]))


def _digest_segments(connections: Sequence[Connection[Any]], plan: Plan, chunk_rows: int) -> List[Chunk]:
    segments = _find_segments(connections[0], plan)
    waiting: Deque[Tuple[int, Segment]] = deque(enumerate(segments))
    found: Dict[int, List[Chunk]] = {}

    def work(connection: Connection[Any]) -> None:
        while True:
            try:
                number, segment = waiting.popleft()
            except IndexError:
                return
            found[number] = _digest_chunks(connection, plan, segment, chunk_rows)

    with ThreadPoolExecutor(len(connections)) as pool:
        for worker in [pool.submit(work, connection) for connection in connections]:
            worker.result()
    return [chunk for number in range(len(segments)) for chunk in found[number]]


def _find_segments(connection: Connection[Any], plan: Plan) -> List[Segment]:
    if plan.key[0].type not in INTEGERS:
        return [(None, None)]
    name = quote_name(plan.key[0].name)
    first, last = run_query(connection, "SELECT MIN(%s), MAX(%s) FROM %s" % (name, name, plan.table))[0]
    return make_segments(first, last) if first is not None else []


def _digest_chunks(connection: Connection[Any], plan: Plan, segment: Segment, chunk_rows: int) -> List[Chunk]:
    column = plan.key[:1]
    after, up_to = (None if limit is None else (str(limit),) for limit in segment)
    query = make_query(plan, make_where(column, after=after, up_to=up_to))
    return [
        Chunk(decode_key(plan.key, split_row(rows.last, first=len(plan.key))), rows.count, rows.digest)
        for rows in hash_rows(connection, query, chunk_rows=chunk_rows)
    ]


def _digest_in_one_statement(connection: Connection[Any], plan: Plan) -> TableDigest:
    # A sum and not XOR: a row that is there twice must not vanish. The order of rows plays no part.
    count = total = 0
    for row in stream_rows(connection, "SELECT %s FROM %s" % (plan.fields, plan.table)):
        total = (total + int.from_bytes(hashlib.sha256(row).digest(), "big")) % _MODULUS
        count += 1
    return TableDigest(_digest_values(["sum", count, "%064x" % total]), count, ())


def _is_in_snapshot(connection: Connection[Any], database: str, table: str) -> bool:
    rows = run_query(
        connection,
        "SELECT TABLE_SCHEMA, TABLE_NAME, ENGINE FROM information_schema.TABLES"
        " WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s",
        (database, table),
    )
    return (database, table, "InnoDB") in rows


def _digest_values(values: List[Any]) -> str:
    text = json.dumps(values, separators=(",", ":"))
    return "sha256:%s" % hashlib.sha256(text.encode()).hexdigest()
