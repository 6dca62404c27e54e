"""Whether both sides changed to the same thing, once the source's addresses are rewritten to production's."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Dict, Optional, Sequence, Tuple

from ansible_collections.pressluft.wordpress.plugins.module_utils.column import (
    TEXTS,
    make_field,
    read_columns,
    read_key,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import hold_snapshot, quote_name
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import Environment
from ansible_collections.pressluft.wordpress.plugins.module_utils.option_row import (
    OptionRow,
    read_option_rows,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.rewrite import (
    Rewriter,
    make_url_replacements,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.row_stream import split_row, stream_rows
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
    ours = read_option_rows(connection, production, names)
    theirs = read_option_rows(connection, source, names)
    return match_options(ours, theirs, names, rewriter=make_rewriter(production, source))


def match_options(
    ours: Dict[str, OptionRow], theirs: Dict[str, OptionRow], names: Sequence[str], *, rewriter: Rewriter
) -> Dict[str, bool]:
    """Tell for each name whether production's row is the source's once that is rewritten."""
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
    with hold_snapshot(connection):
        ours = read_content(connection, production, name)
        theirs = read_content(connection, source, name)
        return is_equal(ours, theirs, rewriter=make_rewriter(production, source))


@dataclass(frozen=True)
class Content:
    """A table to be compared: its definition, whether it is a view, and how its rows are summed up."""

    definition: str
    is_view: bool
    sum_rows: Callable[[Optional[Rewriter]], Tuple[int, int]]


def read_content(connection: Connection[Any], environment: Environment, name: str) -> Content:
    """Read a table's definition; its rows are read when they are asked for. Raises DatabaseError."""
    place = (environment.database, environment.table(name))
    schema = read_schema(connection, *place, prefix=environment.table_prefix)
    return Content(schema.text, schema.is_view, lambda rewriter: sum_rows(connection, place, rewriter))


def is_equal(production: Content, source: Content, *, rewriter: Rewriter) -> bool:
    """Whether two tables hold the same once the source's rows are rewritten."""
    if production.definition != source.definition or production.is_view:
        return production.definition == source.definition
    return production.sum_rows(None) == source.sum_rows(rewriter)


def _rewrite_row(rewriter: Rewriter, row: OptionRow) -> OptionRow:
    return row if row.value is None else row._replace(value=rewriter.rewrite(row.value).value)


def sum_rows(
    connection: Connection[Any], table: Tuple[str, str], rewriter: Optional[Rewriter]
) -> Tuple[int, int]:
    """Return the number of rows and the sum of their SHA-256: equal sums are equal bags of rows."""
    columns = read_columns(connection, *table)
    kept = {column.name for column in read_key(connection, *table, columns=columns)} | _NEVER_REWRITTEN
    texts = [column.type in TEXTS and column.name not in kept for column in columns]
    place = "%s.%s" % (quote_name(table[0]), quote_name(table[1]))
    count = total = 0
    for row in stream_rows(connection, "SELECT %s FROM %s" % (", ".join(map(make_field, columns)), place)):
        values = split_row(row)
        if rewriter is not None:
            values = [
                rewriter.rewrite(value).value if is_text and value is not None else value
                for is_text, value in zip(texts, values)
            ]
        total = (total + _hash_values(values)) % _MODULUS
        count += 1
    return count, total


def _hash_values(values: Sequence[Optional[bytes]]) -> int:
    digest = hashlib.sha256()
    for value in values:
        digest.update(b"N" if value is None else b"%d:%s" % (len(value), value))
    return int.from_bytes(digest.digest(), "big")
