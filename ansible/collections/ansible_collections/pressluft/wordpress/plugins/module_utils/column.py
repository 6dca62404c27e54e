"""How one column's value becomes bytes that no other value becomes: the encoding under every row digest.

The encoding of a row is the concatenation of its columns' encodings, and it is injective: NULL is `N`, a
scalar is its text and a comma, a string is its length in bytes, a colon and its raw bytes. Whatever stands
between two values can therefore never be taken for a part of one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, List, NamedTuple, Sequence, Tuple

from ansible_collections.pressluft.wordpress.plugins.module_utils.database import (
    DatabaseError,
    quote_name,
    run_query,
)

if TYPE_CHECKING:
    from pymysql.connections import Connection

LARGE_VALUE = 65536
"""Bytes above which a value counts as its own SHA-256, so that a row never outgrows `max_allowed_packet`."""

INTEGERS = frozenset(["tinyint", "smallint", "mediumint", "int", "bigint"])
TEXTS = frozenset(["char", "varchar", "tinytext", "text", "mediumtext", "longtext"])
_BYTES = frozenset(["binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"])
_MOMENTS = frozenset(["date", "time", "datetime", "timestamp"])
_PLAIN = INTEGERS | _MOMENTS | {"decimal", "year"}
_NAMED = frozenset(["uuid", "inet4", "inet6"])
_NUMBERED = frozenset(["bit", "enum", "set"])
_LINES = frozenset(["geometry", "point", "linestring", "polygon", "multilinestring", "multipolygon"])
_SHAPES = _LINES | frozenset(["multipoint", "geometrycollection", "geomcollection"])
_IN_KEYS = INTEGERS | _MOMENTS | frozenset(["char", "varchar", "binary", "varbinary"])


class Column(NamedTuple):
    """A stored column: `octets` is the longest value in bytes, 0 where the type has no such limit."""

    name: str
    type: str
    charset: str
    collation: str
    octets: int
    nullable: bool = True


def read_columns(connection: Connection[Any], database: str, table: str) -> List[Column]:
    """Return the columns that hold data, in their order; invisible ones too, VIRTUAL ones not.

    A virtual column is computed from the others by its expression, which the schema digest covers.
    Raises DatabaseError when the table has none: it is gone, or may not be read.
    """
    rows = run_query(
        connection,
        "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, DATA_TYPE, CHARACTER_SET_NAME, COLLATION_NAME,"
        " CHARACTER_OCTET_LENGTH, IS_NULLABLE, EXTRA FROM information_schema.COLUMNS"
        " WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s ORDER BY ORDINAL_POSITION",
        (database, table),
    )
    columns = [
        Column(name, kind.lower(), charset or "", collation or "", int(octets or 0), nullable != "NO")
        for schema, of, name, kind, charset, collation, octets, nullable, extra in rows
        if (schema, of) == (database, table) and "VIRTUAL" not in extra.upper()
    ]
    if not columns:
        raise DatabaseError("table %s.%s has no columns to read" % (database, table))
    return columns


def read_key(connection: Connection[Any], database: str, table: str) -> List[Column]:
    """Return the columns of the primary key by which rows can be read in ranges; none where that is unsafe.

    Safe are whole columns of types whose literals compare as the index does: whole numbers, moments, strings.
    """
    rows = run_query(
        connection,
        "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, SUB_PART FROM information_schema.STATISTICS"
        " WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s AND INDEX_NAME = 'PRIMARY' ORDER BY SEQ_IN_INDEX",
        (database, table),
    )
    parts = [(name, part) for schema, of, name, part in rows if (schema, of) == (database, table)]
    known = {column.name: column for column in read_columns(connection, database, table)}
    if any(part is not None or name not in known or known[name].type not in _IN_KEYS for name, part in parts):
        return []
    return [known[name] for name, _part in parts]


def make_row_expression(columns: Sequence[Column]) -> str:
    """Return the SQL of a row's encoding: a binary string, NULL only where the server failed to make it."""
    return "CONCAT(%s)" % ", ".join(make_value_expression(column) for column in columns)


def make_row_hash(columns: Sequence[Column]) -> str:
    """Return the SQL of a row's SHA-256, 64 hexadecimal digits."""
    return "SHA2(%s, 256)" % make_row_expression(columns)


def make_value_expression(column: Column) -> str:
    """Return the SQL of one value's encoding. Raises DatabaseError for a type nobody has thought through."""
    name = quote_name(column.name)
    if not column.nullable:
        return _make_encoding(column, name)
    # IF and not IFNULL: what the server could not make (an overflow is NULL) must not look like a NULL value.
    return "IF(%s IS NULL, 'N', %s)" % (name, _make_encoding(column, name))


def make_text_expression(column: Column) -> str:
    """Return the SQL of a key column's value as text: strings in hexadecimal, since they may hold any byte."""
    name = quote_name(column.name)
    if column.type in TEXTS | _BYTES:
        return "HEX(%s)" % name
    return "CAST(%s AS CHAR)" % name


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


def _make_encoding(column: Column, name: str) -> str:
    if column.type in _PLAIN:
        return "CONCAT(%s, ',')" % name
    if column.type in _NAMED:
        return "CONCAT(CAST(%s AS CHAR), ',')" % name
    if column.type in ("float", "double"):
        # As text a FLOAT has six digits; the DOUBLE of the same value has as many as it takes to tell it apart,
        # but only as wide as its declaration wherever the server puts it into a temporary table: CHAR(64).
        return "CONCAT(CAST(CAST(%s AS DOUBLE) AS CHAR(64)), ',')" % name
    if column.type in _NUMBERED:
        return "CONCAT(CAST(%s AS UNSIGNED), ',')" % name
    if column.type in _SHAPES:
        return "CONCAT(ST_SRID({0}), ',', LENGTH(ST_AsBinary({0})), ':', ST_AsBinary({0}))".format(name)
    if column.type == "json":  # MySQL's own type; MariaDB's JSON is longtext
        text = "CAST(%s AS CHAR)" % name
        return _make_string_encoding("CAST(%s AS BINARY)" % text, "LENGTH(%s)" % text, octets=0)
    if column.type in TEXTS | _BYTES:
        # As bytes, so that a collation that ignores case, accents or trailing spaces hides nothing.
        return _make_string_encoding("CAST(%s AS BINARY)" % name, "LENGTH(%s)" % name, octets=column.octets)
    raise DatabaseError("column %s has the type %s, which cannot be digested" % (column.name, column.type))


def _make_string_encoding(value: str, length: str, *, octets: int) -> str:
    whole = "CONCAT(%s, ':', %s)" % (length, value)
    if 0 < octets <= LARGE_VALUE:
        return whole
    return "IF(%s > %d, CONCAT('H', SHA2(%s, 256)), %s)" % (length, LARGE_VALUE, value, whole)


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
