"""What the daemon tells about itself: counters for Prometheus, whether its loop is stuck, and whole log lines.

It only listens. Whatever goes on is decided elsewhere, and nothing here can stop a pass.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from reconciler.core.claim import is_held_by
from reconciler.core.job import ENDED
from reconciler.core.plan import Plan
from reconciler.core.world import World
from reconciler.errors import PressluftError
from reconciler.ports import Branch, FleetRepo
from reconciler.worker import Look
from schemas.state import ErrorCode, JobStatus
from schemas.status import JobRecord

PASS_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
SOON_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)
LATE_BUCKETS: Final = (1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600, 21600, 86400)
GATES: Final = frozenset(
    {
        ErrorCode.DRIFT_GATE_UNMET,
        ErrorCode.BACKUP_GATE_UNMET,
        ErrorCode.OVERWRITE_BLOCKED,
        ErrorCode.ENVIRONMENT_NOT_ACTIVE,
        ErrorCode.FREEZE_WINDOW,
        ErrorCode.PROMOTIONS_DISABLED,
        ErrorCode.SOURCE_CHANGED,
        ErrorCode.SCHEMA_UNSUPPORTED,
    }
)
MOST_SITES: Final = 10_000
"""Of how many jobs that ended the site is remembered, for late lines of the log."""
TAMPERING: Final = "tampering"
"""The `event_kind` of the log line that says that `status/` was changed by somebody else, and put right."""


@dataclass
class Telemetry:
    """Watches one daemon. The loop's thread writes, any thread may read."""

    repo: FleetRepo | None = None
    monotonic: Callable[[], float] = time.monotonic
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    _moved_at: float | None = None
    _commit: str | None = None
    _sites: dict[str, str] = field(default_factory=dict)
    _committed: dict[UUID, datetime] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._passes = self._count("passes", "Passes by how they ended", "outcome")
        self._pass_seconds = self._time("pass_seconds", "Time of one pass", PASS_BUCKETS)
        self._to_claim = self._time(
            "commit_to_claim_seconds", "From an intent's commit to its claim", SOON_BUCKETS
        )
        self._to_status = self._time(
            "commit_to_status_seconds",
            "From an intent's commit to the commit of its end",
            LATE_BUCKETS,
            "status",
        )
        self._claims = self._count("claims", "Jobs that this daemon claimed")
        self._retries = self._count("push_retries", "Pushes that were refused because somebody was faster")
        self._refusals = self._count("gate_refusals", "Shut gates, by what came of it", "code", "outcome")
        self._tampered = self._count(
            "tamper_events", "Times that others had changed status/, which was put right"
        )
        self._ended = self._count("jobs_ended", "Jobs that ended", "job_type", "status")
        self._open = self._gauge("open_jobs", "Jobs that have not ended", "status")
        self._held = self._gauge("held_jobs", "Jobs that this daemon runs")
        self._oldest = self._gauge("oldest_queued_job_seconds", "Age of the job that is queued for longest")
        self._last = self._gauge(
            "last_pass_timestamp_seconds", "When the last pass ended, in seconds since 1970"
        )

    def _count(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"pressluft_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"pressluft_{name}", text, labels, registry=self.registry)

    def _time(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"pressluft_{name}", text, labels, registry=self.registry, buckets=buckets)

    def show(self) -> bytes:
        """Write everything in Prometheus' text format."""
        return generate_latest(self.registry)

    def begin_pass(self) -> None:
        """A pass begins."""
        self._moved_at = self.monotonic()

    def end_pass(self, *, outcome: str) -> None:
        """A pass ended: `settled`, or `failed`."""
        now = self.monotonic()
        self._pass_seconds.observe(now - (self._moved_at if self._moved_at is not None else now))
        self._moved_at = now
        self._passes.labels(outcome).inc()
        self._last.set_to_current_time()

    def find_stall(self, *, bound: float) -> str:
        """Say that no pass has begun or ended for `bound` seconds; empty while all is well, or before the first."""
        if self._moved_at is None:
            return ""
        silent = self.monotonic() - self._moved_at
        return f"no pass has begun or ended for {silent:.0f} s" if silent > bound else ""

    def looked(self, look: Look) -> None:
        """A pass looked at everything."""
        status, world = look.world.status, look.world
        self._commit = look.tip.intents
        known = self._sites if len(self._sites) < MOST_SITES else {}
        self._sites = known | {str(job.id): job.site for job in status.jobs.values()}
        self._committed = {key: at for key, at in self._committed.items() if key in status.jobs}
        by_status = [job.status for job in status.jobs.values()]
        for state in (JobStatus.QUEUED, JobStatus.RUNNING):
            self._open.labels(state).set(by_status.count(state))
        held = [
            job
            for job in status.jobs.values()
            if is_held_by(job, worker=world.worker, instance=world.instance)
        ]
        self._held.set(sum(job.status is JobStatus.RUNNING for job in held))
        queued = [job.created_at for job in status.jobs.values() if job.status is JobStatus.QUEUED]
        self._oldest.set((world.now - min(queued)).total_seconds() if queued else 0)

    def refused(self) -> None:
        """A push was refused because somebody was faster."""
        self._retries.inc()

    def pushed(self, plan: Plan, look: Look) -> None:
        """A plan's commit was pushed and its runs are started."""
        self._date_new(plan, look.world)
        for job in plan.jobs.values():
            self._count_change(job, look.world.status.jobs.get(job.id), now=look.world.now)

    def _date_new(self, plan: Plan, world: World) -> None:
        """Date new jobs by the newest commit that brought intents; where git does not say, first sight counts."""
        new = [job for job in plan.jobs.values() if job.id not in world.status.jobs]
        at = self._read_commit_time() if new else None
        self._committed |= {job.id: at or job.created_at for job in new}

    def _read_commit_time(self) -> datetime | None:
        if self.repo is None:
            return None
        try:
            entries = self.repo.read_log(Branch.INTENTS, path="intents", limit=1)
        except PressluftError:
            return None
        return entries[0].at if entries else None

    def _count_change(self, job: JobRecord, before: JobRecord | None, *, now: datetime) -> None:
        waited = max(0.0, (now - self._committed.get(job.id, job.created_at)).total_seconds())
        if job.status is JobStatus.RUNNING and (before is None or before.epoch != job.epoch):
            self._claims.inc()
            if job.attempt_count == 1:
                self._to_claim.observe(waited)
        if job.status in ENDED:
            self._ended.labels(job.job_type or "unknown", job.status).inc()
            self._to_status.labels(job.status).observe(waited)
        for code, outcome in list_refusals(job, before):
            self._refusals.labels(code, outcome).inc()

    def complete_line(
        self, _logger: object, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """Give every log line its job, site and commit, as far as there is one (a processor of structlog)."""
        job = event.get("job")
        event.setdefault("job", None)
        if event.get("site") is None:
            event["site"] = self._sites.get(str(job)) if job else None
        elif job:
            self._sites[str(job)] = event["site"]
        if event.get("commit") is None:
            event["commit"] = self._commit
        if event.get("event_kind") == TAMPERING:
            self._tampered.inc()
        return event


def list_refusals(job: JobRecord, before: JobRecord | None) -> Iterator[tuple[str, str]]:
    """List the gates that shut a job out since its last record: it ended for one, or waits for some."""
    if job.status is JobStatus.FAILED and job.error_code in GATES:
        yield job.error_code, "ended"
    known = {reason.code for reason in before.waiting_for} if before else set()
    for reason in job.waiting_for:
        if job.status is JobStatus.QUEUED and reason.code in GATES and reason.code not in known:
            yield reason.code, "waits"
