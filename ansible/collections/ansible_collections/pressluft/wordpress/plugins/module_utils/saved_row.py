"""Rows set aside before a table goes: one JSON object a line, gzipped, readable without Pressluft."""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import os

from ansible_collections.pressluft.wordpress.plugins.module_utils import durable_file
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import (
    quote_name,
    run_query,
    stream_query,
)


def save_rows(conn, database, table, path):
    """Write a whole table to `path`, durably; values that are not UTF-8 become `{"base64": ...}`. Returns rows."""
    durable_file.make_private_folder(os.path.dirname(path))
    columns = [row[0] for row in run_query(conn, "SHOW COLUMNS FROM {0}".format(_name(database, table)))]
    fields = ", ".join("CAST({0} AS BINARY)".format(quote_name(column)) for column in columns)
    select = "SELECT {0} FROM {1}".format(fields, _name(database, table))
    try:
        rows = _write_rows(stream_query(conn, select), columns, path)
    except BaseException:
        with contextlib.suppress(OSError):  # half of it helps nobody, and the disk may be full
            os.unlink(path)
        raise
    durable_file.sync_folder(os.path.dirname(path))
    return rows


def _write_rows(found, columns, path):
    rows = 0
    with contextlib.closing(found), open(path, "wb") as stream:
        os.fchmod(stream.fileno(), 0o600)
        with gzip.GzipFile(fileobj=stream, mode="wb", mtime=0) as packed:
            for row in found:
                rows += 1
                values = {name: _encode(row[place]) for place, name in enumerate(columns)}
                packed.write(json.dumps(values, ensure_ascii=False).encode("utf-8") + b"\n")
        stream.flush()
        os.fsync(stream.fileno())
    return rows


def _encode(value):
    if value is None:
        return None
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode("ascii")}


def _name(database, table):
    return "{0}.{1}".format(quote_name(database), quote_name(table))
