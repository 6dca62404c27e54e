"""Where each record lies under `status/`: names and blob ids only, kept current by comparing subtree ids.

Reading contents is for whoever needs them. With 20,000 jobs the names are listed in a second; their contents
would take ten.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from uuid import UUID

from reconciler.ports import Entry, EntryKind, FleetRepo, Folder
from reconciler.site_status import ENDED_LIMIT, NO_FOLDER, parse_record_id


class Kind(StrEnum):
    """The folders of a site that hold one record a file, by month."""

    JOBS = "jobs"
    BACKUPS = "backups"
    DRIFT_CHECKS = "drift-checks"


@dataclass(frozen=True, slots=True)
class Leaf:
    """One record's file. `name` is what it is called without `.yaml`, `month` empty where there is none."""

    site: str
    month: str
    name: str
    path: str
    oid: str


@dataclass(slots=True)
class SiteNode:
    """What is known of `status/<site>`: subtree ids, and the leaves below them."""

    oid: str = ""
    folders: dict[str, tuple[str, dict[UUID, Leaf]]] = field(default_factory=dict)
    """`jobs/2026-03` to its tree's id and its leaves."""
    environments: dict[str, Leaf] = field(default_factory=dict)
    site: Leaf | None = None
    ended: str = ""
    """The blob id of `ended.txt`."""
    ended_ids: frozenset[str] = frozenset()


@dataclass
class Shelf:
    """All leaves of the status branch at one commit. One thread at a time."""

    repo: FleetRepo
    leaves: Mapping[Kind, dict[UUID, Leaf]] = field(default_factory=lambda: {kind: {} for kind in Kind})
    months: dict[str, dict[UUID, Leaf]] = field(default_factory=dict)
    """The jobs of each month, over all sites."""
    changes: dict[str, int] = field(default_factory=dict)
    """How often the jobs of each month changed: what was made of them before may be stale."""
    open_jobs: dict[UUID, Leaf] = field(default_factory=dict)
    """The jobs that `ended.txt` does not name."""
    _oid: str = ""
    _sites: dict[str, SiteNode] = field(default_factory=dict)

    def update(self, commit: str | None) -> None:
        """Look at a commit of the status branch; only what changed is listed anew."""
        root = (self.repo.read_folder(commit, "status") if commit else None) or NO_FOLDER
        if root.oid == self._oid:
            return
        present = {entry.name: entry for entry in root.entries if entry.kind is EntryKind.FOLDER}
        for name in self._sites.keys() - present.keys():
            self._forget_site(name)
        for name, entry in present.items():
            node = self._sites.setdefault(name, SiteNode())
            if node.oid != entry.oid and commit is not None:
                self._update_site(commit, name, node)
                node.oid = entry.oid
        self._oid = root.oid

    def find_site(self, site: str) -> SiteNode | None:
        """Return what is known of one site's folder."""
        return self._sites.get(site)

    def list_leaves(self, site: str, kind: Kind) -> Iterator[tuple[UUID, Leaf]]:
        """List one site's leaves of a kind."""
        node = self._sites.get(site)
        for path, (_, leaves) in node.folders.items() if node else ():
            if path.startswith(f"{kind}/"):
                yield from leaves.items()

    def is_known(self, job_id: UUID, *, site: str) -> bool:
        """Whether the job was ever recorded: it has a record, or the site's list of ended jobs names it."""
        node = self._sites.get(site)
        return job_id in self.leaves[Kind.JOBS] or (node is not None and str(job_id) in node.ended_ids)

    def has_ended(self, job_id: UUID) -> bool:
        """Whether any site's list of ended jobs names it; its record may be archived."""
        return any(str(job_id) in node.ended_ids for node in self._sites.values())

    def _forget_site(self, name: str) -> None:
        node = self._sites.pop(name)
        for path in list(node.folders):
            self._drop_folder(node, path)

    def _update_site(self, commit: str, name: str, node: SiteNode) -> None:
        root = f"status/{name}"
        entries = {entry.name: entry for entry in self._list(commit, root).entries}
        site = self._make_leaf(name, "", entries.get("site.yaml"), root)
        node.site = replace(site, name=name) if site else None  # the record is called as the folder is
        node.environments = {
            leaf.name: leaf
            for entry in self._list(commit, f"{root}/environments").entries
            if (leaf := self._make_leaf(name, "", entry, f"{root}/environments")) is not None
        }
        for kind in Kind:
            self._update_kind(commit, name, node, kind)
        self._update_open(node, entries.get("ended.txt"))

    def _update_kind(self, commit: str, site: str, node: SiteNode, kind: Kind) -> None:
        entries = self._list(commit, f"status/{site}/{kind}").entries
        months = {f"{kind}/{entry.name}": entry for entry in entries if entry.kind is EntryKind.FOLDER}
        for path in [path for path in node.folders if path.startswith(f"{kind}/") and path not in months]:
            self._drop_folder(node, path)
        for path, entry in months.items():
            if path not in node.folders or node.folders[path][0] != entry.oid:
                fresh = dict(self._list_month(commit, site, path))
                self._drop_folder(node, path)
                node.folders[path] = (entry.oid, fresh)
                self._add_leaves(path, fresh)

    def _list_month(self, commit: str, site: str, path: str) -> Iterator[tuple[UUID, Leaf]]:
        root, month = f"status/{site}/{path}", path.partition("/")[2]
        for entry in self._list(commit, root).entries:
            leaf = self._make_leaf(site, month, entry, root)
            record_id = parse_record_id(leaf.name) if leaf else None
            if leaf is not None and record_id is not None:
                yield record_id, leaf

    def _add_leaves(self, path: str, fresh: Mapping[UUID, Leaf]) -> None:
        kind, _, month = path.partition("/")
        self.leaves[Kind(kind)].update(fresh)
        if kind == Kind.JOBS:
            self.changes[month] = self.changes.get(month, 0) + 1
            self.months.setdefault(month, {}).update(fresh)

    def _drop_folder(self, node: SiteNode, path: str) -> None:
        kind, _, month = path.partition("/")
        if kind == Kind.JOBS:
            self.changes[month] = self.changes.get(month, 0) + 1
        places = [self.leaves[Kind(kind)]]
        places += [self.months.setdefault(month, {}), self.open_jobs] if kind == Kind.JOBS else []
        for record_id, leaf in node.folders.pop(path, ("", {}))[1].items():
            for place in places:
                if place.get(record_id) is leaf:  # a forged second file of the same name may have taken it
                    del place[record_id]

    def _update_open(self, node: SiteNode, ended: Entry | None) -> None:
        oid = ended.oid if ended is not None and ended.kind is EntryKind.FILE else ""
        if oid != node.ended:
            text = self.repo.read_blob(oid, limit=ENDED_LIMIT).decode(errors="replace") if oid else ""
            node.ended, node.ended_ids = oid, frozenset(text.split())
        for path, (_, leaves) in node.folders.items():
            if path.startswith(f"{Kind.JOBS}/"):
                for job_id, leaf in leaves.items():
                    if leaf.name in node.ended_ids:
                        self.open_jobs.pop(job_id, None)
                    else:
                        self.open_jobs[job_id] = leaf

    @staticmethod
    def _make_leaf(site: str, month: str, entry: Entry | None, folder: str) -> Leaf | None:
        if entry is None or entry.kind is not EntryKind.FILE or not entry.name.endswith(".yaml"):
            return None
        return Leaf(site, month, entry.name.removesuffix(".yaml"), f"{folder}/{entry.name}", entry.oid)

    def _list(self, commit: str, path: str) -> Folder:
        return self.repo.read_folder(commit, path) or NO_FOLDER
