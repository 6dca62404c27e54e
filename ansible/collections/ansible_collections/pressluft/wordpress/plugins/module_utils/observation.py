"""The node's live look at source and production: the `observation` of node-protocol.md.

It says what is, in digests, and draws no conclusion: verdicts are the controller's.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from typing import Any, Dict, Iterable, List, Mapping, Optional, Set, Union

from ansible_collections.pressluft.wordpress.plugins.module_utils import clock
from ansible_collections.pressluft.wordpress.plugins.module_utils.baseline import Baseline, find_misfit
from ansible_collections.pressluft.wordpress.plugins.module_utils.comparison import OneServer, TwoNodes
from ansible_collections.pressluft.wordpress.plugins.module_utils.component import find_component_paths
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import DatabaseError
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import Environment
from ansible_collections.pressluft.wordpress.plugins.module_utils.manifest import (
    describe_path,
    find_changed_paths,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.measure import Side
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import (
    COMPONENT,
    MERGEABLE,
    OPTION,
    OPTIONS_TABLE,
    PATH,
    PRESERVED,
    PROTECTED,
    SAMPLES,
    TABLE,
    Measure,
    Protection,
    make_key,
    split_key,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.schema_digest import compare_schemas
from ansible_collections.pressluft.wordpress.plugins.module_utils.source_only import (
    find_source_only_paths,
)

Resource = Dict[str, Any]
Between = Union[OneServer, TwoNodes]


@dataclass(frozen=True)
class _Look:
    """All that was seen: both sides as measured, and the baseline's digests (empty without one)."""

    protection: Protection
    production: Side
    source: Side
    baseline: Optional[Baseline]

    @property
    def known(self) -> Mapping[str, Mapping[str, Optional[str]]]:
        """The baseline's resources, `table:posts` -> production and source."""
        return self.baseline["resources"] if self.baseline else {}


def observe(
    production: Environment,
    source: Environment,
    protection: Protection,
    *,
    defaults_file: str,
    state_dir: str,
    expected: str = "",
    peer: Any = None,
) -> Dict[str, Any]:
    """Look at both sides now and return the `observation` of node-protocol.md.

    `expected` is the id that the baseline must have (`baseline.find_expected`). A resource that cannot be read is
    marked `unreadable`, and the rest goes on. Raises NodeError when the server cannot be reached, the baseline is not
    what was written, or a side is a network of sites.
    """
    between: Between = (
        OneServer(production, source, defaults_file=defaults_file, state_dir=state_dir)
        if peer is None
        else TwoNodes(
            production, source, protection, defaults_file=defaults_file, state_dir=state_dir, peer=peer
        )
    )
    baseline = between.read_baseline()
    refused = find_misfit(baseline, production_id=production.id, expected=expected)
    if refused:
        baseline = None  # nothing is known then
    taken_at = clock.read_now()
    look = _Look(protection, *between.survey(protection), baseline)
    resources = [_make_resource(look, kind, name) for kind, name in _find_names(look)]
    _add_equality(between, look, resources)
    _add_samples(between, look, resources)
    found = {
        "taken_at": taken_at,
        "baseline": baseline and {name: baseline[name] for name in ("id", "taken_at", "job_id")},
        "baseline_refused": refused,
        "source_fingerprint": _make_fingerprint(resources),
        "pending_upgrade": _find_pending_upgrade(between, look),
        "schema_differences": _find_schema_differences(look, resources),
        "source_only": _find_source_only(between, resources),
        "resources": resources,
    }
    return {"id": _digest(found), **found}


def _find_names(look: _Look) -> List[List[str]]:
    """Every resource that either side or the baseline knows, by kind and name; volatile ones nowhere."""
    protection = look.protection
    names: Dict[str, Set[str]] = {
        kind: look.production.names(kind) | look.source.names(kind)
        for kind in (TABLE, OPTION, COMPONENT, PATH)
    }
    for kind, name in map(split_key, look.known):
        if _is_measured(protection, kind, name):
            names[kind].add(name)
    names[TABLE] |= {name for name in protection.protected_tables if "*" not in name}
    names[TABLE].discard(OPTIONS_TABLE)
    return [[kind, name] for kind, found in names.items() for name in sorted(found)]


def _is_measured(protection: Protection, kind: str, name: str) -> bool:
    """Whether today's protection still looks at a resource that the baseline holds."""
    if kind == OPTION:
        return not protection.is_volatile_option(name)
    if kind == PATH:
        return protection.protected_paths.match(name) or protection.preserved_files.match(name)
    if kind == COMPONENT:
        return all(protection.is_code(path) for path in find_component_paths(name))
    return kind == TABLE


def _make_resource(look: _Look, kind: str, name: str) -> Resource:
    ours, theirs = look.production.get(kind, name), look.source.get(kind, name)
    before = look.known.get(make_key(kind, name), {})
    return {
        "kind": kind,
        "name": name,
        "protection": _classify(look.protection, kind, name),
        "production": ours.digest,
        "production_baseline": before.get("production"),
        "source": theirs.digest,
        "source_baseline": before.get("source"),
        "equal": None,
        "proof": ours.proof or ("digest" if kind in (TABLE, OPTION) else "manifest"),
        "unreadable": _join_reasons(ours, theirs),
        "samples": [],
    }


