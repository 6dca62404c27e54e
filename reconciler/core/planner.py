"""One plan from one look at the world: which records change, which runs start, and the story of it.

Pure: the same world gives the same plan. Nothing here acts; `reconcile.py` carries the plan out and has no choice.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from reconciler.core import environment as life
from reconciler.core.admission import (
    Sighting,
    admit,
    bind,
    find_parties_of,
    list_edited,
    list_new,
    list_withdrawn,
    make_status_folder,
)
from reconciler.core.cancellation import (
    CANCEL_REFUSED,
    Stop,
    TooLate,
    cancel_queued,
    decide_cancelling,
    find_cancellations,
)
from reconciler.core.claim import Key, find_keys, find_site_key, is_awake, is_due, is_held_by, order_by_turn
from reconciler.core.draft import Draft
from reconciler.core.flow import Decision, End, Flow, JobView, Keep
from reconciler.core.job import ENDED, Failed, Started, advance
from reconciler.core.kind import find_unmet, make_flow
from reconciler.core.meeting import touch
from reconciler.core.party import Misfit, Parties
from reconciler.core.periodic import (
    find_glance,
    find_glance_keys,
    find_source_id,
    judge_glance,
    list_glanced,
    list_glancing,
    make_glance_step,
)
from reconciler.core.plan import Plan
from reconciler.core.policy import bind_parties, bind_world
from reconciler.core.retention import find_due_cleanups, make_stand_ins
from reconciler.core.story import Line, tell
from reconciler.core.variables import NodeFolders, make_run_spec
from reconciler.core.walk import PROBE_TIMEOUT, accept_end, decide_running, take_over
from reconciler.core.world import World
from schemas.intent import Intent
from schemas.state import EnvironmentStatus, ErrorCode, JobStatus
from schemas.status import (
    Blocked,
    JobRecord,
)


def make_plan(world: World, intents: Mapping[UUID, Intent], *, folders: NodeFolders) -> Plan:
    """Plan one pass. `intents` holds the admitted version of every open job's intent."""
    draft = Draft(world, intents, folders)
    planner = Planner(draft)
    planner.bury_damaged()
    planner.admit_intents()
    planner.carry_on_running()
    planner.judge_glances()
    planner.start_upkeep()
    planner.settle_queued()
    planner.glance()
    planner.free_environments()
    planner.mirror_sites()
    return draft.finish()


