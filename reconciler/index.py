"""What the facade and the command line read: the fleet at one commit, by id, without reading history at each look.

Fleet files are parsed once per content, records when somebody asks for them. Lists of jobs go from the newest
month backwards and glance at one month's records at a time, so that a page costs a page.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from uuid import UUID

from reconciler.core.admission import admit, find_job_id
from reconciler.core.world import FleetView, IntentFile, SiteView, StatusView, World
from reconciler.observe import DEFAULT_FLEET, Documents, Observer
from reconciler.ports import FleetRepo, Tip
from reconciler.shelf import Kind, Leaf, Shelf
from reconciler.site_status import RECORD_LIMIT, RecordT, group_backups, parse_record
from schemas.canonical import JobGlance, glance_at_job, make_glance
from schemas.fleet import Environment
from schemas.intent import Cancel
from schemas.state import JobStatus
from schemas.status import (
    BackupRecord,
    DriftCheckRecord,
    EnvironmentRecord,
    JobRecord,
    SiteRecord,
    StatusRecord,
    make_month,
    make_record_path,
)

MOST_KEPT = 4096
"""How many parsed records are kept; the rest is read again when asked for."""
NOTHING = Documents(DEFAULT_FLEET, {}, {}, {})
Position = tuple[datetime, UUID]
"""Where a job stands in lists, which are sorted by it, newest first."""
Placing = tuple[Position, Leaf | JobRecord]
Glanced = tuple[Position, Leaf, JobGlance]


@dataclass(frozen=True, slots=True)
class Placed:
    """An environment with its site."""

    site: SiteView
    environment: Environment


@dataclass(frozen=True, slots=True)
class JobFilter:
    """What a list of jobs is narrowed to; `None` takes all. `sites` are names."""

    site_id: UUID | None = None
    environment_id: UUID | None = None
    status: str | None = None
    job_type: str | None = None
    sites: frozenset[str] | None = None

    def takes(self, glance: JobGlance, site: str) -> bool:
        """Whether a job belongs into the list."""
        return (
            (self.sites is None or site in self.sites)
            and self.site_id in {None, glance.site_id}
            and self.environment_id in {None, glance.environment_id}
            and self.status in {None, glance.status}
            and self.job_type in {None, glance.job_type}
        )


@dataclass(frozen=True, slots=True)
class Pending:
    """A site's jobs that are committed and that no reconciler has recorded yet, with what they were made from."""

    files: tuple[IntentFile, ...]
    documents: Documents
    jobs: Mapping[UUID, JobRecord]


