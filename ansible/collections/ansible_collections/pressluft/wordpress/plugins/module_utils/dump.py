"""A consistent, exact dump of one environment's tables, in a private file that never outlives the process.

Not mariadb-dump's: that prints FLOAT with six digits, so a restored table would not be the one that was stored.
The rows are the literals that refreshes and promotions copy by (`row_literal`), and beside them lie the digests of
the tables in the very snapshot they were read from. The file is plain SQL, which `mariadb DATABASE < database.sql`
loads as well.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import Mapping

from ansible_collections.pressluft.wordpress.plugins.module_utils import durable_file
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import (
    find_tables,
    open_snapshot,
    quote_name,
    run_query,
    stream_query,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.detached import MARKER
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.right_check import check_sight
from ansible_collections.pressluft.wordpress.plugins.module_utils.row_copy import (
    define_table,
    make_row_select,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.row_literal import (
    LARGE_VALUE,
    READER_SESSION,
    fetch_columns,
    fetch_packet_size,
    make_unsupported,
    make_variable,
    make_variable_statements,
    session,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.table_measure import measure_tables

FILE_NAME, INDEX_NAME = "database.sql", "tables.json"
MEASURED_BY = 1
"""Which way of measuring made the digests beside a dump. Raise it when a table's digest is made another way: backups
outlive versions, and a digest of another kind proves nothing."""
END = b";\n"
"""What ends a statement; within one it does not occur."""
_BATCH = 1 << 20
_SESSION = dict(READER_SESSION, lock_wait_timeout=60)  # a table that is being altered is worth waiting for
_HEAD = (
    b"SET NAMES utf8mb4",
    b"SET SESSION time_zone = '+00:00', sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES'",
    b"SET SESSION unique_checks = 0, foreign_key_checks = 0",
    b"/*M!100200 SET SESSION check_constraint_checks = 0 */",
)
_CREATED = re.compile(rb"CREATE TABLE `((?:[^`]|``)+)`")
_COMPLETE = b"-- Dump completed"


@dataclass(frozen=True)
class Dump:
    """`path` of the dump, the SHA-256 of its bytes in hex, its size in bytes, the tables' digests by short name."""

    path: str
    sha256: str
    size: int
    tables: Mapping[str, str]


@contextlib.contextmanager
def hold_dump(folder, conn, environment):
    """Dump an environment's tables into `<folder>/database.sql` and yield the `Dump`; the folder goes afterwards.

    Beside it `tables.json` holds `{measured_by, tables: {name: digest}, others: [names of views and triggers]}`. Raises
    `NodeError`: `BACKUP_INVALID` where a table cannot be read, `SCHEMA_UNSUPPORTED` where triggers cannot be seen.
    """
    check_sight(conn, environment.database)
    shutil.rmtree(folder, ignore_errors=True)
    durable_file.make_private_folder(folder)
    with _remove_after_death(folder):
        try:
            yield _write_dump(folder, conn, environment)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def load_dump(stream, conn, database):
    """Run the statements of a dump (binary lines) in a database, up to its views and triggers. Returns their number.

    Raises `NodeError`: `BACKUP_INVALID` for a dump that is cut short, `SCHEMA_UNSUPPORTED` for a table that this server
    cannot have (it is older than the one that was dumped).
    """
    run_query(conn, "USE {0}".format(quote_name(database)))
    pending, count = [], 0
    for line in stream:
        if not pending and line.startswith(b"--"):
            if line.startswith(_COMPLETE):
                return count
            continue
        pending.append(line)
        if line.endswith(END):
            _run(conn, b"".join(pending)[: -len(END)])
            pending, count = [], count + 1
    raise NodeError("BACKUP_INVALID", "the dump in the backup is not complete", "Restore another backup.")


def _run(conn, statement):
    created = _CREATED.match(statement)
    if created:
        define_table(conn, created.group(1).decode("utf-8").replace("``", "`"), statement)
    else:
        run_query(conn, statement)


