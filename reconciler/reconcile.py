"""One idempotent pass: observe, plan, apply, record. Read this first.

    observe   look where the branches stand, read the fleet and the status there, ask the runner about our runs
    plan      decide everything from that alone (`core.planner`), as immutable data
    apply     commit and push what changed: this push is the lock; a lost race throws the whole plan away
    record    only then start the runs that the plan ordered, and forget those of jobs that ended

A pass may be repeated, interrupted or run twice at any point: whatever it did not finish is seen and planned
again. A wake-up carries no input: it only says *look again*.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from uuid import UUID

import structlog

from reconciler.core.change import make_changes
from reconciler.core.claim import is_held_by
from reconciler.core.plan import Plan
from reconciler.core.planner import make_plan
from reconciler.core.story import make_message
from reconciler.core.world import World
from reconciler.errors import TipMoved
from reconciler.look import observe
from reconciler.ports import Branch, CommitMessage, Tip
from reconciler.runs import forget_glance, forget_runs, is_spent, start_glance, start_run
from reconciler.worker import MOST_REFUSALS, Look, Reconciler, TooBusy
from schemas.state import JobStatus
from schemas.status import JobRecord

MOST_ROUNDS = 100
"""Looks of one pass. Runs take longer than a look, so only a plan that undoes itself gets there."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class PassReport:
    """What one pass did: whether anything changed, and how many jobs are still open.

    `running`: jobs that this worker holds. `settled`: the last look found nothing to do; else it was given up for now.
    """

    changed: bool
    running: int
    queued: int
    settled: bool = True


def run_pass(reconciler: Reconciler) -> PassReport:
    """Run passes until one finds nothing to change. Raises `Transient` or `RepoUnusable` from the repo."""
    changed = False
    refusals = 0
    look: Look | None = None
    for _ in range(MOST_ROUNDS):
        try:
            look = observe(reconciler)
            if look is None:
                return PassReport(changed=changed, running=0, queued=0)
            reconciler.witness.looked(look)
            plan = plan_pass(reconciler, look.world)
            apply(reconciler, plan, look)
        except TipMoved as error:
            refusals += 1
            reconciler.witness.refused()
            if refusals >= MOST_REFUSALS or isinstance(error, TooBusy):
                log.warning("gave up after lost races; will look again", refusals=refusals)
                report = (
                    make_report(look, changed=changed) if look else PassReport(changed, running=0, queued=0)
                )
                return replace(report, settled=False)
            continue
        record(reconciler, plan)
        reconciler.witness.pushed(plan, look)
        if plan.is_empty and not plan.runs:
            return make_report(look, changed=changed)
        changed = True
    log.error("every look finds something to do; going on with the next pass", rounds=MOST_ROUNDS)
    return PassReport(changed=True, running=0, queued=0, settled=False)


def plan_pass(reconciler: Reconciler, world: World) -> Plan:
    """Plan a pass whose claims meet no run of an earlier claim: a record that was put back would count anew."""
    intents = reconciler.observer.read_intents(world.status)
    spent: dict[UUID, int] = {}
    while True:
        plan = make_plan(replace(world, spent=spent), intents, folders=reconciler.folders)
        met = {job.id: job.epoch for job in list_claims(plan, world) if is_spent(reconciler, job)}
        if not met:
            return plan
        spent |= met


def list_claims(plan: Plan, world: World) -> Iterator[JobRecord]:
    """List the jobs that a plan gives a new epoch."""
    for job in plan.jobs.values():
        known = world.status.jobs.get(job.id)
        if job.status is JobStatus.RUNNING and (known is None or known.epoch != job.epoch):
            yield job


def make_report(look: Look, *, changed: bool) -> PassReport:
    """Count what is open after the last look."""
    jobs = look.world.status.jobs.values()
    world = look.world
    running = [job for job in jobs if job.status is JobStatus.RUNNING]
    held = [job for job in running if is_held_by(job, worker=world.worker, instance=world.instance)]
    queued = [job for job in jobs if job.status is JobStatus.QUEUED]
    return PassReport(changed=changed, running=len(held), queued=len(queued))


def apply(reconciler: Reconciler, plan: Plan, look: Look) -> None:
    """Commit and push all that the plan changes, as one commit. Raises `TipMoved` if somebody was faster."""
    if plan.is_empty:
        return
    reconciler.on_step("before push")
    changes = dict(make_changes(plan, look.world.status))
    commit = push(reconciler, look.tip, changes=changes, message=make_message(plan.story))
    reconciler.claims.update(
        (job.id, job.epoch) for job in plan.jobs.values() if job.status is JobStatus.RUNNING
    )
    reconciler.on_step("after push")
    for line in plan.story:
        job = line.job
        log.info(line.text, job=str(job.id) if job else None, site=job.site if job else None, commit=commit)


def push(
    reconciler: Reconciler, tip: Tip, *, changes: Mapping[str, bytes | None], message: CommitMessage
) -> str:
    """Push a plan's commit. Raises `TipMoved` if somebody was faster with anything that the plan was made from,
    `TooBusy` after `MOST_REFUSALS` tries.

    With anything else it would be the same plan, so only the commit is made anew: people who push notes all the time
    must not keep a daemon from its claims.
    """
    for _ in range(MOST_REFUSALS):
        try:
            return reconciler.repo.push_changes(
                Branch.STATUS, expected=tip.status, changes=changes, message=message
            )
        except TipMoved:
            moved = reconciler.repo.fetch()
            if reconciler.repo.find_tampering(moved.status) is not None:
                raise
            if reconciler.observer.read_ids(moved) != reconciler.observer.read_ids(tip):
                raise
            reconciler.witness.refused()
            tip = moved
    raise TooBusy("somebody was faster each time")


def record(reconciler: Reconciler, plan: Plan) -> None:
    """Start what the plan ordered, now that its claims are pushed, and forget what ended."""
    for bug in plan.bugs:
        log.error("a job broke the planner; it ends failed", traceback=bug)
    for job in plan.ended:
        forget_runs(reconciler, job)
    for key in plan.stops:
        reconciler.runner.cancel(key)
    for source_id in plan.glanced:
        forget_glance(reconciler, source_id)
    if plan.glance is not None:
        start_glance(reconciler, *plan.glance)
    for spec in plan.runs:
        reconciler.on_step("before run")
        start_run(reconciler, spec)
        log.info("step started", job=str(spec.job_id), epoch=spec.epoch, step=spec.step, node=spec.node.name)
        reconciler.on_step("after run")
