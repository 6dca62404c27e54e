"""One plan from one look at the world: which records change, which runs start, and the story of it.

Pure: the same world gives the same plan. Nothing here acts; `reconcile.py` carries the plan out and has no choice.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

from reconciler.core import environment as life
from reconciler.core.admission import (
    Sighting,
    admit,
    bind,
    find_file_id,
    find_parties_of,
    hold_site_ids,
    list_edited,
    list_new,
    list_sightings,
    list_withdrawn,
    make_status_folder,
    pair_edits,
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
from reconciler.core.flow import Decision, End, Flow, JobView, Keep, StartStep, make_refusal
from reconciler.core.job import ENDED, Failed, JobEvent, Started, Waited, advance
from reconciler.core.kind import find_unmet, make_flow
from reconciler.core.meeting import meet_environments, meet_sites, touch
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
from reconciler.core.record import check_record
from reconciler.core.retention import find_due_cleanups, make_stand_ins
from reconciler.core.signer import SIGNERS_FILE, write_signers
from reconciler.core.story import Line, tell
from reconciler.core.variables import NodeFolders, make_run_spec
from reconciler.core.walk import PROBE_TIMEOUT, accept_end, decide_running, take_over
from reconciler.core.world import World
from reconciler.ports import RunSpec
from schemas.intent import Intent
from schemas.state import ErrorCode, JobStatus
from schemas.status import (
    BackupRecord,
    Blocked,
    DriftCheckRecord,
    JobRecord,
)

RecordT = TypeVar("RecordT")


def make_plan(world: World, intents: Mapping[UUID, Intent], *, folders: NodeFolders) -> Plan:
    """Plan one pass. `intents` holds the admitted version of every open job's intent."""
    draft = Draft(world, intents, folders)
    draft.bury_damaged()
    draft.admit_intents()
    draft.carry_on_running()
    draft.judge_glances()
    draft.start_upkeep()
    draft.settle_queued()
    draft.glance()
    draft.free_environments()
    draft.mirror_sites()
    return draft.finish()


