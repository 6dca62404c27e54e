"""Copy a table's rows, to the byte, from one connection's snapshot into a new table.

`INSERT ... SELECT` is no way to do this: it reads the latest rows and locks them, not those of the snapshot.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass

from ansible_collections.pressluft.wordpress.plugins.module_utils.database import (
    DatabaseError,
    quote_name,
    run_query,
    stream_query,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.progress import SILENT
from ansible_collections.pressluft.wordpress.plugins.module_utils.row_literal import (
    LARGE_VALUE,
    READER_SESSION,
    WRITER_SESSION,
    fetch_columns,
    fetch_packet_size,
    make_literal,
    make_unsupported,
    make_variable,
    make_variable_statements,
    session,
)

BATCH = 1 << 20
_ENUM_ERROR_VALUE = 1265  # "Data truncated": storing index 0, the error value, into an ENUM
_UNKNOWN_HERE = ("1064: ", "1115: ", "1273: ", "1283: ", "1286: ", "1911: ", "4161: ", "3780: ")
"""Syntax, character set, collation, column for an index, engine, option, type, columns of a foreign key."""
_CREATE = re.compile(r"\ACREATE TABLE `(?:[^`]|``)+`")
_REFERENCE = re.compile(
    r"(CONSTRAINT `(?:[^`]|``)+` FOREIGN KEY \([^)]*\) REFERENCES )(`(?:[^`]|``)+`(?:\.`)?)"
)


@dataclass(frozen=True)
class CopiedTable:
    """`rows` inserted; `bytes` of SQL literals sent, about twice the size of the data."""

    rows: int
    bytes: int


def copy_table(  # noqa: PLR0917  two of each
    reader, writer, source_db, source_table, target_db, target_table, *, renamed=None, progress=SILENT
):
    """Create `target_db.target_table` and fill it with what the reader's current snapshot sees.

    `reader` and `writer` are two PyMySQL connections. `renamed` maps names of tables that foreign keys refer
    to, where the copies have other names (another prefix). `progress` counts rows, bytes and the table. Returns a
    `CopiedTable`. The target must not exist.
    Raises `NodeError` (`SCHEMA_UNSUPPORTED`) for what cannot be copied exactly, by name.
    """
    with session(reader, READER_SESSION), session(writer, WRITER_SESSION):
        columns = fetch_columns(reader, source_db, source_table)
        create_copy(
            reader, writer, (source_db, source_table), (target_db, target_table), renamed=renamed or {}
        )
        places = (source_db, source_table), (target_db, target_table)
        copied = copy_rows(reader, writer, *places, columns=columns, progress=progress)
    progress.add(tables=1)
    return copied


def create_copy(reader, writer, source, target, *, renamed):
    """Create the target table, empty, with the source's definition; source and target are (database, table)."""
    _refuse_triggers(reader, *source)
    place = "{0}.{1}".format(quote_name(source[0]), quote_name(source[1]))
    definition = run_query(reader, "SHOW CREATE TABLE {0}".format(place))[0][1]
    statement = adapt_definition(definition, source[1], target[1], renamed=renamed)
    run_query(writer, "USE {0}".format(quote_name(target[0])))
    define_table(writer, target[1], statement)


def define_table(writer, table, statement):
    """Run the definition of a table of another server; what this one does not know is refused by the table's name."""
    try:
        run_query(writer, statement)
    except DatabaseError as error:
        if error.message.startswith(_UNKNOWN_HERE):
            raise make_unsupported(
                table, "is defined as this database server cannot: {0}".format(error.message)
            ) from error
        raise


def adapt_definition(definition, source_table, target_table, *, renamed):
    """Turn what SHOW CREATE TABLE printed into the statement for `target_table` in the current database.

    Names of constraints stay: they are unique per database, and the target is another database.
    """
    if not _CREATE.match(definition):
        raise make_unsupported(source_table, "is no plain table (a view or a sequence)")
    engine = re.search(r"^\) ENGINE=(\w+)", definition, re.MULTILINE)
    if engine is None or engine.group(1) != "InnoDB":
        raise make_unsupported(source_table, "is not stored in InnoDB, so it has no consistent snapshot")
    if re.search(r"^\) .*WITH SYSTEM VERSIONING", definition, re.MULTILINE):
        raise make_unsupported(
            source_table, "keeps old row versions (SYSTEM VERSIONING), which a copy would lose"
        )

    def rename_reference(match):
        if match.group(2).endswith(".`"):
            raise make_unsupported(source_table, "has a foreign key into another database")
        name = match.group(2)[1:-1].replace("``", "`")
        return match.group(1) + quote_name(target_table if name == source_table else renamed.get(name, name))

    statement = _CREATE.sub(lambda _: "CREATE TABLE " + quote_name(target_table), definition, count=1)
    return _REFERENCE.sub(rename_reference, statement)


