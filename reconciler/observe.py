"""Reading the fleet at a commit. Trees are content-addressed, so what was parsed once is never parsed again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID

from reconciler.core.signer import SIGNERS_FILE, Keys, normalise, read_signers
from reconciler.core.world import FleetView, IntentFile, SiteView, StatusView
from reconciler.errors import RepoUnusable
from reconciler.ports import Entry, EntryKind, FleetRepo, Folder, Tip
from reconciler.site_status import NO_FOLDER, RECORD_LIMIT, SiteReader, SiteStatus
from schemas.document import DocumentInvalid, read_fleet_file, read_intent
from schemas.fleet import Environment, Fleet, FleetDocument, Node, Site
from schemas.intent import Intent
from schemas.model import Metadata
from schemas.status import BackupRecord, EnvironmentRecord, SiteRecord, make_record_path

DEFAULT_FLEET = Fleet(metadata=Metadata(name="pressluft"))
DocumentT = TypeVar("DocumentT", Fleet, Node, Site, Environment)
ResultT = TypeVar("ResultT")
DocumentKey = tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Documents:
    """What people wrote, without the intents. `broken` maps a file's path to why it is not in force."""

    fleet: Fleet
    nodes: Mapping[str, Node]
    sites: Mapping[str, SiteView]
    broken: Mapping[str, str]


