"""One idempotent pass: observe, plan, apply, record. Read this first.

    observe   look where the branches stand, read the fleet and the status there, ask the runner about our runs
    plan      decide everything from that alone (`core.planner`), as immutable data
    apply     commit and push what changed: this push is the lock; a lost race throws the whole plan away
    record    only then start the runs that the plan ordered, and forget those of jobs that ended

A pass may be repeated, interrupted or run twice at any point: whatever it did not finish is seen and planned
again. A wake-up carries no input: it only says *look again*.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol
from uuid import UUID

import structlog

from reconciler.core.change import make_changes
from reconciler.core.claim import is_held_by, is_namesake
from reconciler.core.dispute import Dispute, count_dispute, describe_dispute, find_pause
from reconciler.core.periodic import make_glance_key
from reconciler.core.plan import Plan
from reconciler.core.planner import make_plan
from reconciler.core.story import make_message
from reconciler.core.tampering import make_restoration, make_restoring_message
from reconciler.core.variables import NodeFolders
from reconciler.core.world import FleetView, Glances, StatusView, World
from reconciler.errors import RepoUnusable, TipMoved, Transient
from reconciler.observe import Observer
from reconciler.ports import (
    Branch,
    Clock,
    CommitMessage,
    FleetRepo,
    PlaybookRunner,
    RunOutcome,
    RunSpec,
    RunState,
    Tampering,
    Tip,
)
from reconciler.provenance import Provenance
from schemas.state import ErrorCode, JobStatus, JobType
from schemas.status import JobRecord

MOST_ROUNDS = 100
"""Looks of one pass. Runs take longer than a look, so only a plan that undoes itself gets there."""
GATED = frozenset({JobType.ENV_PROMOTE, JobType.RELEASE_ROLLBACK, JobType.ENV_RESTORE})
"""Jobs that a laxer policy could let through, or could let touch more (spec.md §1, §4, §6, §7)."""
MOST_REFUSALS = 10  # design §2: claims give up after 10 refusals and stay queued

log = structlog.get_logger()


class Witness(Protocol):
    """Who is told what passes do, and has no say in it."""

    def looked(self, look: Look) -> None:
        """A pass looked at everything."""

    def refused(self) -> None:
        """A push was refused because somebody was faster."""

    def pushed(self, plan: Plan, look: Look) -> None:
        """A plan's commit was pushed and its runs are started."""


class Nobody:
    """The witness of a pass that nobody watches."""

    def looked(self, look: Look) -> None:
        """Heed nothing."""

    def refused(self) -> None:
        """Heed nothing."""

    def pushed(self, plan: Plan, look: Look) -> None:
        """Heed nothing."""


NOBODY = Nobody()


@dataclass
class GlanceMemory:
    """The sources that this process looks at without being asked, and when each was last looked at."""

    under_way: set[UUID] = field(default_factory=set)
    last: dict[UUID, datetime] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reconciler:
    """The ports a pass acts through, and who it is."""

    repo: FleetRepo
    runner: PlaybookRunner
    clock: Clock
    observer: Observer
    worker: str
    max_jobs: int
    instance: UUID | None = field(default=None, kw_only=True)
    """Which of the daemons called `worker` this is; a claim of another one of our name is not ours."""
    folders: NodeFolders
    provenance: Provenance = field(init=False)
    on_step: Callable[[str], None] = lambda _: None
    """Called with the name of each durable boundary, so that tests can break a pass there."""
    witness: Witness = NOBODY
    unstartable: dict[str, RunOutcome] = field(default_factory=dict)
    """Runs that could not be started in this process: they count as failed."""
    glances: GlanceMemory | None = None
    """What the periodic looks of this process have come to; `None` where it takes none."""
    disputes: list[Dispute] = field(default_factory=lambda: [Dispute()])
    """The dispute of this process, as the only item."""
    claims: set[tuple[UUID, int]] = field(default_factory=set)
    """Jobs and epochs that this process claimed: what else runs under our name was a process before this one."""

    def __post_init__(self) -> None:
        """Look signatures up where the fleet is read."""
        object.__setattr__(self, "provenance", Provenance(self.repo, self.observer))


class TooBusy(TipMoved):
    """Somebody was faster as often as is tried for one plan; it is given up for now."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one pass observed."""

    tip: Tip
    world: World


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


def is_spent(reconciler: Reconciler, job: JobRecord) -> bool:
    """Whether this machine knows of an earlier claim at the job's epoch."""
    return (job.id, job.epoch) in reconciler.claims or bool(reconciler.runner.find(job.id, job.epoch))


def make_report(look: Look, *, changed: bool) -> PassReport:
    """Count what is open after the last look."""
    jobs = look.world.status.jobs.values()
    world = look.world
    running = [job for job in jobs if job.status is JobStatus.RUNNING]
    held = [job for job in running if is_held_by(job, worker=world.worker, instance=world.instance)]
    queued = [job for job in jobs if job.status is JobStatus.QUEUED]
    return PassReport(changed=changed, running=len(held), queued=len(queued))