def _refuse_triggers(reader, database, table):
    rows = run_query(
        reader,
        "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS"
        " WHERE EVENT_OBJECT_SCHEMA = %s AND EVENT_OBJECT_TABLE = %s",
        (database, table),
    )
    if rows:
        raise make_unsupported(table, "has the trigger {0}".format(rows[0][0]))


def copy_rows(reader, writer, source, target, *, columns, where="TRUE", progress=SILENT):
    """Copy the rows for which `where` holds into a table that exists; sessions are as in `copy_table`."""
    room = min(fetch_packet_size(reader), fetch_packet_size(writer))
    # Two hexadecimal digits a byte: a row of values that are not large fills at most half a packet.
    large = min(LARGE_VALUE, room // (4 * len(columns)))
    insert = Insert(writer, target, columns=columns, limit=min(BATCH, room // 4), progress=progress)
    select = "{0} WHERE {1}".format(make_row_select(source, columns, large), where)
    expected = 0
    with contextlib.closing(stream_query(reader, select)) as rows:
        for row in rows:
            expected += 1
            if row[0] is None:
                raise make_unsupported(source[1], "has a row that does not fit into max_allowed_packet")
            insert.add(row[0], row[1:])
    insert.flush()
    if insert.rows != expected:
        raise make_unsupported(
            source[1], "gave {0} rows, of which {1} were written".format(expected, insert.rows)
        )
    return CopiedTable(insert.rows, insert.bytes)


def make_row_select(source, columns, large):
    """A query: one field with the row as literal, then one for each column that may be large: its value, if it is."""
    literals, values = [], []
    for column in columns:
        literal, name = make_literal(column), quote_name(column.name)
        if column.may_be_large:
            is_large = "LENGTH({0}) > {1}".format(name, large)
            literal = "IF({0}, '{1}', {2})".format(is_large, make_variable(len(values)), literal)
            values.append("IF({0}, CAST({1} AS BINARY), NULL)".format(is_large, name))
        literals.append("IFNULL({0}, 'NULL')".format(literal))
    row = "CAST(CONCAT('(', {0}, ')') AS BINARY)".format(", ',', ".join(literals))
    place = "{0}.{1}".format(quote_name(source[0]), quote_name(source[1]))
    return "SELECT {0} FROM {1}".format(", ".join([row, *values]), place)


class Insert:
    """Gathers row literals and sends them as big INSERT statements, each its own transaction."""

    def __init__(self, writer, target, *, columns, limit, progress=SILENT):
        names = ", ".join(quote_name(column.name) for column in columns)
        place = "{0}.{1}".format(quote_name(target[0]), quote_name(target[1]))
        self._head = "INSERT INTO {0} ({1}) VALUES ".format(place, names).encode("utf-8")
        self._writer, self._table, self._limit, self._progress = writer, target[1], limit, progress
        self._enums = ["'{0}'".format(column.name) for column in columns if column.kind == "enum"]
        self._pending, self._size = [], 0
        self.rows = 0
        self.bytes = 0

    def add(self, literal, large_values):
        if any(value is not None for value in large_values):
            self._add_alone(literal, large_values)
            return
        self._pending.append(literal)
        self._size += len(literal)
        if self._size >= self._limit:
            self.flush()

    def flush(self):
        if not self._pending:
            return
        statement = self._head + b",".join(self._pending)
        self._pending, self._size = [], 0
        run_query(self._writer, "BEGIN")
        run_query(self._writer, statement)
        rows, warnings = run_query(self._writer, "SELECT ROW_COUNT(), @@warning_count")[0]
        if warnings:
            self._refuse_warnings()
        run_query(self._writer, "COMMIT")
        self.rows += rows
        self.bytes += len(statement)
        self._progress.add(rows=rows, bytes=len(statement))

    def _add_alone(self, literal, large_values):
        self.flush()
        for number, value in enumerate(large_values):
            if value is None:
                continue
            for statement in make_variable_statements(number, value):
                run_query(self._writer, statement)
                self.bytes += len(statement)
            length = run_query(self._writer, "SELECT LENGTH({0})".format(make_variable(number)))[0][0]
            if length != len(value):
                raise make_unsupported(self._table, "has a value that does not fit into max_allowed_packet")
        self._pending.append(literal)
        self.flush()
        for number, value in enumerate(large_values):
            if value is not None:
                run_query(self._writer, "SET {0} = NULL".format(make_variable(number)))

    def _refuse_warnings(self):
        """In the mode that takes every row as it is, a warning says that one was not."""
        for _level, code, message in run_query(self._writer, "SHOW WARNINGS LIMIT 100"):
            if code != _ENUM_ERROR_VALUE or not any(name in message for name in self._enums):
                run_query(self._writer, "ROLLBACK")
                raise make_unsupported(
                    self._table, "has a value that is not stored as it is: {0}".format(message)
                )
