"""Rewrite addresses and paths in the texts of one table; only rows that hold one are ever touched.

The server finds the rows, Python makes the new values, and statements wait in an unnamed file until the
reading is over: one pass, bounded memory, whatever the table's size.
"""

from __future__ import annotations

import contextlib
import json
import struct
import tempfile
from dataclasses import dataclass, field
from typing import Dict, List

from ansible_collections.pressluft.wordpress.plugins.module_utils.database import (
    DatabaseError,
    quote_name,
    run_query,
    stream_query,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.row_literal import (
    LARGE_VALUE,
    READER_SESSION,
    TEXTS,
    WRITER_SESSION,
    fetch_columns,
    fetch_packet_size,
    make_key_literal,
    make_literal,
    make_unsupported,
    make_variable,
    make_variable_statements,
    session,
)

try:
    from pymysql import MySQLError
except ImportError:  # told by `database.connect`

    class MySQLError(Exception):
        """Stands in where Ansible's documentation tools import this file."""


LEFT_ALONE_SHOWN = 50
_SPOOL_FOLDER = "/var/tmp"  # noqa: S108  the file has no name; /tmp may lie in memory
_PER_TRANSACTION = 500
_WIDE_CHARSETS = frozenset({"ucs2", "utf16", "utf16le", "utf32"})
_UPDATE = b"UPDATE "
# A value that would be cut or changed is an error here, unlike in a copy: then the old one stays.
_SESSION = dict(WRITER_SESSION, sql_mode="STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES")
_SESSION["net_write_timeout"] = READER_SESSION["net_write_timeout"]
_DOES_NOT_FIT = {1406: "the new text is too long for the column", 1062: "another row has the new text"}


@dataclass
class RewriteReport:
    """`left_alone` holds up to 50 of `{table, column, key, reason}`; keys are primary keys, never content."""

    rows_changed: int = 0
    values_changed: int = 0
    left_alone: List[Dict[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class _Plan:
    """What is read of a table and how one of its rows is found again."""

    database: str
    table: str
    texts: tuple
    wide: tuple
    key: tuple
    columns: tuple

    @property
    def place(self):
        return "{0}.{1}".format(quote_name(self.database), quote_name(self.table))


def rewrite_table(conn, database, table, rewriter, *, needles, skip_columns=("guid", "user_pass")):
    """Replace what `rewriter` replaces in all texts of a table and return a `RewriteReport`.

    `needles` are bytes of which a value that changes holds at least one (`rewriter.cores`). Columns of the
    primary key, generated ones and `skip_columns` stay as they are. A row is found again by its primary key;
    in a table without one by all of its values. Texts in UTF-16 or UTF-32 are left alone and reported, as are
    values that would not fit. Safe to repeat. Raises `NodeError`.
    """
    report = RewriteReport()
    with session(conn, _SESSION):
        plan = _make_plan(conn, database, table, skip_columns)
        if needles and (plan.texts or plan.wide):
            run_query(conn, "COMMIT")
            _report_wide(conn, plan, needles, report)
            _rewrite(conn, plan, rewriter, needles=needles, report=report)
    return report


def _make_plan(conn, database, table, skip_columns):
    columns = fetch_columns(conn, database, table)
    keys = run_query(
        conn,
        "SELECT COLUMN_NAME FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s"
        " AND INDEX_NAME = 'PRIMARY' ORDER BY SEQ_IN_INDEX",
        (database, table),
    )
    known = {column.name: column for column in columns}
    # A generated column can be a primary key; then there is no stored value to find the row by.
    key = tuple(known[name] for (name,) in keys) if all(name in known for (name,) in keys) else ()
    kept = {column.name for column in key} | set(skip_columns)
    texts = [column for column in columns if column.kind in TEXTS and column.name not in kept]
    return _Plan(
        database,
        table,
        texts=tuple(column for column in texts if column.charset not in _WIDE_CHARSETS),
        wide=tuple(column for column in texts if column.charset in _WIDE_CHARSETS),
        key=key,
        columns=tuple(columns),
    )


def _report_wide(conn, plan, needles, report):
    for column in plan.wide:
        text = "CONVERT({0} USING utf8mb4)".format(quote_name(column.name))
        query = "SELECT COUNT(*) FROM {0} WHERE {1}".format(plan.place, _make_condition([text], needles))
        count = run_query(conn, query)[0][0]
        if count:
            reason = "{0} rows in the character set {1}".format(count, column.charset)
            _leave_alone(report, plan, column=column.name, key="", reason=reason)


def _rewrite(conn, plan, rewriter, *, needles, report):
    if not plan.texts:
        return
    large = min(LARGE_VALUE, fetch_packet_size(conn) // 16)
    with tempfile.TemporaryFile(dir=_SPOOL_FOLDER) as file:
        spool = _Spool(file)
        with contextlib.closing(stream_query(conn, _make_select(plan, needles))) as rows:
            for number, (predicate, key, *values) in enumerate(rows):
                if predicate is None:
                    raise make_unsupported(plan.table, "has a row that does not fit into max_allowed_packet")
                changes = _find_changes(plan, key, values, rewriter=rewriter, report=report)
                # One statement a value, so that one that does not fit keeps no other back; without a key all
                # at once, since the row is found by its old values.
                for group in [[change] for change in changes] if plan.key else filter(None, [changes]):
                    names = [column.name for column, _value in group]
                    for statement in _make_statements(plan, predicate, group, large):
                        spool.write({"row": number, "key": key, "columns": names}, statement)
        _run_spooled(conn, plan, spool, report)


class _Spool:
    """Statements in a file, each with what it is about."""

    def __init__(self, file):
        self._file = file

    def write(self, about, statement):
        noted = json.dumps(about).encode("utf-8")
        self._file.write(struct.pack(">II", len(noted), len(statement)) + noted + statement)

    def read(self):
        self._file.seek(0)
        head = self._file.read(8)
        while head:
            noted, statement = struct.unpack(">II", head)
            yield json.loads(self._file.read(noted).decode("utf-8")), self._file.read(statement)
            head = self._file.read(8)


def _make_select(plan, needles):
    """The condition that finds the row again, its key for people, and the texts to be rewritten."""
    names = [quote_name(column.name) for column in plan.texts]
    fields = [_make_predicate(plan), _make_key_text(plan)]
    fields += ["CAST({0} AS BINARY)".format(name) for name in names]
    condition = _make_condition(["CAST({0} AS BINARY)".format(name) for name in names], needles)
    return "SELECT {0} FROM {1} WHERE {2}".format(", ".join(fields), plan.place, condition)


def _make_condition(texts, needles):
    finds = ["LOCATE(x'{0}', {1}) > 0".format(needle.hex(), text) for text in texts for needle in needles]
    return " OR ".join(finds)


def _make_predicate(plan):
    """SQL that gives the condition `one row, this one` as text."""
    parts = []
    for column in plan.key or plan.columns:
        name, literal = quote_name(column.name), make_key_literal(column)
        if not plan.key and column.may_be_large:
            # By its hash: a whole large value as hexadecimal would not fit into a statement.
            name = "SHA2(CAST({0} AS BINARY), 256)".format(name)
            literal = "CONCAT('''', {0}, '''')".format(name)
        elif not plan.key and literal.startswith("CONCAT('_"):
            name, literal = "CAST({0} AS BINARY)".format(name), make_literal(column)
        elif column.kind in {"float", "double"}:
            name = "({0} * 1e0)".format(name)
        start = _quote_text(name + " <=> ")
        parts.append("CONCAT({0}, IFNULL({1}, 'NULL'))".format(start, literal))
    return "CAST(CONCAT_WS(' AND ', {0}) AS BINARY)".format(", ".join(parts))


def _make_key_text(plan):
    fields = ["CAST({0} AS CHAR)".format(quote_name(column.name)) for column in plan.key]
    return "CONCAT_WS(',', {0})".format(", ".join(fields)) if fields else "''"


def _find_changes(plan, key, values, *, rewriter, report):
    """The columns that change and their new values."""
    changes = []
    for column, value in zip(plan.texts, values):
        if value is None:
            continue
        rewritten = rewriter.rewrite(value)
        for reason in rewritten.left_alone:
            _leave_alone(report, plan, column=column.name, key=key, reason=reason)
        if rewritten.value != value:
            changes.append((column, rewritten.value))
    return changes


def _make_statements(plan, predicate, changes, large):
    """An UPDATE of one row, after the statements that carry its large values."""
    sets, checks = [], []
    for number, (column, value) in enumerate(changes):
        literal = "x'{0}'".format(value.hex())
        if len(value) > large:
            yield from make_variable_statements(number, value)
            literal = make_variable(number)
            # A variable that outgrew the packet is NULL: then no row is found, and that is noticed.
            checks.append(" AND LENGTH({0}) = {1}".format(literal, len(value)))
        sets.append("{0} = {1}".format(quote_name(column.name), literal))
    changing = {column.name for column, _value in changes}
    # Else a column that follows updates would say *now*.
    clocks = [one.name for one in plan.columns if "ON UPDATE" in one.extra and one.name not in changing]
    sets += ["{0} = {0}".format(quote_name(name)) for name in clocks]
    head = "{0} SET {1} WHERE ".format(plan.place, ", ".join(sets)).encode("utf-8")
    yield _UPDATE + head + predicate + "{0} LIMIT 1".format("".join(checks)).encode()


def _run_spooled(conn, plan, spool, report):
    counted = None
    run_query(conn, "BEGIN")
    for statements, (about, statement) in enumerate(spool.read(), 1):
        if not statement.startswith(_UPDATE):
            run_query(conn, statement)
            continue
        reason = _update(conn, plan, statement)
        if reason:
            names = ", ".join(about["columns"])
            _leave_alone(report, plan, column=names, key=about["key"], reason=reason)
            continue
        report.values_changed += len(about["columns"])
        report.rows_changed += about["row"] != counted
        counted = about["row"]
        if statements % _PER_TRANSACTION == 0:
            run_query(conn, "COMMIT")
            run_query(conn, "BEGIN")
    run_query(conn, "COMMIT")


def _update(conn, plan, statement):
    """Run one UPDATE; returns why it cannot be, or nothing."""
    try:
        with conn.cursor() as cursor:
            changed = cursor.execute(statement)
    except MySQLError as error:
        if error.args[0] in _DOES_NOT_FIT:
            return _DOES_NOT_FIT[error.args[0]]
        raise DatabaseError("table {0}: {1}".format(plan.table, ": ".join(map(str, error.args)))) from error
    if changed != 1:
        raise make_unsupported(
            plan.table, "has a row that was not found again, or is too large to be rewritten"
        )
    return ""


def _leave_alone(report, plan, *, column, key, reason):
    if len(report.left_alone) < LEFT_ALONE_SHOWN:
        about = {"table": plan.table, "column": column, "key": key, "reason": reason}
        report.left_alone.append(about)


def _quote_text(text):
    """A text as SQL literal; in hexadecimal, so that no SQL mode reads it otherwise."""
    return "_utf8mb4 x'{0}'".format(text.encode("utf-8").hex())