def observe(reconciler: Reconciler) -> Look | None:
    """Look at everything; `None` while nobody has committed anything yet."""
    tip = fetch_trusted(reconciler)
    if tip.intents is None:
        return None
    status = reconciler.observer.read_status(tip.status)
    warn_of_namesakes(reconciler, status)
    claims = read_claims(reconciler, status)
    world = World(
        fleet=reconciler.observer.read_fleet(tip.intents),
        status=status,
        outcomes=fetch_outcomes(reconciler, status),
        now=reconciler.clock.now(),
        worker=reconciler.worker,
        max_jobs=reconciler.max_jobs,
        instance=reconciler.instance,
        claims=claims,
        glances=fetch_glances(reconciler),
    )
    return Look(tip, reconciler.provenance.prove(world))


def fetch_trusted(reconciler: Reconciler) -> Tip:
    """Look where the branches stand; a `status/` that no trusted daemon wrote is put right first, never used.

    What stands there afterwards is judged again: it may have been forged anew, or the push was never kept.
    Raises `TipMoved` if somebody was faster, `TooBusy` if it is forged each time.
    """
    for _ in range(MOST_REFUSALS):
        tip = reconciler.repo.fetch()
        tampering = reconciler.repo.find_tampering(tip.status) if tip.intents else None
        if tampering is None:
            return tip
        put_right(reconciler, tip, tampering)
    raise TooBusy("status/ is changed by somebody else as often as it is put right")


def put_right(reconciler: Reconciler, tip: Tip, tampering: Tampering) -> None:
    """Put a trusted daemon's last word back by a new commit. Raises `TipMoved` if somebody was faster.

    Raises `Transient` while it waits: another daemon may be in dispute with this one (`core/dispute.py`).
    """
    now = reconciler.clock.now()
    pause = find_pause(reconciler.disputes[-1], tampering, now=now)
    if pause is not None:
        raise Transient(describe_dispute(tampering), retry_after=pause.total_seconds())
    trusted = reconciler.observer.read_status(tampering.trusted)
    commit = reconciler.repo.push_changes(
        Branch.STATUS,
        expected=tip.status,
        status_of=tampering.trusted,
        changes=dict(make_restoration(tampering, trusted, now=now)),
        message=make_restoring_message(tampering),
    )
    reconciler.disputes[:] = [count_dispute(reconciler.disputes[-1], tampering, now=now)]
    log.error(
        "status/ was changed by somebody else and is put right",
        event_kind="tampering",
        sites=list(tampering.sites),
        detail=tampering.detail,
        found_at=tip.status,
        put_back=tampering.trusted,
        commit=commit,
    )


def warn_of_namesakes(reconciler: Reconciler, status: StatusView) -> None:
    """Say that another daemon goes by our name: its jobs are left to it until their deadline, as anybody's."""
    for job in status.jobs.values():
        if is_namesake(job, worker=reconciler.worker, instance=reconciler.instance):
            log.error(
                "another daemon goes by this name, or this one lost its state_dir: give each a worker name of its own",
                worker=reconciler.worker,
                job=str(job.id),
                site=job.site,
                held_by_instance=str(job.locked_instance),
            )


def read_claims(reconciler: Reconciler, status: StatusView) -> Mapping[str, FleetView]:
    """Read the fleet at each commit that a running job's claim saw, or that a gated job was admitted at.

    A commit that is gone is left out: then the policy of today is all there is.
    """
    found: dict[str, FleetView] = {}
    jobs = status.jobs.values()
    commits = {job.claimed_commit for job in jobs if job.status is JobStatus.RUNNING}
    commits |= {job.admitted_commit for job in jobs if job.job_type in GATED}
    for commit in sorted(commit for commit in commits if commit):
        try:
            found[commit] = reconciler.observer.read_claimed_fleet(commit)
        except RepoUnusable as error:
            log.warning("the commit that a claim saw is gone", commit=commit, reason=str(error))
    return found


def fetch_outcomes(reconciler: Reconciler, status: StatusView) -> Mapping[UUID, Mapping[str, RunOutcome]]:
    """Ask the runner about the runs of each job this worker holds, at the job's present epoch.

    A job that this process did not claim and whose runs are unknown is left out: nobody knows here what became of it.
    """
    held = [
        job
        for job in status.jobs.values()
        if job.status is JobStatus.RUNNING
        and is_held_by(job, worker=reconciler.worker, instance=reconciler.instance)
    ]
    found = {job.id: read_outcomes(reconciler, job) for job in held}
    return {
        job.id: found[job.id] for job in held if found[job.id] or (job.id, job.epoch) in reconciler.claims
    }


def fetch_glances(reconciler: Reconciler) -> Glances | None:
    """Ask the runner about the periodic looks of this process."""
    memory = reconciler.glances
    if memory is None:
        return None
    going = {source: reconciler.runner.outcome(make_glance_key(source)) for source in memory.under_way}
    return Glances(going, dict(memory.last))


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


def read_outcomes(reconciler: Reconciler, job: JobRecord) -> Mapping[str, RunOutcome]:
    """Read the outcomes of a job's steps at its present epoch."""
    known = {key: reconciler.runner.outcome(key) for key in reconciler.runner.find(job.id, job.epoch)}
    prefix = f"{job.id}.{job.epoch}."
    broken = {key: outcome for key, outcome in reconciler.unstartable.items() if key.startswith(prefix)}
    return {key.removeprefix(prefix): outcome for key, outcome in {**known, **broken}.items()}


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
