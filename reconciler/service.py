"""All that the REST facade and the command line may do: read the repo, and write intents. Nothing else.

Both callers get the same power as a pull request. Reads come from git alone, so they work without a daemon; a
write is a commit that is durable when the call returns.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID, uuid4

from reconciler.core.admission import admit, find_job_id
from reconciler.core.gate import find_last_check, find_unchecked, find_unmet_at_request, present
from reconciler.core.party import Misfit, Parties, Unsettled, find_parties
from reconciler.core.record import find_protection, require
from reconciler.core.world import FleetView, SiteView, StatusView, World
from reconciler.errors import PressluftError, TipMoved, Transient
from reconciler.observe import Observer
from reconciler.ports import Branch, Clock, CommitMessage, FleetRepo, LogEntry, Tip
from schemas.document import dump
from schemas.fleet import Environment
from schemas.intent import JOB_TYPES, Intent, Promotion, make_job_id
from schemas.state import JobStatus, JobType
from schemas.status import (
    BackupRecord,
    Blocked,
    DriftCheckRecord,
    EnvironmentRecord,
    JobRecord,
    SiteRecord,
)

MOST_TRIES = 50
TARGETING = frozenset({JobType.ENV_PROMOTE, JobType.ENV_RESTORE, JobType.RELEASE_ROLLBACK})
"""Job types of which only one may be open for a target (spec.md §8: `conflict`)."""


class NotFound(PressluftError):
    """There is no such site, environment, job or record."""


class Refused(PressluftError):
    """The intent does not fit the fleet; the message says why by name."""


class GateUnmet(PressluftError):
    """Gates are shut; `reasons` lists every one with what to do next."""

    def __init__(self, reasons: Sequence[Blocked]) -> None:
        super().__init__(reasons[0].detail)
        self.reasons = tuple(reasons)


class Conflict(PressluftError):
    """Another job on the same target is open."""


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


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The whole fleet as one look saw it."""

    tip: Tip
    fleet: FleetView
    status: StatusView