def _classify(protection: Protection, kind: str, name: str) -> str:
    if kind == TABLE:
        return protection.classify_table(name)
    if kind == OPTION:
        return protection.classify_option(name)
    if kind == PATH:
        return PROTECTED if protection.protected_paths.match(name) else PRESERVED
    return MERGEABLE


def _join_reasons(ours: Measure, theirs: Measure) -> str:
    sides = (("production", ours.unreadable), ("source", theirs.unreadable))
    return "; ".join("%s: %s" % pair for pair in sides if pair[1])


def _add_equality(between: Between, look: _Look, resources: Iterable[Resource]) -> None:
    """Tell of each mergeable resource that changed on both sides whether it changed to the same."""
    if look.baseline is None:
        return
    both = [found for found in resources if _changed_on_both(found)]
    options = [found["name"] for found in both if found["kind"] == OPTION]
    try:
        same_options = between.compare_options(options)
    except DatabaseError as error:
        same_options = {}
        for found in both:
            if found["kind"] == OPTION:
                found["unreadable"] = error.message
    for found in both:
        if found["kind"] == OPTION:
            found["equal"] = same_options.get(found["name"])
        elif found["kind"] == TABLE:
            _add_table_equality(between, found)
        else:
            found["equal"] = found["production"] == found["source"]


def _add_table_equality(between: Between, found: Resource) -> None:
    if found["production"] is None or found["source"] is None:
        found["equal"] = found["production"] == found["source"]
        return
    try:
        found["equal"] = between.compare_tables(found["name"])
    except DatabaseError as error:
        found["unreadable"] = error.message


def _changed_on_both(found: Resource) -> bool:
    changed = all(found[side] != found[side + "_baseline"] for side in ("production", "source"))
    return changed and found["protection"] == MERGEABLE and not found["unreadable"]


def _add_samples(between: Between, look: _Look, resources: Iterable[Resource]) -> None:
    """Name what differs on production from the baseline, where the baseline kept what that takes."""
    for found in resources:
        before, now = found["production_baseline"], found["production"]
        if found["unreadable"] or look.baseline is None or before == now:
            continue
        if found["kind"] in (OPTION, COMPONENT):  # one row, or one piece of code: its name says it all
            found["samples"] = [found["name"]]
        elif before is not None and now is not None:
            found["samples"] = _find_samples(between, found)[:SAMPLES]


def _find_samples(between: Between, found: Resource) -> List[str]:
    name, before = found["name"], found["production_baseline"]
    if found["kind"] == PATH:
        known = between.read_known_entries(before)
        if known is None:
            return []
        changed = find_changed_paths(known, between.read_entries(name)[0])[:SAMPLES]
        return [_name_path(name, path) for path in changed]
    try:
        return between.find_changed_rows(name, before)
    except DatabaseError as error:
        found["unreadable"] = error.message
        return []


def _find_schema_differences(look: _Look, resources: Iterable[Resource]) -> List[Dict[str, str]]:
    differences = []
    for found in resources:
        sides = [side.get(found["kind"], found["name"]).evidence for side in (look.production, look.source)]
        if found["kind"] == TABLE and found["protection"] in (PROTECTED, PRESERVED) and all(sides):
            difference = compare_schemas(*(side["schema"] for side in sides if side))
            if difference:
                differences.append({"table": found["name"], "difference": difference})
    return differences


def _find_pending_upgrade(between: Between, look: _Look) -> Optional[str]:
    if OPTION in look.production.failures:  # told by the option rows
        return None
    return between.find_pending_upgrade()


def _find_source_only(between: Between, resources: Iterable[Resource]) -> List[Dict[str, Any]]:
    """Only where the source's is not what was copied: else all it has came from production."""
    found_only = []
    for found in resources:
        if found["protection"] != PROTECTED or found["unreadable"]:
            continue
        if None in (found["production"], found["source"]) or found["source"] == found["source_baseline"]:
            continue
        if found["kind"] == TABLE:
            only = between.find_source_only(found["name"])
        else:
            only = _find_source_only_paths(between, found)
        if only:
            found_only.append(only)
    return found_only


def _find_source_only_paths(between: Between, found: Resource) -> Optional[Dict[str, Any]]:
    name, before = found["name"], found["production_baseline"]
    known = between.read_known_entries(before) if before else None
    ours, theirs = (_name_paths(name, entries) for entries in between.read_entries(name))
    return find_source_only_paths(name, ours, theirs, _name_paths(name, known or {}))


def _name_paths(folder: str, entries: Mapping[str, str]) -> Dict[str, str]:
    """A manifest by its paths as people read them, below `current`."""
    return {_name_path(folder, path): entry for path, entry in entries.items()}


def _name_path(folder: str, path: str) -> str:
    return describe_path(os.fsencode(os.path.join(folder, path).rstrip("/")))


def _make_fingerprint(resources: Iterable[Resource]) -> str:
    """One digest over all that could be promoted from the source."""
    return _digest(
        sorted(
            [found["kind"], found["name"], found["source"]]
            for found in resources
            if found["protection"] == MERGEABLE and found["source"] is not None
        )
    )


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
