"""What cannot be exchanged faithfully is refused by name, before anything is copied (spec.md §6, design §5)."""

from __future__ import annotations

from ansible_collections.pressluft.wordpress.plugins.module_utils.database import find_tables, run_query
from ansible_collections.pressluft.wordpress.plugins.module_utils.exchange import LONGEST_NAME
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError


def check_tables(conn, environment, names):
    """Refuse tables (without prefix) of one environment that are no plain InnoDB tables, that have triggers, or
    that are tied by a foreign key to one that stays. Names that the environment does not have are fine.
    """
    known = find_tables(conn, environment.database, environment.table_prefix)
    mine = [name for name in names if name in known]
    for name in mine:
        if known[name].type != "BASE TABLE":
            raise _make_unsupported(known[name].name, "is a {0}".format(known[name].type.lower()))
        if known[name].engine != "InnoDB":
            raise _make_unsupported(
                known[name].name, "is stored in {0}, not InnoDB".format(known[name].engine)
            )
    replaced = {known[name].name for name in mine}
    _refuse_triggers(conn, environment.database, replaced)
    _refuse_ties(conn, environment.database, replaced)


def check_lengths(environment, names):
    """Refuse tables (without prefix) whose names are too long with this environment's prefix."""
    for name in names:
        if len(environment.table(name)) > LONGEST_NAME:
            raise _make_unsupported(
                name, "has too long a name for the prefix {0}".format(environment.table_prefix)
            )


def check_charsets(conn, production, source):
    """Refuse options tables whose texts are stored in different character sets: bytes would change meaning."""
    sides = [_fetch_charsets(conn, side) for side in (production, source)]
    for column in sorted(set(sides[0]) & set(sides[1])):
        if sides[0][column] != sides[1][column]:
            raise _make_unsupported(
                production.table("options"),
                "stores {0} as {1}, the source as {2}".format(column, sides[0][column], sides[1][column]),
            )


def _refuse_triggers(conn, database, replaced):
    rows = run_query(
        conn,
        "SELECT EVENT_OBJECT_TABLE, TRIGGER_NAME FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA = %s",
        (database,),
    )
    for table, trigger in rows:
        if table in replaced:
            raise _make_unsupported(table, "has the trigger {0}".format(trigger))


def _refuse_ties(conn, database, replaced):
    """A key from either side of the line would go on pointing at a table that is retired."""
    rows = run_query(
        conn,
        "SELECT CONSTRAINT_NAME, TABLE_SCHEMA, TABLE_NAME, REFERENCED_TABLE_SCHEMA, REFERENCED_TABLE_NAME"
        " FROM information_schema.KEY_COLUMN_USAGE WHERE REFERENCED_TABLE_NAME IS NOT NULL"
        " AND (TABLE_SCHEMA = %s OR REFERENCED_TABLE_SCHEMA = %s)",
        (database, database),
    )
    for constraint, schema, table, target_schema, target in rows:
        child, parent = (schema, table), (target_schema, target)
        is_child, is_parent = (place[0] == database and place[1] in replaced for place in (child, parent))
        if is_child != is_parent:
            raise _make_unsupported(
                table if is_child else target,
                "is tied by the foreign key {0} to {1}, which is not replaced".format(
                    constraint, target if is_child else table
                ),
            )


def _fetch_charsets(conn, environment):
    rows = run_query(
        conn,
        "SELECT COLUMN_NAME, CHARACTER_SET_NAME FROM information_schema.COLUMNS"
        " WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s AND CHARACTER_SET_NAME IS NOT NULL",
        (environment.database, environment.table("options")),
    )
    # utf8, utf8mb3 and utf8mb4 store what they all can store as the same bytes.
    return {name: "utf8" if charset.startswith("utf8") else charset for name, charset in rows}


def _make_unsupported(table, reason):
    return NodeError(
        "SCHEMA_UNSUPPORTED",
        "table {0} {1}".format(table, reason),
        "Change the table, or protect it on both environments so that it is not replaced.",
    )
