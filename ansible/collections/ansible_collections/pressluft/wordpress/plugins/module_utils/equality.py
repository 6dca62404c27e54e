"""Whether both sides changed to the same thing, once the source's addresses are rewritten to production's."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Dict, Optional, Sequence, Tuple

from ansible_collections.pressluft.wordpress.plugins.module_utils.column import (
    TEXTS,
    Column,
    make_row_hash,
    read_columns,
    read_key,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import (
    DatabaseError,
    hold_snapshot,
    quote_name,
    stream_query,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import Environment
from ansible_collections.pressluft.wordpress.plugins.module_utils.option_row import (
    OptionRow,
    read_option_rows,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.rewrite import (
    Rewriter,
    make_url_replacements,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.schema_digest import read_schema

if TYPE_CHECKING:
    from pymysql.connections import Connection

_NEVER_REWRITTEN = frozenset(["guid", "user_pass"])  # design §5
_MODULUS = 1 << 256


def make_rewriter(production: Environment, source: Environment) -> Rewriter:
    """Make the rewriter that a promotion uses: from the source's addresses and folders to production's."""
    return Rewriter(make_url_replacements(source.url, production.url, source.root, production.root))


def compare_options(
    connection: Connection[Any], production: Environment, source: Environment, *, names: Sequence[str]
) -> Dict[str, bool]:
    """Tell for each option row whether both sides hold the same after rewriting; absent on both is the same."""
    rewriter = make_rewriter(production, source)
    ours = read_option_rows(connection, production, names)
    theirs = read_option_rows(connection, source, names)
    return {
        name: ours.get(name) == (_rewrite_row(rewriter, theirs[name]) if name in theirs else None)
        for name in names
    }


def compare_tables(
    connection: Connection[Any], production: Environment, source: Environment, *, name: str
) -> bool:
    """Tell whether a table, given without prefix, holds the same rows on both sides after rewriting.

    Rows are compared as a bag, so neither their order nor a missing key plays a part. Raises DatabaseError.
    """
    sides = [(side.database, side.table(name), side.table_prefix) for side in (production, source)]
    with hold_snapshot(connection):
        ours, theirs = (read_schema(connection, *side[:2], prefix=side[2]) for side in sides)
        if ours.text != theirs.text or ours.is_view:
            return ours.text == theirs.text
        plain = _sum_rows(connection, sides[0][:2], None)
        return plain == _sum_rows(connection, sides[1][:2], make_rewriter(production, source))


def _rewrite_row(rewriter: Rewriter, row: OptionRow) -> OptionRow:
    return row if row.value is None else row._replace(value=rewriter.rewrite(row.value).value)


def _sum_rows(
    connection: Connection[Any], table: Tuple[str, str], rewriter: Optional[Rewriter]
) -> Tuple[int, int]:
    """Return the number of rows and the sum of their SHA-256: equal sums are equal bags of rows."""
    columns = read_columns(connection, *table)
    kept = {column.name for column in read_key(connection, *table)} | _NEVER_REWRITTEN
    texts = [column for column in columns if column.type in TEXTS and column.name not in kept]
    fixed = [column for column in columns if column not in texts]
    # All that is never rewritten is hashed on the server, so that only texts travel.
    fields = [make_row_hash(fixed) if fixed else "''", *map(_make_text_field, texts)]
    place = "%s.%s" % (quote_name(table[0]), quote_name(table[1]))
    count = total = 0
    for row in stream_query(connection, "SELECT %s FROM %s" % (", ".join(fields), place)):
        if None in row:
            raise DatabaseError("a row of %s is too large to be read" % place)
        total = (total + _hash_row(row[0], row[1:], rewriter)) % _MODULUS
        count += 1
    return count, total


def _make_text_field(column: Column) -> str:
    # Never NULL, so that a NULL in the answer can only be a value that outgrew the packet.
    name = quote_name(column.name)
    return "IF(%s IS NULL, x'4E', CONCAT(x'56', CAST(%s AS BINARY)))" % (name, name)


def _hash_row(fixed: str, values: Sequence[bytes], rewriter: Optional[Rewriter]) -> int:
    digest = hashlib.sha256(fixed.encode())
    for value in values:
        mark, text = value[:1], value[1:]
        if rewriter is not None:
            text = rewriter.rewrite(text).value
        digest.update(b"%s%d:%s" % (mark, len(text), text))
    return int.from_bytes(digest.digest(), "big")