@dataclass
class Service:
    """Reads and writes one fleet repo. One thread at a time, as its repo."""

    repo: FleetRepo
    clock: Clock
    observer: Observer = field(init=False)

    def __post_init__(self) -> None:
        self.observer = Observer(self.repo)

    def look(self) -> Snapshot:
        """Look at the fleet now. Raises `Transient`, `RepoUnusable`, or `NotFound` for an empty repo."""
        tip = self.repo.fetch()
        if tip.intents is None:
            raise NotFound("the fleet repo has no commits yet: `pressluft init DIR` makes a first one")
        return Snapshot(tip, self.observer.read_fleet(tip.intents), self.observer.read_status(tip.status))

    def list_sites(self) -> Sequence[SiteEntry]:
        """List the sites that have a valid `site.yaml`, by name."""
        snapshot = self.look()
        return [
            SiteEntry(view, snapshot.status.sites.get(view.document.metadata.id))
            for view in snapshot.fleet.sites.values()
            if view.document is not None
        ]

    def list_environments(self, site_id: UUID | None = None) -> Sequence[EnvironmentEntry]:
        """List the environments of one site, or of all."""
        return list(iterate_environments(self.look(), site_id))

    def find_environment(self, environment_id: UUID) -> EnvironmentEntry:
        """Find an environment by id. Raises `NotFound`."""
        for entry in self.list_environments():
            if entry.environment.metadata.id == environment_id:
                return entry
        raise NotFound(f"there is no environment {environment_id}")

    def find_named(self, site: str, environment: str) -> EnvironmentEntry:
        """Find an environment by its site's and its own name. Raises `NotFound` that lists what there is."""
        view = self.look().fleet.sites.get(site)
        if view is None:
            known = ", ".join(sorted(self.look().fleet.sites)) or "none"
            raise NotFound(f"there is no site {site!r} (there are: {known})")
        for entry in self.list_environments():
            if entry.site.name == site and entry.environment.metadata.name == environment:
                return entry
        known = ", ".join(sorted(view.environments)) or "none"
        raise NotFound(f"site {site!r} has no environment {environment!r} (it has: {known})")

    def list_jobs(
        self, *, site_id: UUID | None = None, environment_id: UUID | None = None
    ) -> Sequence[JobRecord]:
        """List all jobs, newest first, with those whose intent is committed but not yet seen by a reconciler."""
        snapshot = self.look()
        jobs = [*self._read_all_jobs(snapshot), *list_pending(snapshot, now=self.clock.now())]
        wanted = [
            job
            for job in jobs
            if (site_id is None or job.site_id == site_id)
            and (environment_id is None or environment_id in {job.environment_id, job.source_environment_id})
        ]
        return sorted(wanted, key=lambda job: (job.created_at, str(job.id)), reverse=True)

    def _read_all_jobs(self, snapshot: Snapshot) -> Iterator[JobRecord]:
        sites = {*snapshot.fleet.sites, *(job.site for job in snapshot.status.jobs.values())}
        sites |= set(snapshot.status.ended_by_site)
        for site in sorted(sites):
            yield from self.observer.read_jobs(snapshot.tip.status, site)

    def find_job(self, job_id: UUID) -> JobRecord:
        """Find a job by id. Raises `NotFound`."""
        for job in self.list_jobs():
            if job.id == job_id:
                return job
        raise NotFound(f"there is no job {job_id}")

    def list_backups(self, environment_id: UUID) -> Sequence[BackupRecord]:
        """List an environment's backups, newest first."""
        found = [item for item in self.look().status.backups if item.environment_id == environment_id]
        return sorted(found, key=lambda item: item.created_at, reverse=True)

    def list_drift_checks(self, environment_id: UUID) -> Sequence[DriftCheckRecord]:
        """List the drift checks with this environment as source, newest first."""
        entry = self.find_environment(environment_id)
        tip = self.look().tip
        found = [
            check
            for check in self.observer.read_drift_checks(tip.status, entry.site.name)
            if check.source_environment_id == environment_id
        ]
        return sorted(found, key=lambda check: check.checked_at, reverse=True)

    def find_drift_check(self, check_id: UUID) -> DriftCheckRecord:
        """Find a drift check by id. Raises `NotFound`."""
        snapshot = self.look()
        for site in snapshot.fleet.sites:
            for check in self.observer.read_drift_checks(snapshot.tip.status, site):
                if check.id == check_id:
                    return check
        raise NotFound(f"there is no drift check {check_id}")

    def read_history(
        self, site: str, *, environment: str | None = None, limit: int = 50
    ) -> Sequence[LogEntry]:
        """Read what happened to a site or environment, newest first, from the log of the status branch."""
        self.look()
        path = f"status/{site}/environments/{environment}.yaml" if environment else f"status/{site}"
        return self.repo.read_log(Branch.STATUS, path=path, limit=limit)

    def find_unmet(self, site: str, promotion: Promotion) -> tuple[Blocked, ...]:
        """Find the gates that shut out a promotion asked for now; a drift check on record is demanded (§4)."""
        snapshot = self.look()
        parties = find_parties(promotion, site=site, view=snapshot.fleet)
        if not isinstance(parties, Parties):
            raise Refused(parties.message)
        world = make_world(snapshot, now=self.clock.now())
        source = require(parties.source)
        unchecked = find_unchecked(
            find_last_check(world, source.metadata.id),
            copy=source.metadata.name,
            protection_digest=find_protection(parties).digest(),
            now=world.now,
            max_age=world.fleet.fleet.spec.drift_check_max_age,
        )
        takes_backup = promotion.spec.backup == "create"
        return (*present(unchecked), *find_unmet_at_request(parties, world, takes_backup=takes_backup))

    def promote(self, site: str, promotion: Promotion) -> UUID:
        """Write a promotion if its gates are open now; the job judges them again, live.

        Raises `GateUnmet` with every reason, `Conflict`, or `Refused`.
        """
        if promotion.spec.wait is None:
            unmet = self.find_unmet(site, promotion)
            if unmet:
                raise GateUnmet(unmet)
        return self.request(site, promotion)

    def request(self, site: str, intent: Intent) -> UUID:
        """Commit an intent and return its job's id; the commit is durable when this returns.

        Raises `Refused`, `NotFound`, `Conflict`, or `Transient` after bounded tries.
        """
        for _ in range(MOST_TRIES):
            snapshot = self.look()
            check_request(snapshot, site, intent, now=self.clock.now())
            try:
                self._push(snapshot, site, intent)
            except TipMoved:
                continue
            return self._find_request_id(snapshot, site, intent)
        raise Transient("the fleet repo is too busy: no room for one commit", retry_after=1)

    def _push(self, snapshot: Snapshot, site: str, intent: Intent) -> None:
        subject = f"request {make_words(intent)}: {site} {describe_request(intent)}"
        trailers = [("Pressluft-Job", str(self._find_request_id(snapshot, site, intent)))]
        if intent.spec.actor:
            trailers.append(("Pressluft-Actor", intent.spec.actor))
        self.repo.push_changes(
            Branch.INTENTS,
            expected=snapshot.tip.intents,
            changes={f"intents/{site}/{intent.metadata.name}.yaml": dump(intent)},
            message=CommitMessage(subject, intent.spec.reason or "", tuple(trailers)),
            author=intent.spec.actor,
        )

    @staticmethod
    def _find_request_id(snapshot: Snapshot, site: str, intent: Intent) -> UUID:
        document = snapshot.fleet.sites[site].document
        if document is None:
            raise Refused(f"sites/{site}/site.yaml is broken")
        return make_job_id(document.metadata.id, intent)


