"""Rows set aside before the table that holds them goes: a compressed file of JSON lines, for a person to look at.

Only what was written since is saved: the rest is what was installed, and that is still on the source.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import os

from ansible_collections.pressluft.wordpress.plugins.module_utils import durable_file
from ansible_collections.pressluft.wordpress.plugins.module_utils.column import read_columns
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import hold_snapshot
from ansible_collections.pressluft.wordpress.plugins.module_utils.localise import find_changed_spans, name_row
from ansible_collections.pressluft.wordpress.plugins.module_utils.row_stream import split_row, stream_rows
from ansible_collections.pressluft.wordpress.plugins.module_utils.table_digest import (
    make_plan,
    make_query,
    make_where,
)


def save_changed_rows(conn, database, table, path, *, evidence):
    """Write the rows of a table that are not those of the evidence to `path`, durably. Returns their number.

    Values that are not UTF-8 become `{"base64": ...}`; a row that is gone is a line `{"deleted": <its key>}`. Without
    evidence, or without a key, the whole table is written; of a large table whole chunks are (`ROWS_KEPT_IN_JOB`).
    """
    with hold_snapshot(conn):
        plan, names = _make_plan(conn, database, table)
        spans = find_changed_spans(conn, plan, evidence=evidence) if evidence else None
        if spans is None:
            lines = _read_rows(conn, plan, names, where="TRUE")
        else:
            lines = (line for span in spans for line in _read_span(conn, plan, names, span))
        return _write_lines(lines, path)


def save_options(conn, database, table, path, *, names):
    """Write the rows of an options table that have these names to `path`, durably. Returns their number."""
    where = "option_name IN ({0})".format(", ".join(conn.escape(name) for name in names))
    with hold_snapshot(conn):
        plan, columns = _make_plan(conn, database, table)
        return _write_lines(_read_rows(conn, plan, columns, where=where), path)


def _make_plan(conn, database, table):
    """How the table is read, and the names of what is selected: the key first."""
    plan = make_plan(conn, database, table)
    keys = [column.name for column in plan.key]
    names = [column.name for column in read_columns(conn, database, table)]
    return plan, [*keys, *(name for name in names if name not in keys)]


def _read_span(conn, plan, names, span):
    """The lines of one span: rows that are new or other than before, then the keys that are gone."""
    before = dict(span.before or {})
    query = make_query(plan, make_where(plan.key, after=span.after, up_to=span.up_to))
    with contextlib.closing(stream_rows(conn, query)) as found:
        for row in found:
            key, start = name_row(plan, row)
            if span.before is None or before.pop(key, None) != start:
                yield _make_line(names, row)
    for key in before:
        yield {"deleted": key}


def _read_rows(conn, plan, names, *, where):
    query = "SELECT {0} FROM {1} WHERE {2}".format(plan.fields, plan.table, where)
    with contextlib.closing(stream_rows(conn, query)) as found:
        for row in found:
            yield _make_line(names, row)


def _write_lines(lines, path):
    """Write what there is; nothing at all where there is none, and never half of it: the disk may be full."""
    durable_file.make_private_folder(os.path.dirname(path))
    try:
        count = _pack_lines(lines, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise
    if not count:
        os.unlink(path)
    durable_file.sync_folder(os.path.dirname(path))
    return count


def _pack_lines(lines, path):
    count = 0
    with contextlib.closing(lines), open(path, "wb") as stream:
        os.fchmod(stream.fileno(), 0o600)
        with gzip.GzipFile(fileobj=stream, mode="wb", mtime=0) as packed:
            for line in lines:
                count += 1
                packed.write(json.dumps(line, ensure_ascii=False).encode("utf-8") + b"\n")
        stream.flush()
        os.fsync(stream.fileno())
    return count


def _make_line(names, row):
    return {name: _encode(value) for name, value in zip(names, split_row(row))}


def _encode(value):
    if value is None:
        return None
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode("ascii")}