class Draft:
    """A plan in the making: what is already decided in this pass is seen by what is decided next."""

    def __init__(self, world: World, intents: Mapping[UUID, Intent], folders: NodeFolders) -> None:
        self._world = world = replace(world, fleet=hold_site_ids(world))
        self._intents = {**intents, **make_stand_ins(world, world.status.jobs.values())}
        self._folders = folders
        self._jobs: dict[UUID, JobRecord] = dict(world.status.jobs)
        self._environments = dict(meet_environments(world))
        self._sites = dict(meet_sites(world))
        self._records: list[tuple[str, BackupRecord | DriftCheckRecord]] = []
        new_sites = [site for site_id, site in self._sites.items() if site_id not in world.status.sites]
        self._lines = [Line(f"met site {site.name}") for site in new_sites]
        self._runs: list[RunSpec] = []
        self._bugs: list[str] = []
        self._turns: set[Key] = set()
        self._sightings = list_sightings(world)
        self._cancellations = find_cancellations(self._sightings)
        self._stops: list[str] = []
        self._glance: tuple[UUID, RunSpec] | None = None
        self._glanced: list[UUID] = []

    def bury_damaged(self) -> None:
        """End the jobs whose record somebody broke: what became of them cannot be told any more."""
        text = (
            "the job's record in status/ cannot be read any more: it was changed by hand. "
            "Next: look at the node, then commit a new intent"
        )
        for job_id, site in self._world.status.damaged.items():
            queued = JobRecord(
                id=job_id,
                status=JobStatus.QUEUED,
                site=make_status_folder(site),
                created_at=self._world.now,
                updated_at=self._world.now,
            )
            event = Failed(self._world.now, code=ErrorCode.ANSIBLE_UNEXPECTED_ERROR, message=text)
            ended = advance(queued, event)
            self._record_job(ended, Line(f"job {job_id} failed: its record was broken", ended))

    def admit_intents(self) -> None:
        """Admit what is new, withdraw what is gone, note what was edited."""
        for sighting in list_new(self._sightings, self._world):
            self._admit(sighting)
        for job in list_withdrawn(self._sightings, self._world):
            self._record_job(job, tell(job, self._intents.get(job.id)))
        for job in list_edited(self._sightings, self._world):
            if self._jobs[job.id].status not in ENDED:
                self._record_job(self._jobs[job.id].model_copy(update={"notes": job.notes}), None)
        for job in list(cancel_queued(self._jobs.values(), self._cancellations, now=self._world.now)):
            self._record_job(job, tell(job, self._intents.get(job.id)))

    def _admit(self, sighting: Sighting) -> None:
        """Admit one file; one that breaks the planner is reported like any that is no intent."""
        file, now = sighting.file, self._world.now
        try:
            job = admit(file, sighting.job_id, view=self._world.fleet, now=now)
        except Exception as error:  # noqa: BLE001 - a loop boundary: one file must not stop the others
            self._bugs.append(traceback.format_exc())
            text = f"{file.path}: a bug in Pressluft ({type(error).__name__}), see the daemon's log"
            refused = replace(file, intent=None, error=text)
            job = admit(refused, sighting.job_id, view=self._world.fleet, now=now)
        if file.intent is not None:
            self._intents[job.id] = file.intent
        self._record_job(job, tell(job, file.intent))

    def carry_on_running(self) -> None:
        """Decide how each running job goes on that this worker holds, or that another has left alone too long."""
        for job in list(self._jobs.values()):
            if job.status is JobStatus.RUNNING and is_awake(job, now=self._world.now):
                self._guard(job, self._carry_on)

    def start_upkeep(self) -> None:
        """Add the jobs that nobody asks for."""
        jobs = tuple(find_due_cleanups(self._see()))
        self._intents.update(make_stand_ins(self._world, jobs))
        for job in jobs:
            self._record_job(job, tell(job, self._intents.get(job.id)))

    def _guard(self, job: JobRecord, decide: Callable[[JobRecord], None]) -> None:
        """Decide on one job; a bug ends that job and stops no other."""
        before = self._copy_state()
        try:
            decide(job)
        except Exception as error:  # noqa: BLE001 - one of the two loop boundaries
            self._restore_state(before)
            self._bugs.append(traceback.format_exc())
            text = (
                f"a bug in Pressluft ({type(error).__name__}), see the daemon's log; look at the node first"
            )
            self._advance(job, Failed(self._world.now, code=ErrorCode.ANSIBLE_UNEXPECTED_ERROR, message=text))

    def _copy_state(self) -> tuple[object, ...]:
        state = (self._jobs, self._environments, self._sites, self._records, self._lines, self._runs)
        return tuple(copy(part) for part in state)

    def _restore_state(self, state: tuple[Any, ...]) -> None:
        self._jobs, self._environments, self._sites, self._records, self._lines, self._runs = state

    def _carry_on(self, job: JobRecord) -> None:
        is_ours = is_held_by(job, worker=self._world.worker, instance=self._world.instance)
        view = self._make_view(job)
        if isinstance(view, str):
            if is_ours:
                self._end(job, End(Failed(self._world.now, code=ErrorCode.INTENT_INVALID, message=view)))
            return
        flow = make_flow(view)
        if is_ours and job.id in self._world.outcomes:
            view = accept_end(view, flow)
            self._order(job, self._heed_cancel(view), view)
        elif is_ours or self._world.now > job.updated_at + find_patience(flow):
            # Nobody here claimed it at this epoch, or its own daemon has not been heard of for too long.
            self._order(job, take_over(view), view)

    def _heed_cancel(self, view: JobView) -> Decision:
        """Decide how a running job goes on, or how it ends where somebody wants it cancelled."""
        job, flow = view.job, make_flow(view)
        decision = decide_running(view, flow)
        intent = self._cancellations.get((job.site, job.id))
        if intent is None:
            return decision
        match decide_cancelling(view, flow, decision, intent=intent):
            case Stop(step):
                self._stops.append(f"{job.id}.{job.epoch}.{step}")
                return Keep()
            case TooLate(decision):
                self._note(job, CANCEL_REFUSED)
                return decision
            case other:
                return other

    def _note(self, job: JobRecord, note: str) -> None:
        """Note something on a job, once."""
        if note not in job.notes:
            noted = {"notes": (*job.notes, note), "updated_at": self._world.now}
            self._record_job(job.model_copy(update=noted), None)

    def _order(self, job: JobRecord, decision: Decision, view: JobView) -> None:
        if isinstance(decision, StartStep):
            self._runs.append(make_run_spec(view, decision, folders=self._folders))
        elif isinstance(decision, End):
            self._end(self._jobs[job.id], decision)

    def _make_view(self, job: JobRecord) -> JobView | str:
        """Put together what is known of a job; a text says why it cannot go on."""
        intent = self._intents.get(job.id)
        if intent is None:
            return (
                f"the admitted version of {job.intent_path} (blob {job.intent_blob_id}) is gone from the repo"
            )
        world, admitted = self._see(), self._world.claims.get(job.admitted_commit or "")
        today = find_parties_of(job, intent, world.fleet)
        claimed = (
            self._world.claims.get(job.claimed_commit or "") if job.status is JobStatus.RUNNING else None
        )
        parties = find_parties_of(job, intent, claimed) if claimed else today
        if not isinstance(parties, Parties):
            return parties.message
        parties = bind_parties(parties, admitted)
        today = bind_parties(today, admitted) if isinstance(today, Parties) else today
        if claimed and "pressluft.yaml" in world.fleet.broken:
            world = replace(world, fleet=replace(world.fleet, fleet=claimed.fleet))
        return JobView(job, intent, parties, bind_world(world, admitted), today)

    def _see(self) -> World:
        """Return the world as this draft leaves it."""
        taken = {record.id: record for _, record in self._records if isinstance(record, BackupRecord)}
        known = self._world.status.backups
        status = replace(
            self._world.status,
            jobs=self._jobs,
            environments=self._environments,
            sites=self._sites,
            backups=tuple({**{one.id: one for one in known}, **taken}.values()) if taken else known,
        )
        return replace(self._world, status=status)

    def settle_queued(self) -> None:
        """Refuse, let wait, or start each queued job whose time has come, in turn."""
        due = [job for job in self._jobs.values() if is_due(job, now=self._world.now)]
        for job in order_by_turn(due, self._sites):
            self._guard(job, self._settle)

    def _settle(self, job: JobRecord) -> None:
        """Judge a job once its site is free, for until then its state is about to change."""
        if find_site_key(job) in self._held:
            return
        view = self._find_ready(job)
        if view is None:
            return
        nodes: set[Key] = {("node", node.metadata.id) for node in view.parties.nodes}
        if not nodes & self._held and self._count_own() < self._world.max_jobs:
            if self._stop_glances(find_site_key(job), *nodes):
                return
            self._claim(job)
        # Claimed or next in turn: what comes after it on this site waits for it.
        self._turns.add(find_site_key(job))

    def _stop_glances(self, *keys: Key) -> bool:
        """Stop the glances that are in a job's way; it is claimed once they are gone, which takes a moment."""
        in_way = [key for key, view in list_glancing(self._see()) if find_glance_keys(view) & set(keys)]
        self._stops += in_way
        return bool(in_way)

    def judge_glances(self) -> None:
        """Record what glances found that is not known yet; what was not found out is looked for again later."""
        for source_id, view, outcome in list_glanced(self._see()):
            self._glanced.append(source_id)
            try:
                found = judge_glance(view, outcome) if view else None
                if found is not None:
                    self._intents[found.job.id] = found.intent
                    self._end(found.job, found.end)
            except Exception:  # noqa: BLE001 - a loop boundary: a glance must stop no job
                self._bugs.append(traceback.format_exc())

    def glance(self) -> None:
        """Look at a source without being asked, where nothing else is to be done on its site and node."""
        self._stop_glances(*self._held)  # another daemon's job
        waiting = {find_site_key(job) for job in self._jobs.values() if is_due(job, now=self._world.now)}
        view = find_glance(self._see(), busy=self._held | waiting)
        if view is not None:
            spec = make_run_spec(view, make_glance_step(view), folders=self._folders)
            self._glance = (find_source_id(view), spec)

    def _count_own(self) -> int:
        """Count the jobs that this daemon runs: `max_jobs` is a bound of each."""
        running = (job for job in self._jobs.values() if job.status is JobStatus.RUNNING)
        world = self._world
        return sum(is_held_by(job, worker=world.worker, instance=world.instance) for job in running)

    @property
    def _held(self) -> frozenset[Key]:
        """What running jobs hold, and the sites whose next job is known."""
        running = (job for job in self._jobs.values() if job.status is JobStatus.RUNNING)
        return frozenset(self._turns).union(*map(find_keys, running))

    def _find_ready(self, job: JobRecord) -> JobView | None:
        """Find out whether nothing but a free slot is missing; whatever else is missing is recorded here."""
        intent = self._intents.get(job.id)
        if intent is None:
            gone = make_blocked(f"the admitted version of {job.intent_path} is gone from the repo")
            self._refuse(job, (gone,))
            return None
        if job.id in self._world.unproven:
            self._refuse(job, (make_blocked(self._world.unproven[job.id]),))
            return None
        parties = find_parties_of(job, intent, self._world.fleet)
        if not isinstance(parties, Parties):
            settle = self._refuse if isinstance(parties, Misfit) else self._wait
            settle(job, (make_blocked(parties.message),))
            return None
        admitted = self._world.claims.get(job.admitted_commit or "")
        parties = bind_parties(parties, admitted)
        view = JobView(job, intent, parties, bind_world(self._see(), admitted), parties)
        reasons = find_unmet(view)
        if not reasons:
            return view
        is_final = any(
            reason.code is ErrorCode.BACKUP_INVALID for reason in reasons
        )  # no wait brings it back
        settle = self._wait if view.may_wait and not is_final else self._refuse
        settle(job, reasons)
        return None

    def _wait(self, job: JobRecord, reasons: tuple[Blocked, ...]) -> None:
        if job.waiting_for != reasons:
            waiting = advance(job, Waited(self._world.now, reasons=reasons))
            self._record_job(waiting, tell(waiting, self._intents.get(job.id)))

    def _refuse(self, job: JobRecord, reasons: tuple[Blocked, ...]) -> None:
        event = Failed(self._world.now, code=reasons[0].code, message=make_refusal(reasons))
        self._advance(job, event)

    def _claim(self, job: JobRecord) -> None:
        """Start a job: its record says so, its environment is busy, and its first step is ordered."""
        event = Started(
            self._world.now,
            by=self._world.worker,
            commit=self._world.fleet.commit,
            instance=self._world.instance,
            spent=self._world.spent.get(job.id, 0),
        )
        started = advance(job, event)
        # Runs of an earlier attempt are of another epoch: this one has no outcomes yet.
        outcomes = {**self._world.outcomes, job.id: {}}
        view = self._make_view(started)
        if isinstance(view, str):
            return
        started = bind(started, view.parties)
        self._record_job(started, tell(started, view.intent))
        site_id = view.parties.site.metadata.id
        self._sites[site_id] = touch(self._sites[site_id], at=self._world.now)
        beginning = life.STARTS.get(started.job_type) if started.job_type else None
        record = self._environments[view.parties.environment.metadata.id]
        if beginning is not None:
            self._environments[record.id] = life.change(record, beginning, at=self._world.now)
        world = bind_world(self._see(), self._world.claims.get(job.admitted_commit or ""))
        view = replace(view, job=started, world=replace(world, outcomes=outcomes))
        self._order(started, decide_running(view, make_flow(view)), view)

    def _end(self, job: JobRecord, end: End) -> None:
        """Record the end of a job, or of its epoch, with all that belongs to it."""
        self._advance(job, end.event, **(end.fields or {}))
        self._records += [(job.site, check_record(record)) for record in end.records]
        now = self._world.now
        for item in end.environments:
            record = self._environments[item.environment_id]
            changed = life.change(record, item.event, at=now) if item.event else record
            fields = {name: value for name, value in item.fields.items() if getattr(changed, name) != value}
            if fields:
                changed = life.update(changed, at=now, **fields)
            self._environments[record.id] = check_record(changed)

    def _advance(self, job: JobRecord, event: JobEvent, **fields: object) -> None:
        changed = check_record(advance(job, event).model_copy(update=fields))
        self._record_job(changed, tell(changed, self._intents.get(job.id), event))

    def _record_job(self, job: JobRecord, line: Line | None) -> None:
        """Keep the job's new record; of several moves in one pass only the last is told."""
        self._jobs[job.id] = job
        if line is not None:
            self._lines = [other for other in self._lines if other.job is None or other.job.id != job.id]
            self._lines.append(line)

    def free_environments(self) -> None:
        """Break each environment that is busy although no job works on it: what it serves is not known.

        A job's end says itself how it left its environment; this is for what ended without a word: a bug, or a
        record that somebody broke.
        """
        worked_on = {job.environment_id for job in self._jobs.values() if job.status is JobStatus.RUNNING}
        for record in list(self._environments.values()):
            if record.status in life.BUSY and record.id not in worked_on:
                broken = life.change(record, life.EnvironmentEvent.BROKE, at=self._world.now)
                self._environments[record.id] = broken

    def mirror_sites(self) -> None:
        """Let each site mirror the most severe status of its environments."""
        for site in list(self._sites.values()):
            statuses = [env.status for env in self._environments.values() if env.site_id == site.id]
            status = life.mirror_site_status(statuses)
            if status is not site.status:
                self._sites[site.id] = touch(site, at=self._world.now, status=status)

    def finish(self) -> Plan:
        """Return what differs from the world as it was."""
        old = self._world.status
        environments = dict(self._changed(self._environments, old.environments))
        names = self._name_sites()
        jobs = dict(self._changed(self._jobs, old.jobs))
        return Plan(
            jobs=jobs,
            environments={
                env_id: (names[env_id], env) for env_id, env in environments.items() if env_id in names
            },
            sites=dict(self._changed(self._sites, old.sites)),
            records=tuple(self._records),
            buried=tuple(self._list_buried(jobs)),
            files=self._write_signers(),
            story=tuple(self._lines),
            runs=tuple(self._runs),
            stops=tuple(self._stops),
            glance=self._glance,
            glanced=tuple(self._glanced),
            bugs=tuple(self._bugs),
        )

    def _write_signers(self) -> tuple[tuple[str, bytes | None], ...]:
        """Keep the keys in force where only a daemon writes."""
        if self._world.allowed_signers == self._world.status.allowed_signers:
            return ()
        self._lines.append(Line("allowed signers of intents changed"))
        return ((SIGNERS_FILE, write_signers(self._world.allowed_signers)),)

    def _name_sites(self) -> Mapping[UUID, str]:
        """Name the folder of each environment's record: its site's, or where it was for one that is gone."""
        gone = {env_id: min(paths).split("/")[1] for env_id, paths in self._world.status.paths.items()}
        present = {
            env.metadata.id: site.name
            for site in self._world.fleet.sites.values()
            for env in site.environments.values()
        }
        return {**gone, **present}

    def _list_buried(self, jobs: Mapping[UUID, JobRecord]) -> Iterator[tuple[str, UUID]]:
        """List the edits of jobs that end now: an edit that changed nothing must not run once the job has ended."""
        for job, sighting in pair_edits(self._sightings, self._world):
            if job.id in jobs and jobs[job.id].status in ENDED and sighting.job_id != job.id:
                yield job.site, find_file_id(sighting.file)

    @staticmethod
    def _changed(new: Mapping[UUID, RecordT], old: Mapping[UUID, RecordT]) -> Iterator[tuple[UUID, RecordT]]:
        return ((key, value) for key, value in new.items() if old.get(key) != value)


def find_patience(flow: Flow) -> timedelta:
    """Find how long a job's daemon may be silent before another takes the job over (design §2)."""
    return sum((step.timeout for step in flow.steps), PROBE_TIMEOUT)


def make_blocked(detail: str) -> Blocked:
    """Make the reason for a job whose files do not (or not yet) fit."""
    return Blocked(
        code=ErrorCode.INTENT_INVALID, detail=detail, remedy="correct the file that is named and commit it"
    )
