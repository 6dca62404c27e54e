"""Rows of `options` that production keeps, exact to the last write on either side of an exchange (design §5).

The table is exchanged as a whole, but only the rows that a plan names come from elsewhere. All others are
production's, and production goes on writing them until the very RENAME. So they are copied twice: before it
(`copy_kept_rows`), with the copy kept aside; and after it (`carry_kept_rows`), each row that was written in
between, but only where the new table still shows the first copy: what visitors wrote into the new table stays.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Tuple

from ansible_collections.pressluft.wordpress.plugins.module_utils.database import quote_name, run_query
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError

try:
    from pymysql import MySQLError
except ImportError:  # told by `database.connect`

    class MySQLError(Exception):
        """Stands in where Ansible's documentation tools import this file."""


COPY, MARK = "pressluft_first_copy", "pressluft_carried"
_NAME, _ID = "option_name", "option_id"
_ATTEMPTS, _PAUSE_SECONDS = 10, 0.2
_LOST_RACE = frozenset({1205, 1213})  # lock wait time-out, deadlock: the transaction can be run again


@dataclass(frozen=True)
class OptionRows:
    """An options table around an exchange: `table` is its real name in all three databases.

    It is live in `live`; its successor waits in `incoming`, and the exchange retires it to `retired`. The copy
    and the mark are kept in `incoming`. `named` are the options a plan decides on; all others are kept.
    """

    live: str
    incoming: str
    retired: str
    table: str
    named: Tuple[str, ...]


def copy_kept_rows(conn, rows):
    """Before the exchange: make the kept rows of the successor those of the live table. Safe to repeat."""
    columns = fetch_columns(conn, rows.live, rows.table)
    for name in (COPY, MARK):
        run_query(conn, "DROP TABLE IF EXISTS {0}".format(_name(rows.incoming, name)))
    copy, mark, live = _name(rows.incoming, COPY), _name(rows.incoming, MARK), _name(rows.live, rows.table)
    run_query(conn, "CREATE TABLE {0} LIKE {1}".format(copy, live))
    run_query(conn, "CREATE TABLE {0} (carried INT NOT NULL PRIMARY KEY) ENGINE=InnoDB".format(mark))
    _in_transaction(conn, rows.live, _make_copying(rows, columns))


def carry_kept_rows(conn, rows):
    """After the exchange: bring over what was written since the copy. Returns the number of rows.

    Safe to repeat: a mark that is set in the same transaction tells that it was done.
    """
    mark = _name(rows.incoming, MARK)
    if run_query(conn, "SELECT carried FROM {0}".format(mark)):
        return 0
    columns = fetch_columns(conn, rows.live, rows.table)
    statements = [*_make_carrying(rows, columns), ("INSERT INTO {0} VALUES (1)".format(mark), ())]
    return _in_transaction(conn, rows.live, statements) - 1


def fetch_columns(conn, database, table):
    """The columns that make up an option: all but its number. Refuses a table whose names are not unique."""
    found = run_query(
        conn,
        "SELECT COLUMN_NAME, EXTRA FROM information_schema.COLUMNS"
        " WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s ORDER BY ORDINAL_POSITION",
        (database, table),
    )
    names = [name for name, extra in found if name != _ID and "GENERATED" not in extra.upper()]
    unique = run_query(
        conn,
        "SELECT INDEX_NAME FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s"
        " AND NON_UNIQUE = 0 GROUP BY INDEX_NAME HAVING COUNT(*) = 1 AND MAX(COLUMN_NAME) = %s",
        (database, table, _NAME),
    )
    if _NAME in names and unique:
        return names
    raise NodeError(
        "SCHEMA_UNSUPPORTED",
        "table {0} has no unique index on {1}".format(table, _NAME),
        "Repair it: WordPress creates the options table with UNIQUE KEY option_name (option_name).",
    )


def check_spelling(conn, database, table, named):
    """Refuse names that the table's index takes for those of other rows: `SiteURL` would overwrite `siteurl`.

    Raises `NodeError` `OVERWRITE_BLOCKED`. Other spellings that are themselves among `named` are fine.
    """
    if not named:
        return
    marks = ", ".join(["%s"] * len(named))
    found = run_query(
        conn,
        "SELECT {0} FROM {1} WHERE {0} IN ({2})".format(_NAME, _name(database, table), marks),
        tuple(named),
    )
    meant = sorted({name for (name,) in found} - set(named))
    if meant:
        raise NodeError(
            "OVERWRITE_BLOCKED",
            "the source spells options of production otherwise: {0}".format(", ".join(meant)),
            "Nothing was changed. Give the source's rows the names that production has.",
        )


