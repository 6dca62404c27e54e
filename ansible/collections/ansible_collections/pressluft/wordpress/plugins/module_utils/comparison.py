"""How the two sides of an observation are looked at and compared: on one server, or on two nodes.

On one server both are read side by side. Two nodes tell each other only digests, sums, keys and names. The baseline
lies on production's node in either case: its digests are of what that node measured, under that node's seal.
"""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.pressluft.wordpress.plugins.module_utils.baseline import (
    Baseline,
    read_baseline,
    read_evidence,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import connect
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import Environment
from ansible_collections.pressluft.wordpress.plugins.module_utils.equality import (
    compare_options,
    compare_tables,
    make_rewriter,
    match_options,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.localise import find_changed_keys
from ansible_collections.pressluft.wordpress.plugins.module_utils.measure import Side
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import (
    PATH,
    SAMPLES,
    TABLE,
    Protection,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.source_only import find_source_only
from ansible_collections.pressluft.wordpress.plugins.module_utils.stream_peer import RemoteSite
from ansible_collections.pressluft.wordpress.plugins.module_utils.stream_site import LocalSite
from ansible_collections.pressluft.wordpress.plugins.module_utils.survey import Surveyor, survey_sides
from ansible_collections.pressluft.wordpress.plugins.module_utils.upgrade import (
    VERSION_OPTION,
    describe_pending,
    find_pending_upgrade,
)

DEFINITION = "definition"
"""The sample of a table whose definition differs."""


class OneServer:
    """Both sides on this node. Whatever cannot be read raises DatabaseError."""

    def __init__(
        self, production: Environment, source: Environment, *, defaults_file: str, state_dir: str
    ) -> None:
        self._sides = (production, source)
        self._defaults_file, self._state_dir = defaults_file, state_dir
        self._seen: Sequence[Side] = ()

    def read_baseline(self) -> Optional[Baseline]:
        """Read what both sides were when the source was copied."""
        return read_baseline(self._state_dir, self._sides[1].id)

    def survey(self, protection: Protection) -> Sequence[Side]:
        """Measure production and source."""
        surveyors = [Surveyor(side, protection, state_dir=self._state_dir) for side in self._sides]
        self._seen = survey_sides(surveyors, defaults_file=self._defaults_file)
        return self._seen

    def compare_options(self, names: Sequence[str]) -> Dict[str, bool]:
        """Tell for each option row whether both sides hold the same after rewriting."""
        with closing(connect(self._defaults_file)) as connection:
            return compare_options(connection, *self._sides, names=names)

    def compare_tables(self, name: str) -> bool:
        """Tell whether a table holds the same rows on both sides after rewriting."""
        with closing(connect(self._defaults_file)) as connection:
            return compare_tables(connection, *self._sides, name=name)

    def find_pending_upgrade(self) -> Optional[str]:
        """Say which database upgrade the source's code would ask production for."""
        with closing(connect(self._defaults_file)) as connection:
            return find_pending_upgrade(connection, *self._sides)

    def find_source_only(self, name: str) -> Optional[Dict[str, Any]]:
        """Find rows whose key exists only on the source."""
        with closing(connect(self._defaults_file)) as connection:
            return find_source_only(connection, *self._sides, name=name)

    def find_changed_rows(self, name: str, before: str) -> List[str]:
        """Name production's rows that differ from the baseline's digest `before`, if its evidence was kept."""
        production = self._sides[0]
        evidence = read_evidence(self._state_dir, self._sides[1].id, before)
        now = self._seen[0].get(TABLE, name).evidence
        if evidence is None or now is None:
            return []
        if evidence["schema"] != now["schema"]:
            return [DEFINITION]
        with closing(connect(self._defaults_file)) as connection:
            place = (production.database, production.table(name))
            return find_changed_keys(connection, *place, evidence=evidence, now=now["chunks"])

    def read_entries(self, name: str) -> Tuple[Mapping[str, str], Mapping[str, str]]:
        """The manifests of a protected folder on production and on the source."""
        ours, theirs = (side.get(PATH, name).evidence or {} for side in self._seen)
        return ours.get("entries", {}), theirs.get("entries", {})

    def read_known_entries(self, before: str) -> Optional[Mapping[str, str]]:
        """The manifest behind a digest of the baseline, None where it was not kept."""
        evidence = read_evidence(self._state_dir, self._sides[1].id, before)
        return None if evidence is None else evidence["entries"]


class TwoNodes:
    """Production on one node and the source on another, one of them this one. `peer` is the other node."""

    def __init__(
        self,
        production: Environment,
        source: Environment,
        protection: Protection,
        *,
        defaults_file: str,
        state_dir: str,
        peer: Any,
    ) -> None:
        is_production_here = peer.environment.id == source.id
        sides = (production, source) if is_production_here else (source, production)
        here = LocalSite(*sides, protection=protection, defaults_file=defaults_file, state_dir=state_dir)
        there = RemoteSite(peer)
        self._production, self._source = (here, there) if is_production_here else (there, here)

    def read_baseline(self) -> Optional[Baseline]:
        """Read what both sides were when the source was copied."""
        found: Optional[Baseline] = self._production.read_baseline()
        return found

    def survey(self, _protection: Protection) -> Sequence[Side]:
        """Measure production and source at the same time, each on its node."""
        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(lambda site: site.survey(), (self._production, self._source)))

    def compare_options(self, names: Sequence[str]) -> Dict[str, bool]:
        """Tell for each option row whether both sides hold the same after rewriting."""
        if not names:
            return {}
        ours, theirs = (site.read_options(names) for site in (self._production, self._source))
        rewriter = make_rewriter(self._production.environment, self._source.environment)
        return match_options(ours, theirs, names, rewriter=rewriter)

    def compare_tables(self, name: str) -> bool:
        """Tell whether a table holds the same rows on both sides after rewriting."""
        ours = self._production.sum_table(name, rewritten=False)
        return bool(ours == self._source.sum_table(name, rewritten=True))

    def find_pending_upgrade(self) -> Optional[str]:
        """Say which database upgrade the source's code would ask production for."""
        row = self._production.read_options([VERSION_OPTION]).get(VERSION_OPTION)
        needed = self._source.read_code_version()
        return describe_pending(needed, row, self._production.environment, self._source.environment)

    def find_source_only(self, name: str) -> Optional[Dict[str, Any]]:
        """Find rows whose key exists only on the source."""
        known = array("Q", sorted(map(_shorten, self._production.list_keys(name))))
        count, samples = 0, []
        for key in self._source.list_keys(name):
            if not _has(known, _shorten(key)):
                count += 1
                samples += [key] if count <= SAMPLES else []
        return {"table": name, "count": count, "samples": samples} if count else None

    def find_changed_rows(self, name: str, before: str) -> List[str]:
        """Name production's rows that differ from the baseline's digest `before`, if its evidence was kept."""
        return list(self._production.find_changed_rows(name, before))

    def read_entries(self, name: str) -> Tuple[Mapping[str, str], Mapping[str, str]]:
        """The manifests of a protected folder on production and on the source."""
        return self._production.read_entries(name), self._source.read_entries(name)

    def read_known_entries(self, before: str) -> Optional[Mapping[str, str]]:
        """The manifest behind a digest of the baseline, None where it was not kept."""
        found: Optional[Mapping[str, str]] = self._production.read_known_entries(before)
        return found


def _shorten(key: str) -> int:
    """Eight bytes for a key: this is for showing, no verdict rests on it."""
    return int.from_bytes(hashlib.blake2b(key.encode("utf-8"), digest_size=8).digest(), "big")


def _has(known: Sequence[int], wanted: int) -> bool:
    place = bisect_left(known, wanted)
    return place < len(known) and known[place] == wanted
