"""What a pass sees: the fleet's documents and the records at one commit each, and what runs (design: observe)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from reconciler.ports import RunOutcome
from schemas.fleet import Environment, Fleet, Node, Site
from schemas.intent import Intent
from schemas.status import BackupRecord, DriftCheckRecord, EnvironmentRecord, JobRecord, SiteRecord


@dataclass(frozen=True, slots=True)
class IntentFile:
    """A file under `intents/`: the intent it holds, or why it holds none."""

    path: str
    site: str
    blob_id: str
    intent: Intent | None
    error: str = ""
    """`file:line:col: field: what was expected`."""


@dataclass(frozen=True, slots=True)
class SiteView:
    """One site's documents; `document` is `None` where `site.yaml` is missing or broken."""

    name: str
    document: Site | None
    environments: Mapping[str, Environment]

    @property
    def production(self) -> Environment | None:
        """The site's one production, `None` where there is none or more than one."""
        found = [env for env in self.environments.values() if env.spec.is_production]
        return found[0] if len(found) == 1 else None


@dataclass(frozen=True, slots=True)
class FleetView:
    """All that people wrote, at one commit. `broken` maps a file's path to why it is not in force."""

    commit: str
    fleet: Fleet
    nodes: Mapping[str, Node]
    sites: Mapping[str, SiteView]
    intents: tuple[IntentFile, ...]
    broken: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StatusView:
    """All that the reconciler wrote and still needs, at one commit.

    `jobs` are those that have not ended, `backups` those that have not expired, by the environment they are of.
    """

    commit: str | None
    jobs: Mapping[UUID, JobRecord] = field(default_factory=dict)
    ended_by_site: Mapping[str, Mapping[str, None]] = field(default_factory=dict)
    """The ids of all jobs that ever ended, as text, in the order of their ends."""
    environments: Mapping[UUID, EnvironmentRecord] = field(default_factory=dict)
    sites: Mapping[UUID, SiteRecord] = field(default_factory=dict)
    backups: Mapping[UUID, tuple[BackupRecord, ...]] = field(default_factory=dict)
    drift_checks: Mapping[UUID, DriftCheckRecord] = field(default_factory=dict)
    """The last check of each source environment."""
    paths: Mapping[UUID, frozenset[str]] = field(default_factory=dict)
    """Where the records of environments and sites were found."""
    damaged: Mapping[UUID, str] = field(default_factory=dict)
    """Jobs whose record cannot be read although they have not ended, with their site's folder."""
    allowed_signers: tuple[str, ...] | None = None
    """The keys that were in force at the last look (`core/signer.py`)."""

    def has_ended(self, job_id: UUID, *, site: str) -> bool:
        """Whether a job ever ended; `site` is the folder to look in first, of all that are looked in."""
        name = str(job_id)
        return name in self.ended_by_site.get(site, ()) or any(
            name in names for names in self.ended_by_site.values()
        )


@dataclass(frozen=True, slots=True)
class Glances:
    """What this daemon's own looks have come to (`core/periodic.py`), by source: none of it is in git."""

    under_way: Mapping[UUID, RunOutcome] = field(default_factory=dict)
    last: Mapping[UUID, datetime] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class World:
    """Everything a plan is made from.

    `outcomes` maps a job to its steps' outcomes at its present epoch; a running job of this worker that is not in
    it is one that this process did not claim and whose runs nobody knows. `claims` holds the fleet at each commit
    that a running job's claim saw, or at which a job that gates bind was admitted; `spent` the highest epoch of a job
    that was claimed before.
    """

    fleet: FleetView
    status: StatusView
    outcomes: Mapping[UUID, Mapping[str, RunOutcome]]
    now: datetime
    worker: str
    max_jobs: int
    instance: UUID | None = None
    """Which of the daemons called `worker` this is."""
    claims: Mapping[str, FleetView] = field(default_factory=dict)
    spent: Mapping[UUID, int] = field(default_factory=dict)
    allowed_signers: tuple[str, ...] | None = None
    """The keys in force: only they may sign commits that bring intents."""
    glances: Glances | None = None
    """`None` where this pass takes none."""
    unproven: Mapping[UUID, str] = field(default_factory=dict)
    """Open jobs whose intent none of those keys brought, each with the reason."""