@dataclass
class Index:
    """The fleet at the tip last shown to `update`. One thread at a time."""

    repo: FleetRepo
    tip: Tip = field(default_factory=lambda: Tip(None, None))
    documents: Documents = NOTHING
    environments: Mapping[UUID, Placed] = field(default_factory=dict)
    pending: dict[UUID, JobRecord] = field(default_factory=dict)
    """The jobs whose intents are committed and not yet recorded, as `queued`."""
    intents: Mapping[str, tuple[IntentFile, ...]] = field(default_factory=dict)
    shelf: Shelf = field(init=False)
    _observer: Observer = field(init=False)
    _records: OrderedDict[str, StatusRecord] = field(default_factory=OrderedDict)
    _glances: dict[UUID, tuple[Leaf, JobGlance | None]] = field(default_factory=dict)
    _sorted: dict[str, tuple[int, Sequence[Glanced]]] = field(default_factory=dict)
    _pending_sites: dict[str, Pending] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.shelf = Shelf(self.repo)
        self._observer = Observer(self.repo)

    def update(self, tip: Tip, *, now: datetime) -> bool:
        """Move to a tip; returns whether anything is different there. `now` dates what is seen for the first time."""
        if tip == self.tip:
            return False
        documents = self._observer.read_documents(tip.intents) if tip.intents else NOTHING
        if documents is not self.documents:
            self.documents = documents
            self.environments = {
                env.metadata.id: Placed(site, env)
                for site in documents.sites.values()
                for env in site.environments.values()
            }
        self.intents = self._observer.read_intent_folders(tip.intents) if tip.intents else {}
        self.shelf.update(tip.status)
        self._update_pending(now)
        self.tip = tip
        return True

    @property
    def fleet(self) -> FleetView:
        """All that people wrote; the intents come by site in `intents`."""
        read = self.documents
        return FleetView(self.tip.intents or "", read.fleet, read.nodes, read.sites, (), read.broken)

    def _update_pending(self, now: datetime) -> None:
        """Find what waits for a reconciler. Sites without intents that are not known cost nothing."""
        known = self._pending_sites
        self._pending_sites = {}
        self.pending = {}
        for site, files in self.intents.items():
            before = known.get(site)
            if before is None or before.files is not files or before.documents is not self.documents:
                jobs = dict(self._list_pending(site, files, before, now=now))
            else:
                jobs = {
                    key: job for key, job in before.jobs.items() if not self.shelf.is_known(key, site=site)
                }
            self._pending_sites[site] = Pending(files, self.documents, jobs)
            self.pending.update(jobs)

    def _list_pending(
        self, site: str, files: Iterable[IntentFile], before: Pending | None, *, now: datetime
    ) -> Iterator[tuple[UUID, JobRecord]]:
        fleet, known = self.fleet, self._find_met_id(site)
        seen = before.jobs if before else {}
        for file in files:
            if isinstance(file.intent, Cancel):
                continue
            job_id = find_job_id(file, fleet, known_sites=known)
            if self.shelf.is_known(job_id, site=site):
                continue
            first_seen = seen[job_id].created_at if job_id in seen else now
            job = admit(file, job_id, view=fleet, now=first_seen)
            if job.status is JobStatus.QUEUED:
                yield job_id, job

    def _find_met_id(self, site: str) -> Mapping[str, UUID]:
        """Find the id a reconciler met a site with: it counts while the site's own file is broken."""
        node = self.shelf.find_site(site)
        record = self.read_record(node.site, SiteRecord) if node and node.site else None
        return {site: record.id} if record else {}

    def read_job(self, job_id: UUID) -> JobRecord | None:
        """Read one job, one that waits for its reconciler included."""
        leaf = self.shelf.leaves[Kind.JOBS].get(job_id)
        return self.read_record(leaf, JobRecord) if leaf else self.pending.get(job_id)

    def list_jobs(self, wanted: JobFilter, *, after: Position | None = None) -> Iterator[JobRecord]:
        """Read jobs, newest first, beginning after a position. Lazy: take what a page needs."""
        recorded = self._list_recorded(wanted, after)
        pending = sorted(
            (
                ((glance.created_at, glance.id), job)
                for job in self.pending.values()
                if wanted.takes(glance := make_glance(job), job.site)
            ),
            key=lambda item: item[0],
            reverse=True,
        )
        merged = heapq.merge(recorded, pending, key=lambda item: item[0], reverse=True)
        for position, found in merged:
            if after is not None and position >= after:
                continue
            job = self.read_record(found, JobRecord) if isinstance(found, Leaf) else found
            if job is not None:
                yield job

    def _list_recorded(self, wanted: JobFilter, after: Position | None) -> Iterator[Placing]:
        """List positions and leaves, newest first, from a position on."""
        if wanted.status in {JobStatus.QUEUED, JobStatus.RUNNING}:
            placings = self._sort(self.shelf.open_jobs)
            yield from (item[:2] for item in placings if wanted.takes(item[2], item[1].site))
            return
        for month in sorted(self.shelf.months, reverse=True):
            if after is not None and month > make_month(after[0]):
                continue
            placings = self._sort_month(month)
            begin = bisect_left(placings, 1, key=lambda item: int(after is None or item[0] < after))
            for position, leaf, glance in islice(placings, begin, None):
                if wanted.takes(glance, leaf.site):
                    yield position, leaf

    def _sort_month(self, month: str) -> Sequence[Glanced]:
        """Sort a month's jobs, newest first; sorted again only when one of them has changed."""
        if not self._is_sorted(month):
            stamp = self.shelf.changes.get(month, 0)
            self._sorted[month] = (stamp, self._sort(self.shelf.months[month]))
        return self._sorted[month][1]

    def _is_sorted(self, month: str) -> bool:
        known = self._sorted.get(month)
        return known is not None and known[0] == self.shelf.changes.get(month, 0)

    def _sort(self, leaves: Mapping[UUID, Leaf]) -> Sequence[Glanced]:
        found = [
            ((glance.created_at, glance.id), leaf, glance)
            for job_id, leaf in leaves.items()
            if (glance := self._glance(job_id, leaf)) is not None
        ]
        return sorted(found, key=lambda item: item[0], reverse=True)

    def _glance(self, job_id: UUID, leaf: Leaf) -> JobGlance | None:
        known = self._glances.get(job_id)
        if known is None or known[0].oid != leaf.oid:
            known = (leaf, self._read_glance(leaf))
            self._glances[job_id] = known
        return known[1]

    def _read_glance(self, leaf: Leaf) -> JobGlance | None:
        """Glance at a record; one in another month's folder than it says was not put there by us."""
        glance = glance_at_job(self.repo.read_blob(leaf.oid, limit=RECORD_LIMIT), record_id=leaf.name)
        if glance is None:
            job = self.read_record(leaf, JobRecord)
            glance = make_glance(job) if job else None
        return glance if glance and make_month(glance.created_at) == leaf.month else None

    def warm_up(self, *, most: int) -> bool:
        """Glance at a few more jobs, newest months first, then sort a month; returns whether any work is left."""
        cold = (
            (job_id, leaf)
            for month in sorted(self.shelf.months, reverse=True)
            for job_id, leaf in self.shelf.months[month].items()
            if job_id not in self._glances
        )
        found = list(islice(cold, most))
        for job_id, leaf in found:
            self._glance(job_id, leaf)
        if found:
            return True
        unsorted = next((month for month in self.shelf.months if not self._is_sorted(month)), None)
        if unsorted is not None:
            self._sort_month(unsorted)
        return unsorted is not None

    def count_unread(self) -> int:
        """Count the jobs that nobody has glanced at yet: their months take longer to list."""
        return len(self.shelf.leaves[Kind.JOBS].keys() - self._glances.keys())

    def count_jobs(self, sites: frozenset[str] | None = None) -> Mapping[JobStatus, int]:
        """Count the jobs that have not ended."""
        statuses = [job.status for job in self.list_open_jobs() if sites is None or job.site in sites]
        return {status: statuses.count(status) for status in (JobStatus.QUEUED, JobStatus.RUNNING)}

    def list_open_jobs(self) -> Iterator[JobRecord]:
        """Read all jobs that have not ended, those that wait for a reconciler included."""
        for leaf in self.shelf.open_jobs.values():
            job = self.read_record(leaf, JobRecord)
            if job is not None:
                yield job
        yield from self.pending.values()

    def read_site_record(self, site: SiteView) -> SiteRecord | None:
        """Read a site's record, `None` until a reconciler has met it."""
        node = self.shelf.find_site(site.name)
        return self.read_record(node.site, SiteRecord) if node and node.site else None

    def read_environment_record(self, entry: Placed) -> EnvironmentRecord | None:
        """Read an environment's record, `None` until a reconciler has met it. The id counts, not the name."""
        node = self.shelf.find_site(entry.site.name)
        leaves = node.environments if node else {}
        name, wanted = entry.environment.metadata.name, entry.environment.metadata.id
        for leaf in sorted(leaves.values(), key=lambda leaf: leaf.name != name):
            record = self.read_record(leaf, EnvironmentRecord)
            if record is not None and record.id == wanted:
                return record
        return None

    def list_backups(self, site: str) -> Iterator[BackupRecord]:
        """Read a site's backups, in no order."""
        leaves = self.shelf.list_leaves(site, Kind.BACKUPS)
        return (found for _, leaf in leaves if (found := self.read_record(leaf, BackupRecord)) is not None)

    def list_drift_checks(self, site: str) -> Iterator[DriftCheckRecord]:
        """Read a site's drift checks, in no order."""
        leaves = self.shelf.list_leaves(site, Kind.DRIFT_CHECKS)
        return (
            found for _, leaf in leaves if (found := self.read_record(leaf, DriftCheckRecord)) is not None
        )

    def read_drift_check(self, check_id: UUID) -> DriftCheckRecord | None:
        """Read one drift check."""
        leaf = self.shelf.leaves[Kind.DRIFT_CHECKS].get(check_id)
        return self.read_record(leaf, DriftCheckRecord) if leaf else None

    def make_world(self, site: str, *, now: datetime) -> World:
        """Make the world in which the gates of one site are judged, when nothing runs here."""
        view = self.documents.sites[site]
        entries = [Placed(view, env) for env in view.environments.values()]
        records = [record for entry in entries if (record := self.read_environment_record(entry)) is not None]
        checks = [
            self.read_drift_check(env.last_drift_check_id) for env in records if env.last_drift_check_id
        ]
        status = StatusView(
            self.tip.status,
            environments={record.id: record for record in records},
            backups=group_backups(self.list_backups(site)),
            drift_checks={check.source_environment_id: check for check in checks if check is not None},
        )
        return World(self.fleet, status, outcomes={}, now=now, worker="", max_jobs=0)

    def read_record(self, leaf: Leaf, model: type[RecordT]) -> RecordT | None:
        """Read one record; what is not what we wrote says nothing."""
        found = self._records.get(leaf.oid)
        if found is None:
            data = self.repo.read_blob(leaf.oid, limit=RECORD_LIMIT)
            found = parse_record(data, model, name=leaf.name, path=leaf.path)
            if found is None:
                return None
            self._records[leaf.oid] = found
            if len(self._records) > MOST_KEPT:
                self._records.popitem(last=False)
        is_ours = isinstance(found, model) and make_record_path(found, site=leaf.site) == leaf.path
        return found if is_ours and isinstance(found, model) else None
