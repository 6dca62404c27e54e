"""Which tables need no other copy: neither side changed them since the last one (spec.md §3).

Those whose files prove it are not read at all: an earlier check stamped the files that its digests belong to
(`tablespaces.json`). The proof is taken after production's snapshot was opened, so it is true of the snapshot as well.
The others are read on both sides. Tables with foreign keys are always exchanged together.
"""

from __future__ import annotations

from contextlib import closing

from ansible_collections.pressluft.wordpress.plugins.module_utils.database import (
    DatabaseError,
    connect,
    find_tables,
    run_query,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import (
    OPTIONS_TABLE,
    TABLE,
    make_key,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.table_measure import (
    digest_schema_and_rows,
    measure_tables,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.tablespace import Tablespaces
from ansible_collections.pressluft.wordpress.plugins.module_utils.tablespace_memory import (
    find_proved,
    read_memory,
)


def is_rewritten_alike(work):
    """Whether there is an earlier copy, and it was made for the addresses that both sides have now."""
    return work.known is not None and work.state.content.get("refreshed_with") == work.addresses


def find_proved_tables(work, names):
    """Of the tables `names`, those whose files prove that both sides are what they were after the last copy.

    Only where `may_tables_stay`, and while production's snapshot is open. A production on another node keeps its
    stamps there.
    """
    if work.mirror is not None:
        return set()
    wanted = {name for name in names if name != OPTIONS_TABLE}
    for side, label in ((work.production, "production"), (work.source, "source")):
        wanted = _prove(work, side, {name: _find_known(work, name, label) for name in wanted})
    return wanted


def find_read_tables(work, copied, names):
    """Of the tables `names`, which were read on production (`copied`), those that the source still has as copied.

    Only where `may_tables_stay`.
    """
    candidates = [
        name
        for name in names
        if name != OPTIONS_TABLE
        and _find_known(work, name, "production") == copied.production[make_key(TABLE, name)].digest
    ]
    live = measure_tables(work.writer, work.source, candidates, rows_kept=0)
    return {name for name in candidates if live[name].digest == _find_known(work, name, "source")}


def may_tables_stay(work):
    """Whether a table may stay as it is: it was copied before, and no foreign key ties it to one that is exchanged."""
    return is_rewritten_alike(work) and not _has_foreign_keys(work)


def _find_known(work, name, label):
    """The digest of a table in the baseline, None where it is not in it."""
    return work.known["resources"].get(make_key(TABLE, name), {}).get(label)


def _prove(work, side, expected):
    """The tables of one side whose files prove that they still have the digests `expected`."""
    with closing(connect(work.config.mysql_defaults_file)) as conn:
        try:
            spaces = Tablespaces(conn, side.database)
            memory = read_memory(work.state_dir, side.id, origin=spaces.describe_origin())
            told = {
                name: known
                for name, known in memory.items()
                if name in expected and digest_schema_and_rows(known.schema, known.rows) == expected[name]
            }
            tables = find_tables(conn, side.database, side.table_prefix)
            return set(find_proved(spaces, side, tables, memory=told))
        except DatabaseError:  # a proof that cannot be had is none
            return set()


def _has_foreign_keys(work):
    sides = (work.production, work.source)
    query = (
        "SELECT COUNT(*) FROM information_schema.KEY_COLUMN_USAGE"
        " WHERE REFERENCED_TABLE_NAME IS NOT NULL AND TABLE_SCHEMA IN (%s, %s)"
    )
    return bool(run_query(work.writer, query, [side.database for side in sides])[0][0])
