"""Copy a table's rows, to the byte, from one connection's snapshot into a new table.

The reader's server builds each row as an SQL literal in ASCII (hexadecimal strings, exact numbers), so that no
character set is ever converted on the way and Python only joins what it is handed. `INSERT ... SELECT` is no
way to do this: it reads the latest rows and locks them, not those of the snapshot.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass

from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from pymysql.cursors import Cursor, SSCursor

HEX_TYPES = frozenset(
    {
        "char",
        "varchar",
        "tinytext",
        "text",
        "mediumtext",
        "longtext",
        "json",
        "binary",
        "varbinary",
        "tinyblob",
        "blob",
        "mediumblob",
        "longblob",
        "geometry",
        "point",
        "linestring",
        "polygon",
        "multipoint",
        "multilinestring",
        "multipolygon",
        "geometrycollection",
    }
)
INTEGER_TYPES = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint", "year"})
QUOTED_TYPES = frozenset({"decimal", "date", "time", "datetime", "timestamp", "inet4", "inet6", "uuid"})
FLOAT_TYPES = frozenset({"float", "double"})
NUMBERED_TYPES = frozenset({"enum", "set", "bit"})

# Values above this travel alone, in pieces: as hexadecimal they may not fit into one packet.
LARGE_VALUE = 65536
PIECE = 1 << 20
BATCH = 1 << 20

_ENUM_ERROR_VALUE = 1265  # "Data truncated": storing index 0, the error value, into an ENUM
_CREATE = re.compile(r"\ACREATE TABLE `(?:[^`]|``)+`")
_REFERENCE = re.compile(
    r"(CONSTRAINT `(?:[^`]|``)+` FOREIGN KEY \([^)]*\) REFERENCES )(`(?:[^`]|``)+`(?:\.`)?)"
)

# What a session must be for rows to come and go unchanged: UTC for TIMESTAMP, no checks of old rows, no
# replacing of 0 in AUTO_INCREMENT columns, dates as they are. A slow writer must not end the reader's stream
# (the server gives up after 60 s by default).
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
class CopiedTable:
    """`rows` inserted; `bytes` of SQL literals sent, about twice the size of the data."""

    rows: int
    bytes: int


@dataclass(frozen=True)
class Column:
    """A column that is inserted: its name and its type's first word, in lower case."""

    name: str
    kind: str


def copy_table(reader, writer, source_db, source_table, target_db, target_table, *, renamed=None):  # noqa: PLR0917  two of each
    """Create `target_db.target_table` and fill it with what the reader's current snapshot sees.

    `reader` and `writer` are two PyMySQL connections. `renamed` maps names of tables that foreign keys refer
    to, where the copies have other names (another prefix). Returns a `CopiedTable`. The target
    must not exist. Raises `NodeError` (`SCHEMA_UNSUPPORTED`) for what cannot be copied exactly, by name.
    """
    names = dict(renamed or {})
    with _session(reader, READER_SESSION), _session(writer, WRITER_SESSION):
        columns = _find_columns(reader, source_db, source_table)
        _refuse_triggers(reader, source_db, source_table)
        definition = _fetch_definition(reader, source_db, source_table)
        statement = adapt_definition(definition, source_table, target_table, names)
        _execute(writer, "USE {0}".format(_quote(target_db)))
        _execute(writer, statement)
        return _copy_rows(
            reader, writer, (source_db, source_table), (target_db, target_table), columns=columns
        )


def adapt_definition(definition, source_table, target_table, renamed):
    """Turn what SHOW CREATE TABLE printed into the statement for `target_table` in the current database.

    Names of constraints stay: they are unique per database, and the target is another database.
    """
    if not _CREATE.match(definition):
        raise _unsupported(source_table, "is no plain table (a view or a sequence)")
    engine = re.search(r"^\) ENGINE=(\w+)", definition, re.MULTILINE)
    if engine is None or engine.group(1) != "InnoDB":
        raise _unsupported(source_table, "is not stored in InnoDB, so it has no consistent snapshot")
    if re.search(r"^\) .*WITH SYSTEM VERSIONING", definition, re.MULTILINE):
        raise _unsupported(
            source_table, "keeps old row versions (SYSTEM VERSIONING), which a copy would lose"
        )

    def rename_reference(match):
        if match.group(2).endswith(".`"):
            raise _unsupported(source_table, "has a foreign key into another database")
        name = match.group(2)[1:-1].replace("``", "`")
        return match.group(1) + _quote(target_table if name == source_table else renamed.get(name, name))

    statement = _CREATE.sub(lambda _: "CREATE TABLE " + _quote(target_table), definition, count=1)
    return _REFERENCE.sub(rename_reference, statement)


