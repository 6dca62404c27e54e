"""Rewriting addresses and paths in a table that nobody uses yet; only rows that change are written."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Tuple

from ansible_collections.pressluft.wordpress.plugins.module_utils.column import (
    TEXTS,
    make_literal,
    make_text_expression,
    read_columns,
    read_key,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import (
    quote_name,
    run_query,
    stream_query,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError

NEVER_REWRITTEN = frozenset(["guid", "user_pass"])  # design §5
_MOST_NAMED = 20
_ROWS_AT_ONCE = 1000


@dataclass(frozen=True)
class RewrittenTable:
    """`values` that were changed, and up to 20 reasons why others that hold an old address were not."""

    values: int
    left_alone: Tuple[str, ...]


@dataclass(frozen=True)
class _Layout:
    """How a table is rewritten: its texts, its key (none: rows are found by their values), and the columns
    that would change by themselves on any update.
    """

    place: str
    texts: tuple
    key: tuple
    touched: Tuple[str, ...]


def rewrite_rows(reader, writer, place, rewriter):
    """Rewrite every text of a table, `(database, name)`, but keys, `guid` and `user_pass`.

    The two connections must not be one. Raises `NodeError` `SCHEMA_UNSUPPORTED` for a value that does not fit
    its column any more.
    """
    layout = _read_layout(reader, *place)
    if not layout.texts:
        return RewrittenTable(0, ())
    values, left_alone = 0, []
    with _strict(writer), contextlib.closing(stream_query(reader, _make_select(layout, rewriter))) as rows:
        for number, row in enumerate(rows, start=1):
            key, olds = row[: len(layout.key)], row[len(layout.key) :]
            dones = [(old, rewriter.rewrite(old)) for old in olds if old is not None]
            left_alone += [reason for _, done in dones for reason in done.left_alone][:_MOST_NAMED]
            values += _write_row(writer, layout, key, _find_changes(layout, olds, dict(dones)))
            if number % _ROWS_AT_ONCE == 0:
                writer.commit()
                writer.begin()
    named = ["{0}: {1}".format(place[1], reason) for reason in left_alone[:_MOST_NAMED]]
    return RewrittenTable(values, tuple(named))


def _read_layout(conn, database, table):
    rows = run_query(
        conn,
        "SELECT COLUMN_NAME, COLUMN_KEY, EXTRA FROM information_schema.COLUMNS"
        " WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s",
        (database, table),
    )
    fixed = {
        name for name, key, extra in rows if key == "PRI" or "GENERATED" in extra.upper()
    } | NEVER_REWRITTEN
    columns = read_columns(conn, database, table)
    return _Layout(
        place="{0}.{1}".format(quote_name(database), quote_name(table)),
        texts=tuple(column for column in columns if column.type in TEXTS and column.name not in fixed),
        key=tuple(read_key(conn, database, table)),
        touched=tuple(name for name, _, extra in rows if "on update" in extra.lower()),
    )


def _make_select(layout, rewriter):
    """Only rows that hold one of the cores: the others are never changed. NULL for a text that holds none."""
    holds = [
        " OR ".join(
            "LOCATE(x'{0}', CAST({1} AS BINARY)) > 0".format(core.hex(), quote_name(column.name))
            for core in rewriter.cores
        )
        for column in layout.texts
    ]
    fields = [make_text_expression(column) for column in layout.key] + [
        "IF({0}, CAST({1} AS BINARY), NULL)".format(condition, quote_name(column.name))
        for column, condition in zip(layout.texts, holds)  # noqa: B905 - Python 3.8 has no `strict`
    ]
    return "SELECT {0} FROM {1} WHERE {2}".format(", ".join(fields), layout.place, " OR ".join(holds))


def _find_changes(layout, olds, dones):
    """`(column, old, new)` of each text that changes."""
    pairs = zip(layout.texts, olds)  # noqa: B905 - Python 3.8 has no `strict`
    return [(column, old, dones[old].value) for column, old in pairs if old is not None and dones[old].count]


def _write_row(writer, layout, key, changes):
    if not changes:
        return 0
    if layout.key:
        pairs = zip(layout.key, key)  # noqa: B905 - Python 3.8 has no `strict`
        where = ["{0} = {1}".format(quote_name(part.name), make_literal(part, text)) for part, text in pairs]
        _update(writer, layout, changes, where)
        return len(changes)
    for column, old, new in changes:
        # Equal values become equal ones: no key is needed, and what was rewritten already is not met again.
        where = ["CAST({0} AS BINARY) = x'{1}'".format(quote_name(column.name), old.hex())]
        _update(writer, layout, [(column, old, new)], where)
    return len(changes)


def _update(writer, layout, changes, where):
    kept = ["{0} = {0}".format(quote_name(name)) for name in layout.touched]
    sets = ["{0} = x'{1}'".format(quote_name(column.name), new.hex()) for column, _, new in changes]
    statement = "UPDATE {0} SET {1} WHERE {2}".format(
        layout.place, ", ".join([*sets, *kept]), " AND ".join(where)
    )
    try:
        run_query(writer, statement)
    except NodeError as error:
        raise NodeError(
            "SCHEMA_UNSUPPORTED",
            "table {0}: a rewritten value cannot be stored: {1}".format(layout.place, error.message),
            "Make the column wide enough on the source, or protect the table on both environments.",
        ) from error


@contextlib.contextmanager
def _strict(writer):
    """In transactions, and with a mode in which nothing is cut off in silence."""
    run_query(writer, "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES'")
    writer.begin()
    try:
        yield
        writer.commit()
    finally:
        if writer.open:
            run_query(writer, "SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO'")
