"""Measures a site's tables: one digest over what a table is and what it holds."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Dict, Iterable, NamedTuple, Optional, Sequence

from ansible_collections.pressluft.wordpress.plugins.module_utils.database import (
    DatabaseError,
    TableInfo,
    find_tables,
    hold_snapshot,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import Environment
from ansible_collections.pressluft.wordpress.plugins.module_utils.localise import pack_rows
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import ABSENT, Measure
from ansible_collections.pressluft.wordpress.plugins.module_utils.schema_digest import Schema, read_schema
from ansible_collections.pressluft.wordpress.plugins.module_utils.table_digest import digest_table

if TYPE_CHECKING:
    from pymysql.connections import Connection


class TableContent(NamedTuple):
    """A table's definition, the digest of its rows (`sha256:<hex>`, `view` for a view), and the evidence."""

    schema: Schema
    rows: str
    evidence: Dict[str, Any]

    def measure(self) -> Measure:
        """The table as a resource."""
        return Measure(digest_schema_and_rows(self.schema.digest, self.rows), evidence=self.evidence)


def measure_tables(
    connection: Connection[Any],
    environment: Environment,
    names: Optional[Iterable[str]] = None,
    *,
    rows_kept: int = 0,
) -> Dict[str, Measure]:
    """Measure tables and views by their names without prefix; all of the site's (with `options`) when None.

    Within an open snapshot all are of one moment, else each is consistent in itself. A name that is no table is
    `ABSENT`; one that cannot be read is so marked, and the rest goes on. The evidence holds the schema's text,
    the chunks and, for tables of up to `rows_kept` rows, the beginning of each row's hash (else None). Raises
    DatabaseError only when the tables cannot even be listed.
    """
    tables = find_tables(connection, environment.database, environment.table_prefix)
    wanted = list(tables) if names is None else list(names)
    return {
        name: _measure_table(connection, environment, tables[name], rows_kept) if name in tables else ABSENT
        for name in wanted
    }


def digest_schema_and_rows(schema: str, rows: str) -> str:
    """Return the digest of a table as a resource (`sha256:<hex>`) from those of its schema and its rows."""
    return "sha256:%s" % hashlib.sha256(("%s\n%s" % (schema, rows)).encode()).hexdigest()


def read_table(
    connection: Connection[Any],
    environment: Environment,
    info: TableInfo,
    *,
    rows_kept: int = 0,
    beside: Sequence[Connection[Any]] = (),
) -> TableContent:
    """Read one table or view as it is now, together with connections `beside` it that see the same rows.

    Raises DatabaseError when it cannot be read or is being altered.
    """
    database, prefix = environment.database, environment.table_prefix
    with hold_snapshot(connection):
        schema = read_schema(connection, database, info.name, prefix=prefix)
        if schema.is_view:  # what it shows is measured where it lies
            return TableContent(schema, "view", {"schema": schema.text, "chunks": [], "rows": None})
        rows = digest_table(connection, database, info.name, beside=beside)
        # A definition that changed between the two would belong to other rows.
        if read_schema(connection, database, info.name, prefix=prefix) != schema:
            raise DatabaseError("%s was altered while it was read" % info.name)
        kept = rows.rows <= rows_kept
        evidence = {
            "schema": schema.text,
            "chunks": [list(chunk) for chunk in rows.chunks],
            "rows": pack_rows(connection, database, info.name, rows.chunks) if kept else None,
        }
    return TableContent(schema, rows.digest, evidence)


def _measure_table(
    connection: Connection[Any], environment: Environment, info: TableInfo, rows_kept: int
) -> Measure:
    try:
        return read_table(connection, environment, info, rows_kept=rows_kept).measure()
    except DatabaseError as error:
        return Measure(None, unreadable=error.message)
