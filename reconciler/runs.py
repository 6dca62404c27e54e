"""The last part of a pass: its runs are started, and those of what ended are forgotten."""

from __future__ import annotations

from uuid import UUID

import structlog

from reconciler.core.periodic import make_glance_key
from reconciler.errors import Transient
from reconciler.ports import RunOutcome, RunSpec, RunState
from reconciler.worker import Reconciler
from schemas.state import ErrorCode
from schemas.status import JobRecord

log = structlog.get_logger()


def start_run(reconciler: Reconciler, spec: RunSpec) -> None:
    """Start one run. What cannot even be started is a failed run: it must not stop other jobs.

    Raises `Transient` when this machine has no room for it now; the next pass orders it again.
    """
    try:
        reconciler.runner.start(spec)
    except Transient:
        raise
    except Exception as error:
        log.exception("a run could not be started", job=str(spec.job_id), step=spec.step)
        reconciler.unstartable[spec.key] = RunOutcome(
            RunState.FAILED,
            code=ErrorCode.ANSIBLE_UNEXPECTED_ERROR,
            message=f"step {spec.step} could not be started ({type(error).__name__}); the daemon's log says why",
            retry=False,
        )


def forget_runs(reconciler: Reconciler, job: JobRecord) -> None:
    """Remove what this machine keeps of an ended job's runs; one that still runs is stopped."""
    known = [epoch for job_id, epoch in reconciler.claims if job_id == job.id]
    for epoch in range(1, max([job.epoch, *known]) + 1):
        reconciler.claims.discard((job.id, epoch))
        for key in reconciler.runner.find(job.id, epoch):
            if reconciler.runner.outcome(key).state is RunState.RUNNING:
                reconciler.runner.cancel(key)
            else:
                reconciler.runner.forget(key)
    for key in [key for key in reconciler.unstartable if key.startswith(f"{job.id}.")]:
        del reconciler.unstartable[key]


def start_glance(reconciler: Reconciler, source_id: UUID, spec: RunSpec) -> None:
    """Start a periodic look; one that a process before this one left is removed first."""
    if reconciler.glances is None:
        return
    if spec.key in reconciler.runner.find(spec.job_id, spec.epoch):
        forget_glance(reconciler, source_id)
    reconciler.glances.under_way.add(source_id)
    start_run(reconciler, spec)


def forget_glance(reconciler: Reconciler, source_id: UUID) -> None:
    """Forget a periodic look that has ended; the next one is due an interval from now."""
    key = make_glance_key(source_id)
    if reconciler.runner.outcome(key).state is not RunState.RUNNING:
        reconciler.runner.forget(key)
    reconciler.unstartable.pop(key, None)
    if reconciler.glances is not None:
        reconciler.glances.under_way.discard(source_id)
        reconciler.glances.last[source_id] = reconciler.clock.now()


def is_spent(reconciler: Reconciler, job: JobRecord) -> bool:
    """Whether this machine knows of an earlier claim at the job's epoch."""
    return (job.id, job.epoch) in reconciler.claims or bool(reconciler.runner.find(job.id, job.epoch))