@contextlib.contextmanager
def _remove_after_death(folder):
    """Even a killed process leaves no plain copy: a shell waits for the end of a pipe and then removes it."""
    # Marked, so that whoever cleans up after a cancelled run leaves it to its work.
    environment = {"PATH": os.environ.get("PATH", os.defpath), MARKER: "dump"}
    with subprocess.Popen(
        ["/bin/sh", "-c", 'cat >/dev/null; rm -rf -- "$1"', "sh", folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env=environment,
        start_new_session=True,
    ):
        yield


class _File:
    """The dump in the making, and its digest."""

    def __init__(self, stream):
        self._stream, self.digest, self.size = stream, hashlib.sha256(), 0

    def write(self, content):
        self._stream.write(content)
        self.digest.update(content)
        self.size += len(content)

    def add(self, statement):
        self.write(statement + END)


def _write_dump(folder, conn, environment):
    path = os.path.join(folder, FILE_NAME)
    with open(path, "xb", opener=_open_private) as stream, session(conn, _SESSION):
        file = _File(stream)
        for statement in _HEAD:
            file.add(statement)
        try:
            open_snapshot(conn)
            tables = _write_tables(file, conn, environment)
            file.write(_COMPLETE + b"; views and triggers follow\n")
            others = _write_others(file, conn, environment)
        except NodeError as error:
            raise _make_error(error.message) from error
        finally:
            if conn.open:
                conn.rollback()
    durable_file.write_json(
        os.path.join(folder, INDEX_NAME), {"measured_by": MEASURED_BY, "tables": tables, "others": others}
    )
    return Dump(path, file.digest.hexdigest(), file.size, tables)


def read_index(content):
    """The digests by table, and the names of views and triggers, as a dump's `tables.json` holds them.

    A digest is empty where another version measured in another way.
    """
    index = json.loads(content.decode("utf-8"))
    is_comparable = index.get("measured_by") == MEASURED_BY
    return {name: digest if is_comparable else "" for name, digest in index["tables"].items()}, index[
        "others"
    ]


def _open_private(path, flags):
    return os.open(path, flags, 0o600)


def _write_tables(file, conn, environment):
    """Write every table, and return their digests in the same snapshot."""
    found = find_tables(conn, environment.database, environment.table_prefix)
    names = [name for name, info in found.items() if info.type != "VIEW"]
    for name in names:
        table = found[name].name
        file.add(_fetch_definition(conn, environment.database, table))
        for statement in _make_inserts(conn, environment.database, table):
            file.add(statement)
    measures = measure_tables(conn, environment, names)
    for name, measure in measures.items():
        if measure.unreadable:
            raise make_unsupported(environment.table(name), "cannot be read: " + measure.unreadable)
    return {name: measure.digest for name, measure in measures.items()}


def _fetch_definition(conn, database, table):
    place = "{0}.{1}".format(quote_name(database), quote_name(table))
    definition = run_query(conn, "SHOW CREATE TABLE {0}".format(place))[0][1].encode("utf-8")
    if END in definition:
        raise make_unsupported(table, "has a line that ends with a semicolon in its definition")
    return definition


def _make_inserts(conn, database, table):
    """The statements that put a table's rows back, a line each; a value that is too large for one comes in pieces."""
    columns = fetch_columns(conn, database, table)
    room = fetch_packet_size(conn)
    select = make_row_select((database, table), columns, min(LARGE_VALUE, room // (4 * len(columns))))
    names = ", ".join(quote_name(column.name) for column in columns)
    head = "INSERT INTO {0} ({1}) VALUES ".format(quote_name(table), names).encode("utf-8")
    pending, size, limit = [], 0, min(_BATCH, room // 4)
    with contextlib.closing(stream_query(conn, select)) as rows:
        for literal, *large in rows:
            if literal is None:
                raise make_unsupported(table, "has a row that does not fit into max_allowed_packet")
            kept = [(number, value) for number, value in enumerate(large) if value is not None]
            if kept or size >= limit:
                if pending:
                    yield head + b",".join(pending)
                pending, size = [], 0
            if kept:
                yield from _make_large_insert(head, literal, kept)
                continue
            pending.append(literal)
            size += len(literal)
    if pending:
        yield head + b",".join(pending)


def _make_large_insert(head, literal, values):
    for number, value in values:
        yield from make_variable_statements(number, value)
    yield head + literal
    for number, _value in values:
        yield "SET {0} = NULL".format(make_variable(number)).encode("ascii")


def _write_others(file, conn, environment):
    """Write views and triggers, for whoever loads the file by hand; return their names."""
    found = find_tables(conn, environment.database, environment.table_prefix)
    place, names = quote_name(environment.database), []
    file.write(b"DELIMITER //\n")
    for info in found.values():
        if info.type == "VIEW":
            shown = run_query(conn, "SHOW CREATE VIEW {0}.{1}".format(place, quote_name(info.name)))[0][1]
            file.write(shown.encode("utf-8") + b" //\n")
            names.append("view {0}".format(info.name))
    tables = {info.name for info in found.values()}
    for trigger, table in _fetch_triggers(conn, environment.database):
        if table in tables:
            shown = run_query(conn, "SHOW CREATE TRIGGER {0}.{1}".format(place, quote_name(trigger)))[0][2]
            file.write(shown.encode("utf-8") + b" //\n")
            names.append("trigger {0}".format(trigger))
    file.write(b"DELIMITER ;\n")
    return names


def _fetch_triggers(conn, database):
    return run_query(
        conn,
        "SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE FROM information_schema.TRIGGERS"
        " WHERE EVENT_OBJECT_SCHEMA = %s ORDER BY TRIGGER_NAME",
        (database,),
    )


def _make_error(message):
    return NodeError(
        "BACKUP_INVALID",
        message,
        "Nothing was backed up. Look at the database server on the node, then run the job again.",
        retry=True,
    )
