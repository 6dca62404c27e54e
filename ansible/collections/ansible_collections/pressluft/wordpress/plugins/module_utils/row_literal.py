"""How a row becomes SQL again, to the byte: literals that the server itself builds, in ASCII.

So no character set is ever converted on the way, and Python only joins what it is handed. Values that are too
large for that travel alone, in pieces, through a user variable.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass

from ansible_collections.pressluft.wordpress.plugins.module_utils.database import quote_name, run_query
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError

TEXTS = frozenset({"char", "varchar", "tinytext", "text", "mediumtext", "longtext"})
_BYTES = frozenset({"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"})
_LINES = frozenset({"geometry", "point", "linestring", "polygon", "multipoint", "multilinestring"})
_SHAPES = _LINES | {"multipolygon", "geometrycollection"}
_HEX = TEXTS | _BYTES | _SHAPES
_INTEGERS = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint", "year"})
_QUOTED = frozenset({"decimal", "date", "time", "datetime", "timestamp", "inet4", "inet6", "uuid"})
_FLOATS = frozenset({"float", "double"})
_NUMBERED = frozenset({"enum", "set", "bit"})
_KNOWN = _HEX | _INTEGERS | _QUOTED | _FLOATS | _NUMBERED
_SHORT = frozenset({"binary", "char", "tinytext", "tinyblob"})

LARGE_VALUE = 65536
"""Bytes above which a value travels alone: as hexadecimal it may not fit into one packet."""
_PIECE = 1 << 19

# What a session must be for rows to come and go unchanged: UTC for TIMESTAMP, old rows not checked again, 0 kept
# in AUTO_INCREMENT columns, dates as they are. A slow writer must not end the reader's stream: by default the
# server gives up after 60 s.
READER_SESSION = {
    "time_zone": "+00:00",
    "sql_mode": "",
    "sql_quote_show_create": 1,
    "net_write_timeout": 7200,
}
WRITER_SESSION = {
    "time_zone": "+00:00",
    "sql_mode": "NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES",
    "unique_checks": 0,
    "foreign_key_checks": 0,
    "check_constraint_checks": 0,
    "lc_messages": "en_US",
}


@dataclass(frozen=True)
class Column:
    """A column that is stored: its type's first word in lower case, character set, and SHOW COLUMNS' Extra."""

    name: str
    kind: str
    charset: str
    extra: str

    @property
    def may_be_large(self):
        """Whether a value may be larger than `LARGE_VALUE`, or than a small packet allows."""
        return self.kind in _HEX and self.kind not in _SHORT


def fetch_columns(conn, database, table):
    """The columns that hold data of their own, in order: generated ones are computed again, wherever they go.

    Raises `NodeError` (`SCHEMA_UNSUPPORTED`) for a type that nobody has thought through.
    """
    rows = run_query(conn, "SHOW FULL COLUMNS FROM {0}.{1}".format(quote_name(database), quote_name(table)))
    columns = []
    for name, kind, collation, _null, _key, _default, extra, *_rest in rows:
        word = re.split(r"[ (]", kind.lower())[0]
        if re.search(r"(VIRTUAL|STORED) GENERATED|PERSISTENT", extra.upper()):
            continue
        if word not in _KNOWN:
            raise make_unsupported(
                table, "has column {0} of type {1}, which is not known here".format(name, word)
            )
        columns.append(Column(name, word, (collation or "").partition("_")[0], extra.upper()))
    return columns


def make_literal(column):
    """SQL that gives the value's literal as text; NULL for NULL."""
    name = quote_name(column.name)
    if column.kind in _HEX:
        return "CONCAT('x''', HEX({0}), '''')".format(name)
    if column.kind in _NUMBERED:
        return "CAST({0} AS UNSIGNED)".format(name)
    if column.kind in _FLOATS:
        # As DOUBLE every value prints with all digits that it takes to read the same bits again.
        exact = "CONCAT('''', {0} * 1e0, '''')".format(name)
        return "IF({0} = 0 AND ATAN2(0, {0}) > 1, '''-0''', {1})".format(name, exact)
    return "CONCAT('''', {0}, '''')".format(name)


def make_key_literal(column):
    """SQL that gives a literal which compares as the column's index does, as text; NULL for NULL."""
    if column.kind in TEXTS:
        return "CONCAT('_{0} ', {1})".format(column.charset, make_literal(column))
    return make_literal(column)


def make_variable(number):
    """The user variable that carries a large value."""
    return "@pressluft_{0}".format(number)


def make_variable_statements(number, value):
    """Statements that put `value` into a user variable, piece by piece. It is NULL if it outgrew the packet."""
    name = make_variable(number)
    yield "SET {0} = x''".format(name).encode()
    for start in range(0, len(value), _PIECE):
        piece = value[start : start + _PIECE].hex()
        yield "SET {0} = CONCAT({0}, x'{1}')".format(name, piece).encode()


def fetch_packet_size(conn):
    """The server's `max_allowed_packet`, in bytes."""
    return int(run_query(conn, "SELECT @@max_allowed_packet")[0][0])


@contextlib.contextmanager
def session(conn, wanted):
    """Set session variables, and set them back afterwards; those that MySQL does not know are left out."""
    known = {}
    for name in wanted:
        rows = run_query(conn, "SHOW SESSION VARIABLES WHERE Variable_name = %s", (name,))
        if rows:
            known[name] = rows[0][1]
    for name in known:
        run_query(conn, "SET SESSION {0} = %s".format(name), (wanted[name],))
    try:
        yield
    finally:
        # A connection that broke cannot be set back; what broke it is the error to see.
        if conn.open:
            for name, value in known.items():
                restored = int(value) if value.isdigit() else value
                run_query(conn, "SET SESSION {0} = %s".format(name), (restored,))


def make_unsupported(table, reason):
    """The refusal of a table, by its name."""
    return NodeError(
        "SCHEMA_UNSUPPORTED",
        "table {0} {1}".format(table, reason),
        "Change the table so that it can be copied exactly, or protect it on both environments.",
    )