def _find_columns(reader, database, table):
    rows = _fetch_all(reader, "SHOW FULL COLUMNS FROM {0}.{1}".format(_quote(database), _quote(table)))
    columns = []
    for row in rows:
        name, kind, extra = _text(row[0]), re.split(r"[ (]", _text(row[1]).lower())[0], _text(row[6]).upper()
        if "VIRTUAL GENERATED" in extra or "STORED GENERATED" in extra or "PERSISTENT" in extra:
            continue
        if kind not in HEX_TYPES | INTEGER_TYPES | QUOTED_TYPES | FLOAT_TYPES | NUMBERED_TYPES:
            raise _unsupported(
                table, "has column {0} of type {1}, which is not known here".format(name, kind)
            )
        columns.append(Column(name, kind))
    return columns


def _refuse_triggers(reader, database, table):
    query = (
        "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS "
        "WHERE EVENT_OBJECT_SCHEMA = %s AND EVENT_OBJECT_TABLE = %s"
    )
    rows = _fetch_all(reader, query, (database, table))
    if rows:
        raise _unsupported(table, "has the trigger {0}".format(_text(rows[0][0])))


def _fetch_definition(reader, database, table):
    rows = _fetch_all(reader, "SHOW CREATE TABLE {0}.{1}".format(_quote(database), _quote(table)))
    return _text(rows[0][1])


