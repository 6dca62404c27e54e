"""What a table holds, as one digest that no change escapes (design §4).

Rows are hashed on the server, by primary key in chunks; nothing but digests crosses the connection. A table
without a usable key, or whose engine knows no snapshot, is summed up in one statement instead.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, List, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.pressluft.wordpress.plugins.module_utils.column import (
    Column,
    make_after,
    make_key_list,
    make_row_hash,
    make_text_expression,
    make_up_to,
    read_columns,
    read_key,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import (
    DatabaseError,
    hold_snapshot,
    quote_name,
    run_query,
)

if TYPE_CHECKING:
    from pymysql.connections import Connection

Key = Tuple[str, ...]

DIGEST_FORMAT = 1
"""Raised whenever the same rows get another digest, so that no remembered one is compared with a new one."""
_LANES = ", ".join("COALESCE(SUM(CRC32(SUBSTRING({hash}, %d, 16))), 0)" % start for start in (1, 17, 33, 49))


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
    """How a table is read: its name quoted, the SQL of a row's hash, and the key (none: in one statement)."""

    table: str
    row_hash: str
    key: List[Column]


def digest_table(
    connection: Connection[Any], database: str, table: str, *, chunk_rows: int = 8192
) -> TableDigest:
    """Digest all rows of a table, as the open snapshot sees them, or one of its own where none is open.

    Equal content and equal `chunk_rows` give equal digests, whatever the table's name and database. The schema
    is no part of it (`schema_digest`). Raises DatabaseError when anything could not be read to the last byte.
    """
    with hold_snapshot(connection):
        plan = make_plan(connection, database, table)
        if not plan.key:
            return _digest_in_one_statement(connection, plan)
        chunks = tuple(_digest_chunks(connection, plan, chunk_rows))
    rows = sum(chunk.count for chunk in chunks)
    return TableDigest(_digest_values(["chunks", chunk_rows, chunks]), rows, chunks)


def make_plan(connection: Connection[Any], database: str, table: str) -> Plan:
    """Decide how a table is read. The table's definition cannot change until the snapshot ends."""
    name = "%s.%s" % (quote_name(database), quote_name(table))
    run_query(connection, "SELECT 1 FROM %s LIMIT 0" % name)  # takes the metadata lock
    key = read_key(connection, database, table) if _is_in_snapshot(connection, database, table) else []
    return Plan(name, make_row_hash(read_columns(connection, database, table)), key)


def digest_range(
    connection: Connection[Any], plan: Plan, *, after: Optional[Key], up_to: Optional[Key]
) -> Tuple[int, str]:
    """Return number and digest (hex) of the rows between two keys, the first excluded. Raises DatabaseError."""
    where = make_where(plan.key, after=after, up_to=up_to)
    # No ORDER BY, which would sort what the primary key gives in its order anyway, for a third of the time. Should
    # a server ever read it in another order, the digest would differ: a false alarm, never a miss.
    # The list is hashed here: the server would copy it into a temporary table first.
    count, hashes = run_query(
        connection,
        "SELECT COUNT(*), GROUP_CONCAT(%s SEPARATOR '') FROM %s FORCE INDEX (PRIMARY) WHERE %s"
        % (plan.row_hash, plan.table, where),
    )[0]
    found = len(hashes or "")
    if found != 64 * count:
        # A row too large to be hashed is NULL and would silently be left out, or the list was cut short.
        raise DatabaseError(
            "%s: only %d of %d rows could be digested; raise max_allowed_packet"
            % (plan.table, found // 64, count)
        )
    return int(count), hashlib.sha256((hashes or "").encode()).hexdigest()


def read_keys(
    connection: Connection[Any], plan: Plan, *, after: Optional[Key], limit: int, offset: int = 0
) -> List[Key]:
    """Return keys in their order, from the one `offset` places after `after`."""
    fields = ", ".join(make_text_expression(column) for column in plan.key)
    rows = run_query(
        connection,
        "SELECT %s FROM %s FORCE INDEX (PRIMARY) WHERE %s ORDER BY %s LIMIT %d, %d"
        % (
            fields,
            plan.table,
            make_where(plan.key, after=after, up_to=None),
            make_key_list(plan.key),
            offset,
            limit,
        ),
    )
    return [tuple(row) for row in rows]


def _digest_chunks(connection: Connection[Any], plan: Plan, chunk_rows: int) -> List[Chunk]:
    last = _read_last_key(connection, plan)
    if last is None:
        return []
    chunks: List[Chunk] = []
    after: Optional[Key] = None
    while after != last:
        full = read_keys(connection, plan, after=after, limit=1, offset=chunk_rows - 1)
        bound = full[0] if full else last
        if bound == after:
            raise DatabaseError("%s: the rows after %s cannot be reached by key" % (plan.table, after))
        # No upper limit for the last one: a row that sorted after `last` would be missed, not misplaced.
        count, digest = digest_range(connection, plan, after=after, up_to=None if bound == last else bound)
        chunks.append(Chunk(bound, count, digest))
        after = bound
    return chunks


def _read_last_key(connection: Connection[Any], plan: Plan) -> Optional[Key]:
    rows = run_query(
        connection,
        "SELECT %s FROM %s ORDER BY %s LIMIT 1"
        % (
            ", ".join(make_text_expression(column) for column in plan.key),
            plan.table,
            make_key_list(plan.key, suffix=" DESC"),
        ),
    )
    return tuple(rows[0]) if rows else None


def _digest_in_one_statement(connection: Connection[Any], plan: Plan) -> TableDigest:
    # Sums and not XOR: a row that is there twice must not vanish. The order of rows plays no part.
    count, hashed, *lanes = run_query(
        connection,
        "SELECT COUNT(*), COUNT(%s), %s FROM %s"
        % (plan.row_hash, _LANES.format(hash=plan.row_hash), plan.table),
    )[0]
    if count != hashed:
        raise DatabaseError(
            "%s: only %d of %d rows could be digested; raise max_allowed_packet" % (plan.table, hashed, count)
        )
    return TableDigest(_digest_values(["lanes", count, [str(lane) for lane in lanes]]), int(count), ())


def _is_in_snapshot(connection: Connection[Any], database: str, table: str) -> bool:
    rows = run_query(
        connection,
        "SELECT TABLE_SCHEMA, TABLE_NAME, ENGINE FROM information_schema.TABLES"
        " WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s",
        (database, table),
    )
    return (database, table, "InnoDB") in rows


def make_where(key: Sequence[Column], *, after: Optional[Key], up_to: Optional[Key]) -> str:
    """Return the condition *between two keys*, the first excluded; no key is no limit."""
    conditions = []
    if after is not None:
        conditions.append(make_after(key, after))
    if up_to is not None:
        conditions.append(make_up_to(key, up_to))
    return " AND ".join(conditions) or "TRUE"


def _digest_values(values: List[Any]) -> str:
    text = json.dumps(values, separators=(",", ":"))
    return "sha256:%s" % hashlib.sha256(text.encode()).hexdigest()
