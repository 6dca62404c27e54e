"""All that the REST facade and the command line may do: read the repo, and write intents. Nothing else.

Both callers get the same power as a pull request. Reads come from git alone, so they work without a daemon; a
write is a commit that is durable when the call returns.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from uuid import UUID

from reconciler.core.hold import Hold, list_freezes, list_stops
from reconciler.core.party import Parties, find_parties
from reconciler.core.world import IntentFile, SiteView
from reconciler.errors import PressluftError
from reconciler.index import Index, JobFilter, Placed, Position
from reconciler.ports import Branch, Clock, FleetRepo, LogEntry, Tip
from reconciler.preview import Preview, preview
from reconciler.request import (
    Conflict,
    GateUnmet,
    NotFound,
    Refused,
    Request,
    find_unmet,
    make_intent_name,
    write_all,
)
from schemas.fleet import Environment, Node
from schemas.intent import Intent, Promotion
from schemas.state import JobStatus
from schemas.status import BackupRecord, Blocked, DriftCheckRecord, EnvironmentRecord, JobRecord, SiteRecord

__all__ = [
    "Conflict",
    "EnvironmentEntry",
    "GateUnmet",
    "JobFilter",
    "NotFound",
    "Refused",
    "Request",
    "Service",
    "SiteEntry",
    "make_intent_name",
]

ALL_JOBS = JobFilter()


@dataclass(frozen=True, slots=True)
class SiteEntry:
    """A site with its record; `record` is `None` until a reconciler has met it."""

    view: SiteView
    record: SiteRecord | None


@dataclass(frozen=True, slots=True)
class EnvironmentEntry:
    """An environment with its record; `record` is `None` until a reconciler has met it."""

    site: SiteView
    environment: Environment
    record: EnvironmentRecord | None
    node_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Totals:
    """How much there is, over some sites or all."""

    jobs_running: int
    jobs_queued: int
    nodes: int
    sites: int
    jobs_unread: int
    """Jobs of the past that no list has needed yet and the background has not come to."""


@dataclass
class Service:
    """Reads and writes one fleet repo. Reads may come from any thread; writes come from one.

    `outlet` is what that one thread writes through, where it is not the thread that reads. `fetches_on_read`
    says that looking at the tip costs next to nothing, so that every read is of this very moment; where it costs
    an exchange with a remote, somebody calls `refresh` when the remote may have moved.
    """

    repo: FleetRepo
    clock: Clock
    outlet: FleetRepo | None = None
    fetches_on_read: bool = True
    _index: Index = field(init=False)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self._index = Index(self.repo)

    @contextmanager
    def reading(self) -> Iterator[Index]:
        """Hold the index still for one reader. Raises `Transient` or `RepoUnusable`."""
        with self._lock:
            if self.fetches_on_read:
                self._index.update(self.repo.fetch(), now=self.clock.now())
            yield self._index

    def refresh(self) -> bool:
        """Look at the repo now; returns whether anything moved. For the one thread that writes."""
        if self.fetches_on_read:
            with self._lock:
                return self._index.update(self.repo.fetch(), now=self.clock.now())
        tip = self.writing.fetch()
        with self._lock:
            return self._index.update(tip, now=self.clock.now())

    @property
    def tip(self) -> Tip:
        """Where the branches stood at the last look."""
        return self._index.tip

    @property
    def writing(self) -> FleetRepo:
        """The handle that writes go through."""
        return self.outlet or self.repo

    def warm_up(self, *, most: int) -> bool:
        """Glance at a few jobs that nobody asked for yet; returns whether any are left."""
        with self._lock:
            return self._index.warm_up(most=most)

    def list_sites(
        self, *, names: frozenset[str] | None = None, after: str = "", limit: int | None = None
    ) -> Sequence[SiteEntry]:
        """List the sites that have a valid `site.yaml`, by name; `names` narrows them down."""
        with self.reading() as index:
            views = (
                view
                for name, view in sorted(index.documents.sites.items())
                if view.document is not None and name > after and (names is None or name in names)
            )
            return [SiteEntry(view, index.read_site_record(view)) for view in islice(views, limit)]

    def find_site(self, site_id: UUID) -> SiteEntry:
        """Find a site by id. Raises `NotFound`."""
        with self.reading() as index:
            for view in index.documents.sites.values():
                if view.document is not None and view.document.metadata.id == site_id:
                    return SiteEntry(view, index.read_site_record(view))
        raise NotFound(f"there is no site {site_id}")

    def list_environments(self, site_id: UUID | None = None) -> Sequence[EnvironmentEntry]:
        """List the environments of one site, or of all."""
        with self.reading() as index:
            return [
                make_entry(index, Placed(view, environment))
                for view in index.documents.sites.values()
                if site_id is None or (view.document is not None and view.document.metadata.id == site_id)
                for environment in view.environments.values()
            ]

    def find_environment(self, environment_id: UUID) -> EnvironmentEntry:
        """Find an environment by id. Raises `NotFound`."""
        with self.reading() as index:
            placed = index.environments.get(environment_id)
            if placed is None or placed.site.document is None:
                raise NotFound(f"there is no environment {environment_id}")
            return make_entry(index, placed)

    def find_named(self, site: str, environment: str) -> EnvironmentEntry:
        """Find an environment by its site's and its own name. Raises `NotFound` that lists what there is."""
        with self.reading() as index:
            view = index.documents.sites.get(site)
            if view is None:
                known = ", ".join(sorted(index.documents.sites)) or "none"
                raise NotFound(f"there is no site {site!r} (there are: {known})")
            found = view.environments.get(environment)
            if found is None:
                known = ", ".join(sorted(view.environments)) or "none"
                raise NotFound(f"site {site!r} has no environment {environment!r} (it has: {known})")
            return make_entry(index, Placed(view, found))

    def find_node(self, name: str) -> Node:
        """Find a node by its name. Raises `NotFound` that lists what there is."""
        with self.reading() as index:
            nodes = index.documents.nodes
            if name not in nodes:
                raise NotFound(f"there is no node {name!r} (there are: {', '.join(sorted(nodes)) or 'none'})")
            return nodes[name]

    def list_jobs(
        self, wanted: JobFilter = ALL_JOBS, *, after: Position | None = None, limit: int | None = None
    ) -> Sequence[JobRecord]:
        """List jobs, newest first, with those whose intent is committed but not yet seen by a reconciler."""
        with self.reading() as index:
            return list(islice(index.list_jobs(wanted, after=after), limit))

    def find_job(self, job_id: UUID) -> JobRecord:
        """Find a job by id. Raises `NotFound`."""
        with self.reading() as index:
            job = index.read_job(job_id)
            has_ended = index.shelf.has_ended(job_id)
        if job is not None:
            return job
        raise NotFound(
            f"job {job_id} has ended and is archived: its record is in the fleet repo's history only"
            if has_ended
            else f"there is no job {job_id}"
        )

    def list_backups(self, environment_id: UUID) -> Sequence[BackupRecord]:
        """List an environment's backups, newest first. Raises `NotFound`."""
        entry = self.find_environment(environment_id)
        with self.reading() as index:
            found = [
                item for item in index.list_backups(entry.site.name) if item.environment_id == environment_id
            ]
        return sorted(found, key=lambda item: (item.created_at, item.id), reverse=True)

    def list_drift_checks(self, environment_id: UUID) -> Sequence[DriftCheckRecord]:
        """List the drift checks with this environment as source, newest first. Raises `NotFound`."""
        entry = self.find_environment(environment_id)
        with self.reading() as index:
            found = [
                check
                for check in index.list_drift_checks(entry.site.name)
                if check.source_environment_id == environment_id
            ]
        return sorted(found, key=lambda check: (check.checked_at, check.id), reverse=True)

    def find_drift_check(self, check_id: UUID) -> DriftCheckRecord:
        """Find a drift check by id. Raises `NotFound`."""
        with self.reading() as index:
            check = index.read_drift_check(check_id)
        if check is None:
            raise NotFound(f"there is no drift check {check_id}")
        return check

    def read_history(
        self, site: str, *, environment: str | None = None, limit: int = 50
    ) -> Sequence[LogEntry]:
        """Read what happened to a site or environment, newest first, from the log of the status branch."""
        path = f"status/{site}/environments/{environment}.yaml" if environment else f"status/{site}"
        with self.reading():
            return self.repo.read_log(Branch.STATUS, path=path, limit=limit)

    def count(self, sites: frozenset[str] | None = None) -> Totals:
        """Count what is there and what goes on; `sites` narrows it down."""
        with self.reading() as index:
            jobs = index.count_jobs(sites)
            views = [view for name, view in index.documents.sites.items() if sites is None or name in sites]
            used = {env.spec.node for view in views for env in view.environments.values()}
            return Totals(
                jobs_running=jobs[JobStatus.RUNNING],
                jobs_queued=jobs[JobStatus.QUEUED],
                nodes=len(used & index.documents.nodes.keys()),
                sites=sum(view.document is not None for view in views),
                jobs_unread=index.count_unread(),
            )

    def find_unmet(self, site: str, promotion: Promotion) -> tuple[Blocked, ...]:
        """Find the gates that shut out a promotion asked for now; a drift check on record is demanded (§4)."""
        with self.reading() as index:
            parties = find_parties(promotion, site=site, view=index.fleet)
            if not isinstance(parties, Parties):
                raise Refused(parties.message)
            return find_unmet(index, parties, promotion, now=self.clock.now())

    def list_holds(self) -> Mapping[str, tuple[Hold, ...]]:
        """List what holds promotions up by policy now; the fleet's own under an empty name, the others by site."""
        now = self.clock.now()
        with self.reading() as index:
            fleet, sites = index.documents.fleet, index.documents.sites
        everywhere = (*list_stops(fleet, None), *list_freezes(fleet, None, now=now))
        found = {
            name: (*list_stops(fleet, view.document), *list_freezes(fleet, view.document, now=now))
            for name, view in sorted(sites.items())
        }
        own = {name: tuple(hold for hold in holds if hold not in everywhere) for name, holds in found.items()}
        return {name: holds for name, holds in {"": everywhere, **own}.items() if holds}

    def find_intent(self, name: str) -> IntentFile:
        """Find a committed intent by its path, `SITE/NAME`, or its name where only one site has it.

        Raises `NotFound` that says what there is.
        """
        wanted = name.removeprefix("intents/").removesuffix(".yaml")
        with self.reading() as index:
            files = [file for found in index.intents.values() for file in found]
        found = [
            file
            for file in files
            if wanted
            in {(path := file.path.removesuffix(".yaml")).removeprefix("intents/"), path.split("/")[-1]}
        ]
        if len(found) == 1:
            return found[0]
        several = ", ".join(file.path for file in found)
        raise NotFound(
            f"several intents are called {name!r}: {several}; say SITE/NAME"
            if found
            else f"there is no intent {name!r} in the fleet repo, and no such file here"
        )

    def preview(self, file: IntentFile) -> Preview:
        """Tell what an intent would come to, by what git knows. Raises `Refused` or `NotFound`."""
        with self.reading() as index:
            return preview(index, file, now=self.clock.now())

    def request(self, site: str, intent: Intent) -> UUID:
        """Commit an intent and return its job's id; the commit is durable when this returns.

        Raises `Refused`, `NotFound`, `Conflict`, or `Transient` after bounded tries.
        """
        (answer,) = self.write([Request(site, intent)])
        if isinstance(answer, PressluftError):
            raise answer
        return answer

    def write(self, requests: Sequence[Request]) -> Sequence[UUID | PressluftError]:
        """Commit the intents of one actor, all at once; says of each which job it is or why it was refused."""
        return write_all(self, requests)


def make_entry(index: Index, placed: Placed) -> EnvironmentEntry:
    """Put an environment together with its record and its node's id."""
    node = index.documents.nodes.get(placed.environment.spec.node)
    record = index.read_environment_record(placed)
    return EnvironmentEntry(placed.site, placed.environment, record, node.metadata.id if node else None)