def _copy_rows(reader, writer, source, target, *, columns):
    room = min(_packet_size(reader), _packet_size(writer))
    # Two hexadecimal digits a byte; a row of values that are not large fills at most half a packet.
    large = min(LARGE_VALUE, room // (4 * len(columns)))
    insert = _Insert(writer, target, columns, min(BATCH, room // 4))
    expected = 0
    with contextlib.closing(reader.cursor(SSCursor)) as cursor:
        cursor.execute(_make_select(source, columns, large))
        for row in cursor:
            expected += 1
            if row[0] is None:
                raise _unsupported(source[1], "has a row that does not fit into max_allowed_packet")
            insert.add(row[0], row[1:])
    insert.flush()
    if insert.rows != expected:
        raise _unsupported(source[1], "{0} rows read, {1} written".format(expected, insert.rows))
    return CopiedTable(insert.rows, insert.bytes)


def _make_select(source, columns, large):
    """One column with the row as literal, then one for each column that may be large: its value, if it is."""
    literals, values = [], []
    for column in columns:
        literal, name = _make_literal(column), _quote(column.name)
        if _may_be_large(column):
            variable = "'@pressluft_{0}'".format(len(values))
            is_large = "LENGTH({0}) > {1}".format(name, large)
            values.append("IF({0}, CAST({1} AS BINARY), NULL)".format(is_large, name))
            literal = "IF({0}, {1}, {2})".format(is_large, variable, literal)
        literals.append("IFNULL({0}, 'NULL')".format(literal))
    row = "CAST(CONCAT('(', {0}, ')') AS BINARY)".format(", ',', ".join(literals))
    fields = ", ".join([row, *values])
    return "SELECT {0} FROM {1}.{2}".format(fields, _quote(source[0]), _quote(source[1]))


def _may_be_large(column):
    return column.kind in HEX_TYPES and column.kind not in {"binary", "char", "tinytext", "tinyblob"}


def _make_literal(column):
    name = _quote(column.name)
    if column.kind in HEX_TYPES:
        return "CONCAT('x''', HEX({0}), '''')".format(name)
    if column.kind in NUMBERED_TYPES:
        return "CAST({0} AS UNSIGNED)".format(name)
    if column.kind in FLOAT_TYPES:
        # As DOUBLE every value prints with all digits that it takes to read the same bits again.
        exact = "CONCAT('''', {0} * 1e0, '''')".format(name)
        return "IF({0} = 0 AND ATAN2(0, {0}) > 1, '''-0''', {1})".format(name, exact)
    if column.kind in QUOTED_TYPES:
        return "CONCAT('''', {0}, '''')".format(name)
    return "CONCAT({0})".format(name)


class _Insert:
    """Gathers row literals and sends them as big INSERT statements, each its own transaction."""

    def __init__(self, writer, target, columns, limit):
        names = ", ".join(_quote(column.name) for column in columns)
        self._head = "INSERT INTO {0}.{1} ({2}) VALUES ".format(_quote(target[0]), _quote(target[1]), names)
        self._writer, self._table, self._limit = writer, target[1], limit
        self._enums = ["'{0}'".format(column.name) for column in columns if column.kind == "enum"]
        self._pending, self._size = [], 0
        self.rows = 0
        self.bytes = 0

    def add(self, literal, large_values):
        if any(value is not None for value in large_values):
            self.flush()
            self._set_variables(large_values)
            self._pending.append(literal)
            self.flush()
            self._forget_variables(large_values)
            return
        self._pending.append(literal)
        self._size += len(literal)
        if self._size >= self._limit:
            self.flush()

    def flush(self):
        if not self._pending:
            return
        statement = self._head.encode("utf-8") + b",".join(self._pending)
        self._pending, self._size = [], 0
        with contextlib.closing(self._writer.cursor(Cursor)) as cursor:
            self.rows += cursor.execute(statement)
            warned = cursor.warning_count
        try:
            self._refuse_warnings(warned)
        except NodeError:
            self._writer.rollback()
            raise
        self._writer.commit()
        self.bytes += len(statement)

    def _set_variables(self, values):
        for number, value in enumerate(values):
            if value is None:
                continue
            name = "@pressluft_{0}".format(number)
            _execute(self._writer, "SET {0} = x''".format(name))
            for start in range(0, len(value), PIECE // 2):
                piece = value[start : start + PIECE // 2].hex()
                _execute(self._writer, "SET {0} = CONCAT({0}, x'{1}')".format(name, piece))
            self.bytes += 2 * len(value)
            if _fetch_all(self._writer, "SELECT LENGTH({0})".format(name))[0][0] != len(value):
                raise _unsupported(self._table, "has a value that does not fit into max_allowed_packet")

    def _forget_variables(self, values):
        for number, value in enumerate(values):
            if value is not None:
                _execute(self._writer, "SET @pressluft_{0} = NULL".format(number))

    def _refuse_warnings(self, count):
        """In the mode that takes every row as it is, a warning says that one was not."""
        if not count:
            return
        for _level, code, message in _fetch_all(self._writer, "SHOW WARNINGS LIMIT 100"):
            text = _text(message)
            if code != _ENUM_ERROR_VALUE or not any(name in text for name in self._enums):
                raise _unsupported(self._table, "has a value that is not stored as it is: {0}".format(text))


def _packet_size(connection):
    return int(_fetch_all(connection, "SELECT @@max_allowed_packet")[0][0])


@contextlib.contextmanager
def _session(connection, wanted):
    """Set session variables, and set them back afterwards; those that MySQL does not know are left out."""
    known = {}
    for name in wanted:
        rows = _fetch_all(connection, "SHOW SESSION VARIABLES WHERE Variable_name = %s", (name,))
        if rows:
            known[name] = _text(rows[0][1])
    for name in known:
        _execute(connection, "SET SESSION {0} = %s".format(name), (wanted[name],))
    try:
        yield
    finally:
        # A connection that broke cannot be set back; what broke it is the error to see.
        if connection.open:
            for name, value in known.items():
                restored = int(value) if value.isdigit() else value
                _execute(connection, "SET SESSION {0} = %s".format(name), (restored,))


def _execute(connection, statement, arguments=None):
    with contextlib.closing(connection.cursor(Cursor)) as cursor:
        return cursor.execute(statement, arguments)


def _fetch_all(connection, query, arguments=None):
    with contextlib.closing(connection.cursor(Cursor)) as cursor:
        cursor.execute(query, arguments)
        return cursor.fetchall()


def _text(value):
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value


def _quote(name):
    return "`{0}`".format(name.replace("`", "``"))


def _unsupported(table, reason):
    return NodeError(
        "SCHEMA_UNSUPPORTED",
        "table {0} {1}".format(table, reason),
        "Change the table so that it can be copied exactly, or protect it on both environments.",
    )
