"""What a pass decides: immutable data that `reconcile.py` carries out without a choice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from reconciler.core.job import ENDED
from reconciler.core.story import Line
from reconciler.ports import RunSpec
from schemas.status import BackupRecord, DriftCheckRecord, EnvironmentRecord, JobRecord, SiteRecord


@dataclass(frozen=True, slots=True)
class Plan:
    """What a pass does: records to commit with their story, then runs to start, then runs to forget."""

    jobs: Mapping[UUID, JobRecord] = field(default_factory=dict)
    environments: Mapping[UUID, tuple[str, EnvironmentRecord]] = field(default_factory=dict)
    sites: Mapping[UUID, SiteRecord] = field(default_factory=dict)
    records: tuple[tuple[str, BackupRecord | DriftCheckRecord], ...] = ()
    buried: tuple[tuple[str, UUID], ...] = ()
    """Files that never become a job, by site, to be listed with the jobs that ended."""
    files: tuple[tuple[str, bytes | None], ...] = ()
    """What else is written or removed, by path."""
    story: tuple[Line, ...] = ()
    runs: tuple[RunSpec, ...] = ()
    stops: tuple[str, ...] = ()
    """Keys of runs that are to be stopped: their jobs are cancelled."""
    glance: tuple[UUID, RunSpec] | None = None
    """The periodic look to start, with its source; nothing of it is committed."""
    glanced: tuple[UUID, ...] = ()
    """The sources whose look has ended, to be forgotten."""
    bugs: tuple[str, ...] = ()
    """Tracebacks of jobs that broke the planner: they end `failed`, the others go on."""

    @property
    def ended(self) -> tuple[JobRecord, ...]:
        """The jobs that end with this plan."""
        return tuple(job for job in self.jobs.values() if job.status in ENDED)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to commit."""
        return not (self.jobs or self.environments or self.sites or self.records or self.files)
