"""Measuring one release, or one site's tables in a database that is not its own, as an observation does."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass

from ansible_collections.pressluft.wordpress.plugins.module_utils.component import measure_components
from ansible_collections.pressluft.wordpress.plugins.module_utils.localise import ROWS_KEPT_IN_JOB
from ansible_collections.pressluft.wordpress.plugins.module_utils.measure import measure_preserved_files
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.option_row import (
    digest_option,
    read_option_rows,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import (
    COMPONENT,
    OPTION,
    PATH,
    TABLE,
    Measure,
    add_kind,
    make_key,
    split_key,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.table_measure import measure_tables


@dataclass(frozen=True)
class _Release:
    """As much of an environment as measuring code takes: a release that need not be the current one."""

    name: str
    current: str


def measure_release(environment, release, protection):
    """Measure the components of a release, keyed as in a baseline."""
    view = _Release(environment.name, os.path.join(environment.root, "releases", release))
    return add_kind(COMPONENT, measure_components(view, protection))


def measure_own_files(environment, release, protection):
    """Measure the preserved files of a release, keyed as in a baseline."""
    view = _Release(environment.name, os.path.join(environment.root, "releases", release))
    return add_kind(PATH, measure_preserved_files(view, protection))


def measure_rows(conn, environment, keys, *, database, rows_kept=ROWS_KEPT_IN_JOB):
    """Measure the tables and option rows among `keys`, in `database` under the environment's prefix."""
    there = dataclasses.replace(environment, database=database)
    tables = [name for kind, name in map(split_key, keys) if kind == TABLE]
    options = [name for kind, name in map(split_key, keys) if kind == OPTION]
    measures = add_kind(TABLE, measure_tables(conn, there, tables, rows_kept=rows_kept)) if tables else {}
    found = read_option_rows(conn, there, options)
    for name in options:
        digest = digest_option(found[name]) if name in found else None
        measures[make_key(OPTION, name)] = Measure(digest)
    return measures


def find_changed(measures, expected):
    """The keys whose digests are not those expected. What cannot be read raises `NodeError`."""
    for key, measure in measures.items():
        if measure.unreadable:
            raise NodeError(
                "DRIFT_CHECK_FAILED",
                "{0} could not be read: {1}".format(key, measure.unreadable),
                "Remove the cause and run the job again.",
                retry=True,
            )
    digests = {key: measure.digest for key, measure in measures.items()}
    return sorted(key for key in {*expected, *digests} if digests.get(key) != expected.get(key))