def make_excluded(alias, named):
    """SQL that leaves out the options a plan names, and its arguments. The index's collation compares."""
    if not named:
        return "TRUE", ()
    marks = ", ".join(["%s"] * len(named))
    return "{0}.{1} NOT IN ({2})".format(alias, _NAME, marks), tuple(named)


def _make_copying(rows, columns):
    live, successor = _name(rows.live, rows.table), _name(rows.incoming, rows.table)
    copy = _name(rows.incoming, COPY)
    kept_live, named = make_excluded("l", rows.named)
    kept_successor, _ = make_excluded("s", rows.named)
    lacking = "LEFT JOIN {0} c ON c.option_name = s.option_name WHERE c.option_name IS NULL".format(copy)
    fields = _fields(columns)
    return [
        ("DELETE FROM {0}".format(copy), ()),
        ("INSERT INTO {0} SELECT l.* FROM {1} l WHERE {2}".format(copy, live, kept_live), named),
        ("DELETE s FROM {0} s {1} AND {2}".format(successor, lacking, kept_successor), named),
        (
            "UPDATE {0} s JOIN {1} c ON c.option_name = s.option_name SET {2} WHERE NOT ({3})".format(
                successor, copy, _assign("s", "c", columns), _equal("s", "c", columns)
            ),
            (),
        ),
        # Without numbers: one may be taken in the successor, and nothing refers to it.
        (
            "INSERT INTO {0} ({1}) SELECT {2} FROM {3} c LEFT JOIN {0} s ON s.option_name = c.option_name"
            " WHERE s.option_name IS NULL".format(successor, fields, _fields(columns, "c"), copy),
            (),
        ),
    ]


def _make_carrying(rows, columns):
    live, retired = _name(rows.live, rows.table), _name(rows.retired, rows.table)
    copy = _name(rows.incoming, COPY)
    untouched = _equal("l", "c", columns)
    kept, named = make_excluded("r", rows.named)
    return [
        (
            "DELETE l FROM {0} c LEFT JOIN {1} r ON r.option_name = c.option_name"
            " JOIN {2} l ON l.option_name = c.option_name"
            " WHERE r.option_name IS NULL AND {3}".format(copy, retired, live, untouched),
            (),
        ),
        (
            "UPDATE {0} c JOIN {1} r ON r.option_name = c.option_name"
            " JOIN {2} l ON l.option_name = c.option_name"
            " SET {3} WHERE NOT ({4}) AND {5}".format(
                copy, retired, live, _assign("l", "r", columns), _equal("r", "c", columns), untouched
            ),
            (),
        ),
        (
            "INSERT INTO {0} ({1}) SELECT {2} FROM {3} r LEFT JOIN {4} c ON c.option_name = r.option_name"
            " LEFT JOIN {0} l ON l.option_name = r.option_name"
            " WHERE c.option_name IS NULL AND l.option_name IS NULL AND {5}".format(
                live, _fields(columns), _fields(columns, "r"), retired, copy, kept
            ),
            named,
        ),
    ]


def _in_transaction(conn, database, statements):
    """Run statements as one transaction, again when it lost a race for locks. Returns the rows they changed."""
    run_query(conn, "USE {0}".format(quote_name(database)))  # aliases of a DELETE want a database
    # READ COMMITTED, so that reading the live table blocks no visitor's write.
    run_query(conn, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
    try:
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(_PAUSE_SECONDS)
            try:
                return _run_once(conn, statements)
            except MySQLError as error:
                conn.rollback()
                if error.args[0] not in _LOST_RACE or attempt == _ATTEMPTS - 1:
                    raise _make_failed(error) from error
    finally:
        if conn.open:
            run_query(conn, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    raise AssertionError("unreachable")


def _run_once(conn, statements):
    conn.begin()
    with conn.cursor() as cursor:
        changed = sum(cursor.execute(statement, arguments) for statement, arguments in statements)
    conn.commit()
    return changed


def _make_failed(error):
    return NodeError(
        "ANSIBLE_HOST_FAILED",
        "options could not be brought up to date: {0}".format(": ".join(map(str, error.args))),
        "Look at SHOW ENGINE INNODB STATUS on the database server, then run the job again.",
        retry=True,
    )


def _name(database, table):
    return "{0}.{1}".format(quote_name(database), quote_name(table))


def _fields(columns, alias=""):
    dot = alias + "." if alias else ""
    return ", ".join(dot + quote_name(column) for column in columns)


def _assign(target, source, columns):
    return ", ".join("{0}.{2} = {1}.{2}".format(target, source, quote_name(column)) for column in columns)


def _equal(one, other, columns):
    """SQL: the two rows are the same to the byte (a collation would call `A` and `a` the same)."""
    same = "CAST({0}.{2} AS BINARY) <=> CAST({1}.{2} AS BINARY)"
    return " AND ".join(same.format(one, other, quote_name(column)) for column in columns)
