"""What the source has of its own in protected tables, and will therefore not go up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Optional

from ansible_collections.pressluft.wordpress.plugins.module_utils.column import INTEGERS, read_key
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import quote_name, run_query
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import Environment
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import SAMPLES

if TYPE_CHECKING:
    from pymysql.connections import Connection


def find_source_only(
    connection: Connection[Any], production: Environment, source: Environment, *, name: str
) -> Optional[Dict[str, Any]]:
    """Find rows whose key exists only on the source: `{table, count, samples}`, None without any.

    Both sides are on one server. Only tables whose key is made of whole numbers can be told; raises
    DatabaseError when they cannot be read.
    """
    keys = [read_key(connection, side.database, side.table(name)) for side in (production, source)]
    if not keys[0] or keys[0] != keys[1] or any(column.type not in INTEGERS for column in keys[0]):
        return None
    names = [quote_name(column.name) for column in keys[0]]
    ours, theirs = (
        "%s.%s" % (quote_name(side.database), quote_name(side.table(name))) for side in (production, source)
    )
    same = " AND ".join("ours.%s = theirs.%s" % (key, key) for key in names)
    rest = "FROM %s AS theirs LEFT JOIN %s AS ours ON %s WHERE ours.%s IS NULL" % (
        theirs,
        ours,
        same,
        names[0],
    )
    count = int(run_query(connection, "SELECT COUNT(*) %s" % rest)[0][0])
    if not count:
        return None
    fields = ", ".join("theirs.%s" % key for key in names)
    rows = run_query(connection, "SELECT %s %s ORDER BY %s LIMIT %d" % (fields, rest, fields, SAMPLES))
    return {"table": name, "count": count, "samples": [",".join(map(str, row)) for row in rows]}