@dataclass
class Observer:
    """Reads one repo; keeps what it parsed by blob and subtree id, as long as it is part of what was read last."""

    repo: FleetRepo
    _documents: dict[tuple[str, str], FleetDocument | str] = field(default_factory=dict)
    _intents: dict[str, dict[tuple[str, str], IntentFile]] = field(default_factory=dict)
    """By site, as long as they are in its folder."""
    _admitted: dict[UUID, IntentFile] = field(default_factory=dict)
    """By job, as long as it is open."""
    _sites: dict[str, SiteReader] = field(default_factory=dict)
    _documents_read: tuple[DocumentKey, Documents] | None = None
    _site_views: dict[tuple[str, str], tuple[SiteView, Mapping[str, str]]] = field(default_factory=dict)
    _intent_folders: dict[tuple[str, str], tuple[IntentFile, ...]] = field(default_factory=dict)

    def read_fleet(self, commit: str) -> FleetView:
        """Read everything people wrote, at one commit. What is broken is named in `broken`, not raised."""
        read = self.read_documents(commit)
        intents = tuple(file for folder in self.read_intent_folders(commit).values() for file in folder)
        return FleetView(commit, read.fleet, read.nodes, read.sites, intents, read.broken)

    def read_claimed_fleet(self, commit: str) -> FleetView:
        """Read what a claim saw, without the intents. Raises `RepoUnusable` when the commit is gone."""
        latest, views = self._documents_read, self._site_views
        read = self.read_documents(commit)
        self._documents_read, self._site_views = latest, {**self._site_views, **views}
        return FleetView(commit, read.fleet, read.nodes, read.sites, (), read.broken)

    def read_ids(self, tip: Tip) -> tuple[str | None, ...]:
        """Return the ids of all that a plan is made from: where they are equal, so is everything below them."""
        if tip.intents is None:
            return ()
        people = self._folder(tip.intents, "")
        ours = self._folder(tip.status, "") if tip.status else NO_FOLDER
        found = [find_entry(people, name) for name in ("pressluft.yaml", "nodes", "sites", "intents")]
        return tuple(entry.oid if entry else None for entry in (*found, find_entry(ours, "status")))

    def read_documents(self, commit: str) -> Documents:
        """Read Fleet, Nodes, Sites and Environments; the same value again where none of them changed."""
        parts = [find_entry(self._folder(commit, ""), name) for name in ("pressluft.yaml", "nodes", "sites")]
        key = tuple(part.oid if part else None for part in parts)
        if self._documents_read is None or self._documents_read[0] != key:
            self._documents_read = (key, self._parse_documents(commit))
        return self._documents_read[1]

    def _parse_documents(self, commit: str) -> Documents:
        broken: dict[str, str] = {}
        fleet = self._read_one(commit, "pressluft.yaml", Fleet, broken) or DEFAULT_FLEET
        nodes = dict(self._read_many(commit, "nodes", Node, broken))
        entries = [entry for entry in self._folder(commit, "sites").entries if entry.kind is EntryKind.FOLDER]
        known = self._site_views
        self._site_views = {
            (entry.name, entry.oid): known.get((entry.name, entry.oid))
            or self._parse_site(commit, entry.name)
            for entry in entries
        }
        for _, reasons in self._site_views.values():
            broken.update(reasons)
        sites = {view.name: view for view, _ in self._site_views.values()}
        return Documents(fleet, nodes, sites, broken)

    def _parse_site(self, commit: str, name: str) -> tuple[SiteView, Mapping[str, str]]:
        broken: dict[str, str] = {}
        document = self._read_one(commit, f"sites/{name}/site.yaml", Site, broken)
        environments = dict(self._read_many(commit, f"sites/{name}/environments", Environment, broken))
        return SiteView(name, document, environments), broken

    def read_intent_folders(self, commit: str) -> Mapping[str, tuple[IntentFile, ...]]:
        """Read the intents by site; a site's tuple is the very same one as long as its folder is."""
        entries = [
            entry for entry in self._folder(commit, "intents").entries if entry.kind is EntryKind.FOLDER
        ]
        known = self._intent_folders
        present = {entry.name for entry in entries}
        self._intents = {site: files for site, files in self._intents.items() if site in present}
        self._intent_folders = {
            (entry.name, entry.oid): known[entry.name, entry.oid]
            if (entry.name, entry.oid) in known
            else tuple(self._list_intents(commit, entry.name))
            for entry in entries
        }
        return {site: files for (site, _), files in self._intent_folders.items()}

    def _read_one(
        self, commit: str, path: str, model: type[DocumentT], broken: dict[str, str]
    ) -> DocumentT | None:
        folder, _, name = path.rpartition("/")
        entry = find_entry(self._folder(commit, folder), name)
        return self._read_document(entry, path, model, broken) if entry else None

    def _read_many(
        self, commit: str, path: str, model: type[DocumentT], broken: dict[str, str]
    ) -> Iterator[tuple[str, DocumentT]]:
        for entry in self._folder(commit, path).entries:
            if entry.name.endswith(".yaml"):
                document = self._read_document(entry, f"{path}/{entry.name}", model, broken)
                if document is not None:
                    yield entry.name.removesuffix(".yaml"), document

    def _read_document(
        self, entry: Entry, path: str, model: type[DocumentT], broken: dict[str, str]
    ) -> DocumentT | None:
        if entry.kind is not EntryKind.FILE:
            broken[path] = f"{path}: expected a plain file, not a link, a folder or a submodule"
            return None
        key = (path, entry.oid)
        if key not in self._documents:
            self._documents[key] = attempt(lambda: read_fleet_file(self.repo.read_blob(entry.oid), path=path))
        found = self._documents[key]
        if isinstance(found, model):
            return found
        broken[path] = str(found) if isinstance(found, str) else f"{path}: expected kind {model.__name__}"
        return None

    def _list_intents(self, commit: str, site: str) -> Iterator[IntentFile]:
        before = self._intents.get(site, {})
        self._intents[site] = kept = {}
        for entry in self._folder(commit, f"intents/{site}").entries:
            path = f"intents/{site}/{entry.name}"
            if entry.kind is not EntryKind.FILE:
                reason = f"{path}: expected a plain file, not a link, a folder or a submodule"
                yield IntentFile(path, site, entry.oid, None, reason)
            elif entry.name.endswith((".yaml", ".yml")):
                key = (path, entry.oid)
                kept[key] = before.get(key) or self._read_intent_file(path, site, entry.oid)
                yield kept[key]

    def _read_intent_file(self, path: str, site: str, oid: str) -> IntentFile:
        found = attempt(lambda: read_intent(self.repo.read_blob(oid), path=path))
        if isinstance(found, str):
            return IntentFile(path, site, oid, None, found)
        return IntentFile(path, site, oid, found)

    def read_intents(self, status: StatusView) -> Mapping[UUID, Intent]:
        """Read the admitted version of each open job's intent, by the blob that was admitted."""
        before, self._admitted = self._admitted, {}
        for job in status.jobs.values():
            if job.intent_blob_id is None or job.intent_path is None:
                continue
            key, known = (job.intent_path, job.intent_blob_id), before.get(job.id)
            if known is None or (known.path, known.blob_id) != key:
                known = self._intents.get(job.site, {}).get(key)
            with suppress(RepoUnusable):  # the blob is gone, or somebody wrote another id into the record
                self._admitted[job.id] = known or self._read_intent_file(key[0], job.site, key[1])
        return {job_id: file.intent for job_id, file in self._admitted.items() if file.intent is not None}

    def read_status(self, commit: str | None) -> StatusView:
        """Read what the reconciler wrote and still needs, at one commit."""
        if commit is None:
            return StatusView(None)
        entries = [
            entry for entry in self._folder(commit, "status").entries if entry.kind is EntryKind.FOLDER
        ]
        known = self._sites
        self._sites = {
            entry.name: known.get(entry.name) or SiteReader(self.repo, entry.name) for entry in entries
        }
        by_site = {entry.name: self._sites[entry.name].read(commit, entry.oid) for entry in entries}
        parts = tuple(by_site.values())
        checks = sorted((check for part in parts for check in part.drift_checks), key=lambda c: c.checked_at)
        return StatusView(
            commit,
            jobs={job.id: job for part in parts for job in part.jobs},
            ended_by_site={name: part.ended for name, part in by_site.items()},
            environments=choose_newest(env for part in parts for env in part.environments),
            sites={part.site.id: part.site for part in parts if part.site},
            backups=join_backups(part.backups for part in parts),
            drift_checks={check.source_environment_id: check for check in checks},
            paths=find_paths(by_site),
            allowed_signers=self._read_signers(commit),
            damaged={job_id: name for name, part in by_site.items() for job_id in part.damaged},
        )

    def _read_signers(self, commit: str) -> Keys:
        entry = find_entry(self._folder(commit, "status"), SIGNERS_FILE.rpartition("/")[2])
        if entry is None or entry.kind is not EntryKind.FILE:
            return None
        return read_signers(self.repo.read_blob(entry.oid, limit=RECORD_LIMIT))

    def read_allowed_signers(self, oid: str | None) -> Keys | str:
        """Read the keys that a version of `pressluft.yaml` names; a text where it is broken."""
        if oid is None:
            return None
        key = ("pressluft.yaml", oid)
        if key not in self._documents:
            self._documents[key] = attempt(lambda: read_fleet_file(self.repo.read_blob(oid), path=key[0]))
        found = self._documents[key]
        return normalise(found.spec.allowed_signers) if isinstance(found, Fleet) else str(found)

    def _folder(self, commit: str, path: str) -> Folder:
        return self.repo.read_folder(commit, path) or NO_FOLDER


