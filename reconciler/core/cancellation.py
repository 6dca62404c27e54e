"""What a Cancel does to its job: before the cut-over it ends, afterwards it is seen through (spec.md §5, §8)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from reconciler.core.admission import Sighting, make_status_folder
from reconciler.core.flow import Decision, End, Flow, JobView, Keep, StartStep, read_report, release
from reconciler.core.job import Cancelled, Deferred, Retried, TakenOver, advance
from reconciler.core.walk import DISCARD, PROBE, has_gone_live, keep_gains, wind_up
from reconciler.ports import RunState
from schemas.intent import Cancel
from schemas.state import JobStatus
from schemas.status import JobRecord

CANCEL_REFUSED = "cannot be cancelled any more: it has begun to change what is live"
"""What is noted on a job that goes on although somebody wants it cancelled."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Ask for the end of the step that runs; the job ends when it has."""

    step: str


@dataclass(frozen=True, slots=True)
class TooLate:
    """The job goes on."""

    decision: Decision


def find_cancellations(sightings: Iterable[Sighting]) -> Mapping[tuple[str, UUID], Cancel]:
    """Find the jobs that somebody wants cancelled, by their site's folder and their id."""
    return {
        (make_status_folder(sighting.file.site), sighting.file.intent.spec.job_id): sighting.file.intent
        for sighting in sightings
        if isinstance(sighting.file.intent, Cancel)
    }


def cancel_queued(
    jobs: Iterable[JobRecord], wanted: Mapping[tuple[str, UUID], Cancel], *, now: datetime
) -> Iterator[JobRecord]:
    """End each queued job that somebody wants cancelled."""
    for job in jobs:
        intent = wanted.get((job.site, job.id))
        if intent is not None and job.status is JobStatus.QUEUED:
            yield advance(job, Cancelled(now, summary=describe_cancel(intent)))


def describe_cancel(intent: Cancel) -> str:
    """Say who cancelled and why, and what that means."""
    by = f" by {intent.spec.actor}" if intent.spec.actor else ""
    why = f" ({intent.spec.reason})" if intent.spec.reason else ""
    return f"cancelled{by}{why}; nothing live was changed"


def decide_cancelling(
    view: JobView, flow: Flow, decision: Decision, *, intent: Cancel
) -> Decision | Stop | TooLate:
    """Decide how a running job goes on that somebody wants cancelled; `decision` is what it would do by itself."""
    if has_gone_live(view, flow) or went_live_before(view):
        return TooLate(decision)
    running = next((name for name, run in view.outcomes.items() if run.state is RunState.RUNNING), None)
    if running is not None:
        return Keep() if running in {PROBE, DISCARD} else Stop(running)
    if isinstance(decision, StartStep) and decision.step in {PROBE, DISCARD}:
        return decision
    if isinstance(decision, End) and not is_given_back(decision, view):
        return decision
    event = Cancelled(view.now, summary=describe_cancel(intent))
    return keep_gains(wind_up(view, flow, End(event, environments=release(view))), view, flow)


def went_live_before(view: JobView) -> bool:
    """Whether the node says that an epoch before this one began the cut-over."""
    answer = view.outcomes.get(PROBE)
    report = read_report(answer) if answer is not None else None
    return report is not None and report.cut is not None


def is_given_back(end: End, view: JobView) -> bool:
    """Whether the job would only go back into the queue, or begin anew after what it staged was dropped."""
    return isinstance(end.event, Deferred | Retried) or (
        isinstance(end.event, TakenOver) and DISCARD in view.outcomes
    )
