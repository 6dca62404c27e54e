"""What people read in `git log`: one plain sentence for each transition, and trailers for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reconciler.core.job import Deferred, JobEvent, Retried, TakenOver
from reconciler.ports import CommitMessage
from schemas.intent import Intent, Promotion
from schemas.state import IntentKind, JobStatus, JobType
from schemas.status import JobRecord

SUBJECT_BYTES = 160

WORDS = {
    IntentKind.PROMOTION: "promotion",
    IntentKind.DRIFT_CHECK: "drift check",
    IntentKind.BACKUP: "backup",
    IntentKind.REFRESH: "refresh",
    IntentKind.ROLLBACK: "rollback",
    IntentKind.RESTORE: "restore",
    IntentKind.RESET: "reset",
    IntentKind.CANCEL: "cancellation",
}


UNASKED = {JobType.DRIFT_CHECK: "periodic drift check", JobType.BACKUP_CLEANUP: "backup cleanup"}
"""What jobs are called that have no intent."""


@dataclass(frozen=True, slots=True)
class Line:
    """One sentence of a commit, with the job it is about."""

    text: str
    job: JobRecord | None = None


def tell(job: JobRecord, intent: Intent | None, event: JobEvent | None = None) -> Line:
    """Tell one transition of a job in plain words."""
    unasked = UNASKED.get(job.job_type, "intent") if job.job_type else "intent"
    what = WORDS[job.intent_kind] if job.intent_kind else unasked
    return Line(f"{what} {tell_status(job, event)}: {tell_subject(job, intent)}{tell_reason(job)}", job)


def tell_status(job: JobRecord, event: JobEvent | None) -> str:
    """Name the transition."""
    match event:
        case Retried():
            return f"will be tried again (attempt {job.attempt_count} of {job.max_attempts} failed)"
        case TakenOver():
            return "is resumed"
        case Deferred():
            return "waits"
        case _ if job.status is JobStatus.QUEUED and job.waiting_for:
            return "waits"
        case _:
            return {JobStatus.RUNNING: "started"}.get(job.status, job.status.value)


def tell_subject(job: JobRecord, intent: Intent | None) -> str:
    """Name who takes part: `acme staging -> production`."""
    if intent is None:
        return str(job.intent_path)
    if isinstance(intent, Promotion):
        return f"{job.site} {intent.spec.source} -> {intent.spec.target}"
    environment = getattr(intent.spec, "environment", None)
    return f"{job.site} {environment}" if environment else job.site


def tell_reason(job: JobRecord) -> str:
    """Say why, in brackets, where it did not go well."""
    if job.status is JobStatus.FAILED or (job.error_code and job.status is JobStatus.QUEUED):
        return f" ({job.error_code})"
    if job.status is JobStatus.QUEUED and job.waiting_for:
        return f" ({job.waiting_for[0].code})"
    return ""


def make_message(lines: Sequence[Line]) -> CommitMessage:
    """Make one commit's message of all that a pass has to say."""
    told = [line for line in lines if line.job is not None] or list(lines)
    texts = [line.text for line in told] or ["status updated"]
    more = f" (and {len(texts) - 1} more)" if len(texts) > 1 else ""
    subject = texts[0][: SUBJECT_BYTES - len(more)] + more
    details = [line.job.error_message for line in lines if line.job and line.job.error_message]
    body = "\n".join(texts) if len(texts) > 1 else ""
    return CommitMessage(
        subject, "\n\n".join(part for part in (body, *details) if part), make_trailers(lines)
    )


def make_trailers(lines: Sequence[Line]) -> tuple[tuple[str, str], ...]:
    """Make the trailers of every job named, in order."""
    trailers: list[tuple[str, str]] = []
    for line in lines:
        if line.job is None:
            continue
        trailers.append(("Pressluft-Job", str(line.job.id)))
        trailers.append(("Pressluft-Status", line.job.status.value))
        if line.job.intent_path:
            trailers.append(("Pressluft-Intent", line.job.intent_path))
        if line.job.actor:
            trailers.append(("Pressluft-Actor", line.job.actor))
    return tuple(dict.fromkeys(trailers))