class Planner:
    """Decides, one kind of thing after the other, and writes what it decides into the draft."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._turns: set[Key] = set()
        self._cancellations = find_cancellations(draft.sightings)

    def bury_damaged(self) -> None:
        """End the jobs whose record somebody broke: what became of them cannot be told any more."""
        text = (
            "the job's record in status/ cannot be read any more: it was changed by hand. "
            "Next: look at the node, then commit a new intent"
        )
        for job_id, site in self._draft.world.status.damaged.items():
            queued = JobRecord(
                id=job_id,
                status=JobStatus.QUEUED,
                site=make_status_folder(site),
                created_at=self._draft.world.now,
                updated_at=self._draft.world.now,
            )
            event = Failed(self._draft.world.now, code=ErrorCode.ANSIBLE_UNEXPECTED_ERROR, message=text)
            ended = advance(queued, event)
            self._draft.record_job(ended, Line(f"job {job_id} failed: its record was broken", ended))

    def admit_intents(self) -> None:
        """Admit what is new, withdraw what is gone, note what was edited."""
        for sighting in list_new(self._draft.sightings, self._draft.world):
            self._admit(sighting)
        for job in list_withdrawn(self._draft.sightings, self._draft.world):
            self._draft.record_job(job, tell(job, self._draft.intents.get(job.id)))
        for job in list_edited(self._draft.sightings, self._draft.world):
            if self._draft.jobs[job.id].status not in ENDED:
                self._draft.record_job(self._draft.jobs[job.id].model_copy(update={"notes": job.notes}), None)
        for job in list(
            cancel_queued(self._draft.jobs.values(), self._cancellations, now=self._draft.world.now)
        ):
            self._draft.record_job(job, tell(job, self._draft.intents.get(job.id)))

    def _admit(self, sighting: Sighting) -> None:
        """Admit one file; one that breaks the planner is reported like any that is no intent."""
        file, now = sighting.file, self._draft.world.now
        try:
            job = admit(file, sighting.job_id, view=self._draft.world.fleet, now=now)
        except Exception as error:  # noqa: BLE001 - a loop boundary: one file must not stop the others
            self._draft.bugs.append(traceback.format_exc())
            text = f"{file.path}: a bug in Pressluft ({type(error).__name__}), see the daemon's log"
            refused = replace(file, intent=None, error=text)
            job = admit(refused, sighting.job_id, view=self._draft.world.fleet, now=now)
        if file.intent is not None:
            self._draft.intents[job.id] = file.intent
        self._draft.record_job(job, tell(job, file.intent))

    def carry_on_running(self) -> None:
        """Decide how each running job goes on that this worker holds, or that another has left alone too long."""
        for job in list(self._draft.jobs.values()):
            if job.status is JobStatus.RUNNING and is_awake(job, now=self._draft.world.now):
                self._draft.guard(job, self._carry_on)

    def start_upkeep(self) -> None:
        """Add the jobs that nobody asks for."""
        jobs = tuple(find_due_cleanups(self._draft.see()))
        self._draft.intents.update(make_stand_ins(self._draft.world, jobs))
        for job in jobs:
            self._draft.record_job(job, tell(job, self._draft.intents.get(job.id)))

    def _carry_on(self, job: JobRecord) -> None:
        is_ours = is_held_by(job, worker=self._draft.world.worker, instance=self._draft.world.instance)
        view = self._draft.make_view(job)
        if isinstance(view, str):
            if is_ours:
                self._draft.end(
                    job, End(Failed(self._draft.world.now, code=ErrorCode.INTENT_INVALID, message=view))
                )
            return
        flow = make_flow(view)
        if is_ours and job.id in self._draft.world.outcomes:
            view = accept_end(view, flow)
            self._draft.order(job, self._heed_cancel(view), view)
        elif is_ours or self._draft.world.now > job.updated_at + find_patience(flow):
            # Nobody here claimed it at this epoch, or its own daemon has not been heard of for too long.
            self._draft.order(job, take_over(view), view)

    def _heed_cancel(self, view: JobView) -> Decision:
        """Decide how a running job goes on, or how it ends where somebody wants it cancelled."""
        job, flow = view.job, make_flow(view)
        decision = decide_running(view, flow)
        intent = self._cancellations.get((job.site, job.id))
        if intent is None:
            return decision
        match decide_cancelling(view, flow, decision, intent=intent):
            case Stop(step):
                self._draft.stops.append(f"{job.id}.{job.epoch}.{step}")
                return Keep()
            case TooLate(decision):
                self._draft.note(job, CANCEL_REFUSED)
                return decision
            case other:
                return other

    def settle_queued(self) -> None:
        """Refuse, let wait, or start each queued job whose time has come, in turn."""
        due = [job for job in self._draft.jobs.values() if is_due(job, now=self._draft.world.now)]
        for job in order_by_turn(due, self._draft.sites):
            self._draft.guard(job, self._settle)

    def _settle(self, job: JobRecord) -> None:
        """Judge a job once its site is free, for until then its state is about to change."""
        if find_site_key(job) in self._held:
            return
        view = self._find_ready(job)
        if view is None:
            return
        nodes: set[Key] = {("node", node.metadata.id) for node in view.parties.nodes}
        if not nodes & self._held and self._count_own() < self._draft.world.max_jobs:
            if self._stop_glances(find_site_key(job), *nodes):
                return
            self._claim(job)
        # Claimed or next in turn: what comes after it on this site waits for it.
        self._turns.add(find_site_key(job))

    def _stop_glances(self, *keys: Key) -> bool:
        """Stop the glances that are in a job's way; it is claimed once they are gone, which takes a moment."""
        in_way = [key for key, view in list_glancing(self._draft.see()) if find_glance_keys(view) & set(keys)]
        self._draft.stops += in_way
        return bool(in_way)

    def judge_glances(self) -> None:
        """Record what glances found that is not known yet; what was not found out is looked for again later."""
        for source_id, view, outcome in list_glanced(self._draft.see()):
            self._draft.glanced.append(source_id)
            try:
                found = judge_glance(view, outcome) if view else None
                if found is not None:
                    self._draft.intents[found.job.id] = found.intent
                    self._draft.end(found.job, found.end)
            except Exception:  # noqa: BLE001 - a loop boundary: a glance must stop no job
                self._draft.bugs.append(traceback.format_exc())

    def glance(self) -> None:
        """Look at a source without being asked, where nothing else is to be done on its site and node."""
        self._stop_glances(*self._held)  # another daemon's job
        waiting = {
            find_site_key(job) for job in self._draft.jobs.values() if is_due(job, now=self._draft.world.now)
        }
        view = find_glance(self._draft.see(), busy=self._held | waiting)
        if view is not None:
            spec = make_run_spec(view, make_glance_step(view), folders=self._draft.folders)
            self._draft.glance = (find_source_id(view), spec)

    def _count_own(self) -> int:
        """Count the jobs that this daemon runs: `max_jobs` is a bound of each."""
        running = (job for job in self._draft.jobs.values() if job.status is JobStatus.RUNNING)
        world = self._draft.world
        return sum(is_held_by(job, worker=world.worker, instance=world.instance) for job in running)

    @property
    def _held(self) -> frozenset[Key]:
        """What running jobs hold, and the sites whose next job is known."""
        running = (job for job in self._draft.jobs.values() if job.status is JobStatus.RUNNING)
        return frozenset(self._turns).union(*map(find_keys, running))

    def _find_ready(self, job: JobRecord) -> JobView | None:
        """Find out whether nothing but a free slot is missing; whatever else is missing is recorded here."""
        intent = self._draft.intents.get(job.id)
        if intent is None:
            gone = make_blocked(f"the admitted version of {job.intent_path} is gone from the repo")
            self._draft.refuse(job, (gone,))
            return None
        if job.id in self._draft.world.unproven:
            self._draft.refuse(job, (make_blocked(self._draft.world.unproven[job.id]),))
            return None
        parties = find_parties_of(job, intent, self._draft.world.fleet)
        if not isinstance(parties, Parties):
            settle = self._draft.refuse if isinstance(parties, Misfit) else self._draft.wait
            settle(job, (make_blocked(parties.message),))
            return None
        admitted = self._draft.world.claims.get(job.admitted_commit or "")
        parties = bind_parties(parties, admitted)
        view = JobView(job, intent, parties, bind_world(self._draft.see(), admitted), parties)
        reasons = find_unmet(view)
        if not reasons:
            return view
        is_final = any(
            reason.code is ErrorCode.BACKUP_INVALID for reason in reasons
        )  # no wait brings it back
        settle = self._draft.wait if view.may_wait and not is_final else self._draft.refuse
        settle(job, reasons)
        return None

    def _claim(self, job: JobRecord) -> None:
        """Start a job: its record says so, its environment is busy, and its first step is ordered."""
        event = Started(
            self._draft.world.now,
            by=self._draft.world.worker,
            commit=self._draft.world.fleet.commit,
            instance=self._draft.world.instance,
            spent=self._draft.world.spent.get(job.id, 0),
        )
        started = advance(job, event)
        # Runs of an earlier attempt are of another epoch: this one has no outcomes yet.
        outcomes = {**self._draft.world.outcomes, job.id: {}}
        view = self._draft.make_view(started)
        if isinstance(view, str):
            return
        started = bind(started, view.parties)
        self._draft.record_job(started, tell(started, view.intent))
        site_id = view.parties.site.metadata.id
        self._draft.sites[site_id] = touch(self._draft.sites[site_id], at=self._draft.world.now)
        beginning = life.STARTS.get(started.job_type) if started.job_type else None
        record = self._draft.environments[view.parties.environment.metadata.id]
        if beginning is not None:
            self._draft.environments[record.id] = life.change(record, beginning, at=self._draft.world.now)
        world = bind_world(self._draft.see(), self._draft.world.claims.get(job.admitted_commit or ""))
        view = replace(view, job=started, world=replace(world, outcomes=outcomes))
        self._draft.order(started, decide_running(view, make_flow(view)), view)

    def free_environments(self) -> None:
        """Break each environment that is busy although no job works on it: what it serves is not known.

        A job's end says itself how it left its environment; this is for what ended without a word: a bug, or a
        record that somebody broke.
        """
        worked_on = {
            job.environment_id for job in self._draft.jobs.values() if job.status is JobStatus.RUNNING
        }
        for record in list(self._draft.environments.values()):
            if record.status in life.BUSY and record.id not in worked_on:
                broken = life.change(record, life.EnvironmentEvent.BROKE, at=self._draft.world.now)
                self._draft.environments[record.id] = broken

    def mirror_sites(self) -> None:
        """Let each site mirror the most severe status of its environments."""
        statuses: dict[UUID, list[EnvironmentStatus]] = {}
        for env in self._draft.environments.values():
            statuses.setdefault(env.site_id, []).append(env.status)
        for site in list(self._draft.sites.values()):
            status = life.mirror_site_status(statuses.get(site.id, ()))
            if status is not site.status:
                self._draft.sites[site.id] = touch(site, at=self._draft.world.now, status=status)


def find_patience(flow: Flow) -> timedelta:
    """Find how long a job's daemon may be silent before another takes the job over (design §2)."""
    return sum((step.timeout for step in flow.steps), PROBE_TIMEOUT)


def make_blocked(detail: str) -> Blocked:
    """Make the reason for a job whose files do not (or not yet) fit."""
    return Blocked(
        code=ErrorCode.INTENT_INVALID, detail=detail, remedy="correct the file that is named and commit it"
    )
