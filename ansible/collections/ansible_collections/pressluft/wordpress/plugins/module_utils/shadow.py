"""The shadow database: what is to be promoted, as it will be, beside the live tables and on the same server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, Tuple

from ansible_collections.pressluft.wordpress.plugins.module_utils.database import (
    open_snapshot,
    quote_name,
    run_query,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.equality import make_rewriter
from ansible_collections.pressluft.wordpress.plugins.module_utils.exchange import (
    create_database,
    drop_database,
    raise_auto_increment,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.free_space import estimate_rows
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.option_merge import fetch_columns
from ansible_collections.pressluft.wordpress.plugins.module_utils.option_row import read_option_rows
from ansible_collections.pressluft.wordpress.plugins.module_utils.progress import SILENT
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import OPTIONS_TABLE
from ansible_collections.pressluft.wordpress.plugins.module_utils.row_copy import copy_table
from ansible_collections.pressluft.wordpress.plugins.module_utils.row_rewrite import rewrite_table
from ansible_collections.pressluft.wordpress.plugins.module_utils.site_measure import (
    find_changed,
    measure_rows,
)


@dataclass(frozen=True)
class Shadow:
    """What was put into a shadow: rows and bytes copied, options decided, and what was not rewritten and why.

    `left_alone` holds `{table, column, key, reason}`.
    """

    tables: int
    rows: int
    bytes: int
    options: int
    left_alone: Tuple[Mapping[str, Any], ...]


def fill_shadow(reader, writer, *, production, source, plan, expected, database, progress=SILENT):
    """Create `database` anew and fill it as the plan says, from one moment of the source.

    `expected` are the source's digests by key, which that moment must show: else `SOURCE_CHANGED`. Tables get
    production's prefix and addresses; options are production's rows with the plan's taken and deleted.
    """
    drop_database(writer, database)
    create_database(writer, database, like=production.database)
    open_snapshot(reader)
    try:
        progress.begin("check that the source is what was checked")
        _check_source(reader, source, expected)
        rows = estimate_rows(writer, source, plan["tables"])
        progress.begin("copy tables", tables=len(plan["tables"]), rows=rows)
        copied = _copy_tables(
            *(reader, writer),
            production=production,
            source=source,
            names=plan["tables"],
            to=database,
            progress=progress,
        )
        taken = read_option_rows(reader, source, plan["options"]["take"])
    finally:
        reader.rollback()
    rewriter = make_rewriter(production, source)
    left_alone = []
    progress.begin("rewrite addresses", tables=len(plan["tables"]))
    for name in plan["tables"]:
        done = rewrite_table(writer, database, production.table(name), rewriter, needles=rewriter.cores)
        left_alone += done.left_alone
        progress.add(tables=1)
    if any(plan["options"].values()):
        left_alone += _merge_options(
            writer, production, taken, rewriter, deleted=plan["options"]["delete"], to=database
        )
    tables = [production.table(name) for name in [*plan["tables"], OPTIONS_TABLE]]
    raise_auto_increment(writer, tables, of=production.database, to=database)
    return Shadow(
        tables=len(copied),
        rows=sum(table.rows for table in copied),
        bytes=sum(table.bytes for table in copied),
        options=len(taken) + len(plan["options"]["delete"]),
        left_alone=tuple(left_alone),
    )


def make_source_changed(keys):
    """The refusal of a source that is no longer what was checked."""
    return NodeError(
        "SOURCE_CHANGED",
        "the source changed after it was checked: {0}".format(", ".join(keys)),
        "Nothing live was changed. Let nobody edit the source meanwhile, then promote again.",
    )


def _check_source(reader, source, expected):
    measures = measure_rows(reader, source, list(expected), database=source.database, rows_kept=0)
    changed = find_changed(measures, expected)
    if changed:
        raise make_source_changed(changed)


def _copy_tables(reader, writer, *, production, source, names, to, progress):
    renamed = {source.table(name): production.table(name) for name in names}
    return [
        copy_table(
            *(reader, writer, source.database, source.table(name), to, production.table(name)),
            renamed=renamed,
            progress=progress,
        )
        for name in names
    ]


def _merge_options(writer, production, taken, rewriter, *, deleted, to):
    """Make the options of the shadow: production's table and rows, then what the plan says."""
    table = production.table(OPTIONS_TABLE)
    live = "{0}.{1}".format(quote_name(production.database), quote_name(table))
    shadow = "{0}.{1}".format(quote_name(to), quote_name(table))
    fetch_columns(writer, production.database, table)  # refuses a table without unique names
    run_query(writer, "CREATE TABLE {0} LIKE {1}".format(shadow, live))
    run_query(writer, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")  # blocks no visitor's write
    run_query(writer, "INSERT INTO {0} SELECT * FROM {1}".format(shadow, live))
    run_query(writer, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    # First what goes: a name that is only spelled anew is the same to the table's index.
    for name in deleted:
        run_query(writer, "DELETE FROM {0} WHERE option_name = %s".format(shadow), (name,))
    left_alone = []
    for name, row in sorted(taken.items()):
        done = rewriter.rewrite(row.value) if row.value is not None else None
        left_alone += [_make_left(table, name, reason) for reason in (done.left_alone if done else ())]
        _put_option(writer, shadow, row._replace(value=done.value if done else None))
    return left_alone


def _make_left(table, name, reason):
    return {"table": table, "column": "option_value", "key": name, "reason": reason}


def _put_option(writer, shadow, row):
    value = "NULL" if row.value is None else "x'{0}'".format(row.value.hex())
    run_query(
        writer,
        "INSERT INTO {0} (option_name, option_value, autoload) VALUES (%s, {1}, %s) ON DUPLICATE KEY UPDATE"
        " option_name = VALUES(option_name), option_value = VALUES(option_value),"
        " autoload = VALUES(autoload)".format(shadow, value),
        (row.name, row.autoload),
    )
