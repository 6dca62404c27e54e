"""What the source has of its own in protected data, and will therefore not go up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Container, Dict, Mapping, Optional

from ansible_collections.pressluft.wordpress.plugins.module_utils.column import (
    describe_key,
    make_key_list,
    make_text_expression,
    read_key,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import quote_name, run_query
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import Environment
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import SAMPLES

if TYPE_CHECKING:
    from pymysql.connections import Connection


def find_source_only(
    connection: Connection[Any], production: Environment, source: Environment, *, name: str
) -> Optional[Dict[str, Any]]:
    """Find rows whose key exists only on the source: `{table, count, samples}`, None without any.

    Both sides are on one server. A table without a usable primary key, or with another one on either side, cannot
    be told. Raises DatabaseError when they cannot be read.
    """
    keys = [read_key(connection, side.database, side.table(name)) for side in (production, source)]
    if not keys[0] or keys[0] != keys[1]:
        return None
    ours, theirs = (
        "%s.%s" % (quote_name(side.database), quote_name(side.table(name))) for side in (production, source)
    )
    columns = [quote_name(column.name) for column in keys[0]]
    same = " AND ".join("ours.%s = theirs.%s" % (column, column) for column in columns)
    rest = "FROM %s AS theirs WHERE NOT EXISTS (SELECT 1 FROM %s AS ours WHERE %s)" % (theirs, ours, same)
    count = int(run_query(connection, "SELECT COUNT(*) %s" % rest)[0][0])
    if not count:
        return None
    fields = ", ".join(make_text_expression(column) for column in keys[0])
    rows = run_query(
        connection, "SELECT %s %s ORDER BY %s LIMIT %d" % (fields, rest, make_key_list(keys[0]), SAMPLES)
    )
    samples = [describe_key(keys[0], row) for row in rows]
    return {"table": name, "count": count, "samples": samples}


def find_source_only_paths(
    name: str, ours: Mapping[str, str], theirs: Mapping[str, str], known: Container[str]
) -> Optional[Dict[str, Any]]:
    """Find entries of a protected folder that only the source has, as `find_source_only` does for rows.

    `ours` and `theirs` are the manifests of production and source (`entries` of the evidence). What production had
    when the source was copied (`known`) was deleted there, and is no work of the source.
    """
    only = [path for path in sorted(theirs) if path not in ours and path not in known]
    return {"table": name, "count": len(only), "samples": only[:SAMPLES]} if only else None