def make_intent_name(intent_kind: str, *, now: datetime) -> str:
    """Make a fresh name for an intent's file: `promotion-20261122-113000-3f9a`."""
    word = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", intent_kind).lower()
    return f"{word}-{now:%Y%m%d-%H%M%S}-{uuid4().hex[:4]}"


def make_words(intent: Intent) -> str:
    """Say an intent's kind in plain words: `drift check`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", intent.kind).lower()


def describe_request(intent: Intent) -> str:
    """Say which environments an intent is about."""
    if isinstance(intent, Promotion):
        return f"{intent.spec.source} -> {intent.spec.target}"
    return str(getattr(intent.spec, "environment", "") or "")


def check_request(snapshot: Snapshot, site: str, intent: Intent, *, now: datetime) -> None:
    """Refuse an intent that could only fail, before it is written."""
    parties = find_parties(intent, site=site, view=snapshot.fleet)
    if isinstance(parties, Misfit | Unsettled):
        raise Refused(parties.message)
    path = f"intents/{site}/{intent.metadata.name}.yaml"
    if any(file.path == path for file in snapshot.fleet.intents):
        raise Conflict(f"{path} exists already: choose another name")
    target = parties.environment.metadata.id
    for job in [*snapshot.status.jobs.values(), *list_pending(snapshot, now=now)]:
        if JOB_TYPES[intent.kind] in TARGETING and job.job_type in TARGETING and job.environment_id == target:
            raise Conflict(f"job {job.id} ({job.job_type}, {job.status}) is already open for this target")


def list_pending(snapshot: Snapshot, *, now: datetime) -> Iterator[JobRecord]:
    """List as queued the jobs whose intents are committed but that no reconciler has recorded yet."""
    known = set(snapshot.status.jobs) | snapshot.status.ended
    for file in snapshot.fleet.intents:
        job_id = find_job_id(file, snapshot.fleet)
        if job_id not in known:
            job = admit(file, job_id, view=snapshot.fleet, now=now)
            if job.status is JobStatus.QUEUED:
                yield job


def iterate_environments(snapshot: Snapshot, site_id: UUID | None) -> Iterator[EnvironmentEntry]:
    """Iterate over the environments of one site, or of all."""
    for site in snapshot.fleet.sites.values():
        if site_id is not None and (site.document is None or site.document.metadata.id != site_id):
            continue
        for environment in site.environments.values():
            yield EnvironmentEntry(
                site, environment, snapshot.status.environments.get(environment.metadata.id)
            )


def make_world(snapshot: Snapshot, *, now: datetime) -> World:
    """Make the world that gates are judged in when nothing runs here."""
    return World(snapshot.fleet, snapshot.status, outcomes={}, now=now, worker="", max_jobs=0)
