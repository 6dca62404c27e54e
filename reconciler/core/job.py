"""The life of a job: every legal move in one table. An illegal one raises and changes nothing (spec.md §5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final
from uuid import UUID

from reconciler.errors import IllegalTransition
from schemas.state import ErrorCode, JobStatus
from schemas.status import Blocked, JobRecord


@dataclass(frozen=True, slots=True)
class Started:
    """A daemon claimed the job; the pushed commit of this is the claim."""

    at: datetime
    by: str
    commit: str
    instance: UUID | None = None
    spent: int = 0
    """The highest epoch of this job that any run is known of: a claim must never meet an earlier one's runs."""


@dataclass(frozen=True, slots=True)
class TakenOver:
    """A running job whose run is gone begins its next epoch, which fences off the old one and asks the node."""

    at: datetime
    by: str
    run_after: datetime | None = None
    spent: int = 0
    instance: UUID | None = None


@dataclass(frozen=True, slots=True)
class Waited:
    """A gate is unmet and the job may wait for it."""

    at: datetime
    reasons: tuple[Blocked, ...]


@dataclass(frozen=True, slots=True)
class Deferred:
    """A gate was unmet live; the job gives its slot back and waits."""

    at: datetime
    reasons: tuple[Blocked, ...]
    run_after: datetime


@dataclass(frozen=True, slots=True)
class Retried:
    """An attempt failed in a way that may pass; nothing live was changed."""

    at: datetime
    run_after: datetime
    code: ErrorCode
    message: str


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The job did what it was for."""

    at: datetime
    summary: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The job did not do what it was for."""

    at: datetime
    code: ErrorCode
    message: str


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The job was withdrawn or stopped before it changed anything live."""

    at: datetime
    summary: str


JobEvent = Started | TakenOver | Waited | Deferred | Retried | Succeeded | Failed | Cancelled

QUEUED, RUNNING = JobStatus.QUEUED, JobStatus.RUNNING

TRANSITIONS: Final[Mapping[tuple[JobStatus, type[JobEvent]], JobStatus]] = MappingProxyType(
    {
        (QUEUED, Started): RUNNING,
        (QUEUED, Waited): QUEUED,
        (QUEUED, Failed): JobStatus.FAILED,
        (QUEUED, Cancelled): JobStatus.CANCELLED,
        (RUNNING, TakenOver): RUNNING,
        (RUNNING, Deferred): QUEUED,
        (RUNNING, Retried): QUEUED,
        (RUNNING, Succeeded): JobStatus.SUCCEEDED,
        (RUNNING, Failed): JobStatus.FAILED,
        (RUNNING, Cancelled): JobStatus.CANCELLED,
    }
)

ENDED: Final = frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED})


def advance(job: JobRecord, event: JobEvent) -> JobRecord:
    """Return the job after an event. Raises `IllegalTransition` for a move the table does not hold."""
    status = TRANSITIONS.get((job.status, type(event)))
    if status is None:
        raise IllegalTransition(f"job {job.id}: {type(event).__name__} is not possible while {job.status}")
    return job.model_copy(update={"status": status, "updated_at": event.at, **describe(job, event)})


def describe(job: JobRecord, event: JobEvent) -> Mapping[str, object]:
    """Return the fields, beside the status, that an event changes."""
    match event:
        case Started(at, by, commit, instance, spent):
            return {
                "epoch": max(job.epoch, spent) + 1,
                "attempt_count": job.attempt_count + 1,
                "taken_over": 0,
                "locked_at": at,
                "locked_by": by,
                "locked_instance": instance,
                "claimed_commit": commit,
                "started_at": job.started_at or at,
                "waiting_for": (),
                "run_after": None,
                "error_code": None,
                "error_message": None,
            }
        case TakenOver(at, by, run_after, spent, instance):
            return {
                "epoch": max(job.epoch, spent) + 1,
                # Of a row of take-overs the first counts: since then the node has not brought the job to an end.
                "locked_at": job.locked_at if job.taken_over else at,
                "locked_by": by,
                "locked_instance": instance,
                "run_after": run_after,
                "taken_over": job.taken_over + 1,
            }
        case Waited(_, reasons):
            return {"waiting_for": reasons}
        case Deferred(_, reasons, run_after):
            # A wait for a gate is no failed attempt.
            attempts = max(job.attempt_count - 1, 0)
            return {**UNLOCKED, "waiting_for": reasons, "run_after": run_after, "attempt_count": attempts}
        case Retried(_, run_after, code, message):
            return {**UNLOCKED, "run_after": run_after, "error_code": code, "error_message": message}
        case Failed(at, code, message):
            return {**ENDING, "finished_at": at, "error_code": code, "error_message": message}
        case Succeeded(at, summary) | Cancelled(at, summary):
            cleared = {"error_code": None, "error_message": None}
            return {**ENDING, **cleared, "finished_at": at, "summary": summary}


UNLOCKED: Final[Mapping[str, object]] = MappingProxyType(
    {"locked_at": None, "locked_by": None, "locked_instance": None, "step": None}
)
ENDING: Final[Mapping[str, object]] = MappingProxyType({"waiting_for": (), "run_after": None})
