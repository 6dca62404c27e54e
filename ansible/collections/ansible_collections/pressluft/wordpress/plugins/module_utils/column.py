"""How a table's columns are read, so that no two values look the same, and how keys are written down and compared.

A value is read as the server stores it (`row_stream`). Where the text that the server would send says less than
what is stored (a FLOAT has six digits, an ENUM's error value looks like an empty member), it is read as a number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, List, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.pressluft.wordpress.plugins.module_utils.database import (
    DatabaseError,
    quote_name,
    run_query,
)

if TYPE_CHECKING:
    from pymysql.connections import Connection

INTEGERS = frozenset(["tinyint", "smallint", "mediumint", "int", "bigint"])
TEXTS = frozenset(["char", "varchar", "tinytext", "text", "mediumtext", "longtext"])
_BYTES = frozenset(["binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"])
_MOMENTS = frozenset(["date", "time", "datetime", "timestamp"])
_NAMED = frozenset(["decimal", "year", "uuid", "inet4", "inet6", "json"])
_NUMBERED = frozenset(["bit", "enum", "set"])
_LINES = frozenset(["geometry", "point", "linestring", "polygon", "multilinestring", "multipolygon"])
_SHAPES = _LINES | frozenset(["multipoint", "geometrycollection", "geomcollection"])
_AS_STORED = INTEGERS | TEXTS | _BYTES | _MOMENTS | _NAMED | _SHAPES
_IN_KEYS = INTEGERS | _MOMENTS | frozenset(["char", "varchar", "binary", "varbinary"])


class Column(NamedTuple):
    """A stored column; charset and collation are empty where its type has none."""

    name: str
    type: str
    charset: str
    collation: str


def read_columns(connection: Connection[Any], database: str, table: str) -> List[Column]:
    """Return the columns that hold data, in their order; invisible ones too, VIRTUAL ones not.

    A virtual column is computed from the others by its expression, which the schema digest covers.
    Raises DatabaseError when the table has none: it is gone, or may not be read.
    """
    rows = run_query(
        connection,
        "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, DATA_TYPE, CHARACTER_SET_NAME, COLLATION_NAME,"
        " EXTRA FROM information_schema.COLUMNS"
        " WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s ORDER BY ORDINAL_POSITION",
        (database, table),
    )
    columns = [
        Column(name, kind.lower(), charset or "", collation or "")
        for schema, of, name, kind, charset, collation, extra in rows
        if (schema, of) == (database, table) and "VIRTUAL" not in extra.upper()
    ]
    if not columns:
        raise DatabaseError("table %s.%s has no columns to read" % (database, table))
    return columns


def read_key(
    connection: Connection[Any], database: str, table: str, *, columns: Optional[Sequence[Column]] = None
) -> List[Column]:
    """Return the columns of the primary key by which rows can be read in ranges; none where that is unsafe.

    Safe are whole columns of types whose literals compare as the index does: whole numbers, moments, strings.
    `columns` are the table's, if they were read already.
    """
    rows = run_query(
        connection,
        "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, SUB_PART FROM information_schema.STATISTICS"
        " WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s AND INDEX_NAME = 'PRIMARY' ORDER BY SEQ_IN_INDEX",
        (database, table),
    )
    parts = [(name, part) for schema, of, name, part in rows if (schema, of) == (database, table)]
    if not parts:
        return []
    known = {column.name: column for column in columns or read_columns(connection, database, table)}
    if any(part is not None or name not in known or known[name].type not in _IN_KEYS for name, part in parts):
        return []
    return [known[name] for name, _part in parts]


def make_field(column: Column) -> str:
    """Return what to select so that no two values look the same. DatabaseError: a type nobody has thought through."""
    name = quote_name(column.name)
    if column.type in _AS_STORED:
        return name
    if column.type in ("float", "double"):
        # As text a FLOAT has six digits; the DOUBLE of the same value has as many as it takes to tell it apart,
        # but only as wide as its declaration wherever the server puts it into a temporary table: CHAR(64).
        return "CAST(CAST(%s AS DOUBLE) AS CHAR(64))" % name
    if column.type in _NUMBERED:
        return "CAST(%s AS UNSIGNED)" % name
    raise DatabaseError("column %s has the type %s, which cannot be digested" % (column.name, column.type))


def make_text_expression(column: Column) -> str:
    """Return the SQL of a key column's value as text: strings in hexadecimal, since they may hold any byte."""
    name = quote_name(column.name)
    if column.type in TEXTS | _BYTES:
        return "HEX(%s)" % name
    return "CAST(%s AS CHAR)" % name


def decode_key(key: Sequence[Column], values: Sequence[Optional[bytes]]) -> Tuple[str, ...]:
    """Return a key's values, as they are stored, in the form of `make_text_expression`."""
    return tuple(
        value.hex().upper() if column.type in TEXTS | _BYTES else value.decode("ascii")
        for column, value in zip(key, values)
        if value is not None  # none is: a primary key holds no NULL
    )


def make_literal(column: Column, text: str) -> str:
    """Return the SQL literal of a key's value that `make_text_expression` gave; it compares as the index does."""
    if column.type in INTEGERS:
        return str(int(text))
    if column.type in TEXTS:
        return "_%s x'%s' COLLATE %s" % (column.charset, bytes.fromhex(text).hex(), column.collation)
    if column.type in _BYTES:
        return "x'%s'" % bytes.fromhex(text).hex()
    if not set(text) <= set("0123456789-:. "):
        raise DatabaseError("%r is no value of column %s" % (text, column.name))
    return "'%s'" % text


def describe_key(key: Sequence[Column], values: Sequence[str]) -> str:
    """Return a key as a person reads it: `17`, `17,akismet`."""
    pairs = zip(key, values)
    return ",".join(_describe_value(column, text) for column, text in pairs)


def make_after(key: Sequence[Column], values: Sequence[str]) -> str:
    """Return the condition *key comes after values*, in a form that reads only that range of the index."""
    return _make_range(key, values, ">", ">")


def make_up_to(key: Sequence[Column], values: Sequence[str]) -> str:
    """Return the condition *key comes before values or equals them*."""
    return _make_range(key, values, "<", "<=")


def make_key_list(key: Sequence[Column], *, suffix: str = "") -> str:
    """Return the key's columns for ORDER BY, each with `suffix` (` DESC`)."""
    return ", ".join(quote_name(column.name) + suffix for column in key)


def _describe_value(column: Column, text: str) -> str:
    if column.type not in TEXTS | _BYTES:
        return text
    encoding = {"utf16": "utf-16-be", "ucs2": "utf-16-be", "utf32": "utf-32-be"}.get(column.charset, "utf-8")
    return bytes.fromhex(text).decode(encoding, "backslashreplace")


def _make_range(key: Sequence[Column], values: Sequence[str], inner: str, last: str) -> str:
    pairs: List[Tuple[str, str]] = [
        (quote_name(column.name), make_literal(column, text)) for column, text in zip(key, values)
    ]
    steps = []
    for index, (name, literal) in enumerate(pairs):
        sign = last if index == len(pairs) - 1 else inner
        equal = ["%s = %s" % pair for pair in pairs[:index]]
        steps.append("(%s)" % " AND ".join([*equal, "%s %s %s" % (name, sign, literal)]))
    # `(a, b) > (1, 2)` would read the whole index; the first column's own bound makes it a range.
    return "(%s %s= %s AND (%s))" % (pairs[0][0], inner, pairs[0][1], " OR ".join(steps))
