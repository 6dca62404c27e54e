"""Measures one environment: every table, option row, code component and protected folder it has now."""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterable, List, Mapping, Set

from ansible_collections.pressluft.wordpress.plugins.module_utils.component import measure_components
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import TableInfo, find_tables
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import Environment
from ansible_collections.pressluft.wordpress.plugins.module_utils.manifest import measure_folder
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.option_row import measure_options
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import (
    ABSENT,
    COMPONENT,
    OPTION,
    OPTIONS_TABLE,
    PATH,
    TABLE,
    Measure,
    Protection,
    add_kind,
    make_key,
    split_key,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.table_measure import measure_tables

if TYPE_CHECKING:
    from pymysql.connections import Connection


@dataclass(frozen=True)
class Side:
    """All that one environment has, keyed `table:posts`, and the kinds of which nothing could be read."""

    measures: Mapping[str, Measure]
    failures: Mapping[str, str] = field(default_factory=dict)

    def get(self, kind: str, name: str) -> Measure:
        """One resource; what nobody could look for is unreadable, never absent."""
        if kind in self.failures:
            return Measure(None, unreadable=self.failures[kind])
        return self.measures.get(make_key(kind, name), ABSENT)

    def names(self, kind: str) -> Set[str]:
        """The names of one kind that are there. A kind that failed has `*`, so that this is seen."""
        found = {name for of, name in map(split_key, self.measures) if of == kind}
        return found | {"*"} if kind in self.failures else found


def measure_side(
    connection: Connection[Any], environment: Environment, protection: Protection, *, rows_kept: int = 0
) -> Side:
    """Measure everything of an environment. What fails for one kind leaves the others standing.

    Raises NodeError (`SCHEMA_UNSUPPORTED`) for a network of sites.
    """
    measures: Dict[str, Measure] = {}
    failures: Dict[str, str] = {}
    work: Dict[str, Callable[[], Mapping[str, Measure]]] = {
        TABLE: lambda: _measure_all_tables(connection, environment, rows_kept),
        OPTION: lambda: measure_options(connection, environment, protection),
        COMPONENT: lambda: measure_components(environment, protection),
        PATH: lambda: measure_paths(environment, protection),
    }
    for kind, measure in work.items():
        try:
            measures.update(add_kind(kind, measure()))
        except NodeError as error:  # noqa: PERF203 - four rounds
            if error.code == "SCHEMA_UNSUPPORTED":
                raise
            failures[kind] = error.message
    return Side(measures, failures)


def measure_paths(
    environment: Environment,
    protection: Protection,
    *,
    measure: Callable[[str, str], Measure] = lambda _name, place: measure_folder(place),
) -> Dict[str, Measure]:
    """Measure every protected path and preserved file, absent ones too, keyed by its path below `current`.

    `measure` is given a protected path's name and where it lies.
    """
    names = find_protected_paths(environment, protection.protected_paths)
    found = {name: measure(name, os.path.join(environment.current, name)) for name in names}
    return {**measure_preserved_files(environment, protection), **found}


def measure_preserved_files(environment: Any, protection: Protection) -> Dict[str, Measure]:
    """Measure what a release has of its own beside code; of `environment` only `current` is asked."""
    names = find_protected_paths(environment, protection.preserved_files)
    return {name: measure_folder(os.path.join(environment.current, name)) for name in names}


def find_protected_paths(environment: Environment, patterns: Iterable[str]) -> List[str]:
    """Return the protected paths below `current`: plain ones whether or not they exist, patterns as found."""
    found: Set[str] = set()
    for pattern in patterns:
        if "*" not in pattern:
            found.add(pattern)
            continue
        place = os.path.join(glob.escape(environment.current), pattern.replace("[", "[[]"))
        found |= {os.path.relpath(path, environment.current) for path in glob.glob(place)}
    return sorted(found)


def find_site_tables(connection: Connection[Any], environment: Environment) -> Dict[str, TableInfo]:
    """Return all tables that are measured as tables, the largest first; `options` is measured row by row.

    Raises NodeError for a network of sites (`SCHEMA_UNSUPPORTED`) and for a prefix without a site.
    """
    tables = find_tables(connection, environment.database, environment.table_prefix)
    if {"blogs", "site"} <= set(tables):
        raise NodeError(
            "SCHEMA_UNSUPPORTED",
            "%s is a network of sites (it has the tables blogs and site)" % environment.name,
            "Pressluft does not promote multisite; take this site out of the fleet.",
        )
    if OPTIONS_TABLE not in tables:  # a wrong prefix would otherwise look like a site without data
        raise NodeError(
            "DRIFT_CHECK_FAILED",
            "database %s has no table %s" % (environment.database, environment.table(OPTIONS_TABLE)),
            "Check the environment's database name and table_prefix.",
        )
    names = sorted(set(tables) - {OPTIONS_TABLE}, key=lambda name: (-tables[name].data_length, name))
    return {name: tables[name] for name in names}


def _measure_all_tables(
    connection: Connection[Any], environment: Environment, rows_kept: int
) -> Dict[str, Measure]:
    wanted = find_site_tables(connection, environment)
    return measure_tables(connection, environment, wanted, rows_kept=rows_kept)