def find_entry(folder: Folder, name: str) -> Entry | None:
    """Find a name in a folder."""
    return next((entry for entry in folder.entries if entry.name == name), None)


def choose_newest(records: Iterable[EnvironmentRecord]) -> Mapping[UUID, EnvironmentRecord]:
    """Choose, of several records of one environment, the one that was changed most often."""
    chosen: dict[UUID, EnvironmentRecord] = {}
    for record in records:
        if record.id not in chosen or record.state_version > chosen[record.id].state_version:
            chosen[record.id] = record
    return chosen


def join_backups(
    parts: Iterable[Mapping[UUID, tuple[BackupRecord, ...]]],
) -> Mapping[UUID, tuple[BackupRecord, ...]]:
    """Join what the sites' folders hold: of a site that was renamed, two hold backups of one environment."""
    joined: dict[UUID, tuple[BackupRecord, ...]] = {}
    for part in parts:
        for environment_id, backups in part.items():
            joined[environment_id] = joined.get(environment_id, ()) + backups
    return joined


def find_paths(sites: Mapping[str, SiteStatus]) -> Mapping[UUID, frozenset[str]]:
    """Find where the records of environments and sites lie, by the folders they were found in."""
    found: dict[UUID, frozenset[str]] = {}
    for folder, part in sites.items():
        records: list[EnvironmentRecord | SiteRecord] = [*part.environments]
        records += [part.site] if part.site else []
        for record in records:
            path = make_record_path(record, site=folder)
            found[record.id] = found.get(record.id, frozenset()) | {path}
    return found


def attempt(read: Callable[[], ResultT]) -> ResultT | str:
    """Return what was read, or the words of why it could not be."""
    try:
        return read()
    except DocumentInvalid as error:
        return str(error)
