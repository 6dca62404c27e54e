"""The first part of a pass: where the branches stand, what the fleet and the status say, how our runs are."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

import structlog

from reconciler.core.claim import is_held_by, is_namesake
from reconciler.core.dispute import count_dispute, describe_dispute, find_pause
from reconciler.core.periodic import make_glance_key
from reconciler.core.tampering import make_restoration, make_restoring_message
from reconciler.core.world import FleetView, Glances, StatusView, World
from reconciler.errors import RepoUnusable, Transient
from reconciler.ports import Branch, RunOutcome, Tampering, Tip
from reconciler.worker import MOST_REFUSALS, Look, Reconciler, TooBusy
from schemas.state import JobStatus, JobType
from schemas.status import JobRecord

GATED = frozenset({JobType.ENV_PROMOTE, JobType.RELEASE_ROLLBACK, JobType.ENV_RESTORE})
"""Jobs that a laxer policy could let through, or could let touch more (spec.md §1, §4, §6, §7)."""

log = structlog.get_logger()


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
    pause = find_pause(reconciler.disputes.dispute, tampering, now=now)
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
    reconciler.disputes.dispute = count_dispute(reconciler.disputes.dispute, tampering, now=now)
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


def read_outcomes(reconciler: Reconciler, job: JobRecord) -> Mapping[str, RunOutcome]:
    """Read the outcomes of a job's steps at its present epoch."""
    known = {key: reconciler.runner.outcome(key) for key in reconciler.runner.find(job.id, job.epoch)}
    prefix = f"{job.id}.{job.epoch}."
    broken = {key: outcome for key, outcome in reconciler.unstartable.items() if key.startswith(prefix)}
    return {key.removeprefix(prefix): outcome for key, outcome in {**known, **broken}.items()}
