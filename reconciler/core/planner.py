"""One plan from one look at the world: which records change, which runs start, and the story of it.

Pure: the same world gives the same plan. Nothing here acts; `reconcile.py` carries the plan out and has no choice.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar
from uuid import UUID

from reconciler.core import environment as life
from reconciler.core.admission import find_parties_of, list_edited, list_new_jobs, list_withdrawn
from reconciler.core.claim import choose_startable, is_due
from reconciler.core.flow import End, Flow, JobView, StartStep, decide_running, make_refusal
from reconciler.core.gate import find_inactive, find_unmet_at_request, find_unmet_rollback, present
from reconciler.core.job import ENDED, Failed, JobEvent, Started, Waited, advance
from reconciler.core.party import Misfit, Parties, Unsettled
from reconciler.core.promotion import make_promotion_flow
from reconciler.core.story import Line, tell
from reconciler.core.upkeep import (
    make_backup_flow,
    make_drift_check_flow,
    make_refresh_flow,
    make_rollback_flow,
)
from reconciler.core.variables import NodeFolders, make_run_spec
from reconciler.core.world import World
from reconciler.ports import RunSpec
from schemas.intent import Backup, DriftCheck, Intent, Promotion, Refresh, Rollback
from schemas.state import ErrorCode, JobStatus
from schemas.status import (
    BackupRecord,
    Blocked,
    DriftCheckRecord,
    EnvironmentRecord,
    JobRecord,
    SiteRecord,
)

RecordT = TypeVar("RecordT")


@dataclass(frozen=True, slots=True)
class Plan:
    """What a pass does: records to commit with their story, then runs to start, then runs to forget."""

    jobs: Mapping[UUID, JobRecord] = field(default_factory=dict)
    environments: Mapping[UUID, tuple[str, EnvironmentRecord]] = field(default_factory=dict)
    sites: Mapping[UUID, SiteRecord] = field(default_factory=dict)
    records: tuple[tuple[str, BackupRecord | DriftCheckRecord], ...] = ()
    story: tuple[Line, ...] = ()
    runs: tuple[RunSpec, ...] = ()
    bugs: tuple[str, ...] = ()
    """Tracebacks of jobs that broke the planner: they end `failed`, the others go on."""

    @property
    def ended(self) -> tuple[JobRecord, ...]:
        """The jobs that end with this plan."""
        return tuple(job for job in self.jobs.values() if job.status in ENDED)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to commit."""
        return not (self.jobs or self.environments or self.sites or self.records)


def make_plan(world: World, intents: Mapping[UUID, Intent], *, folders: NodeFolders) -> Plan:
    """Plan one pass. `intents` holds the admitted version of every open job's intent."""
    draft = Draft(world, intents, folders)
    draft.meet_environments()
    draft.admit_intents()
    draft.carry_on_running()
    draft.settle_queued()
    draft.mirror_sites()
    return draft.finish()


class Draft:
    """A plan in the making: what is already decided in this pass is seen by what is decided next."""

    def __init__(self, world: World, intents: Mapping[UUID, Intent], folders: NodeFolders) -> None:
        self._world = world
        self._intents = dict(intents)
        self._folders = folders
        self._jobs: dict[UUID, JobRecord] = dict(world.status.jobs)
        self._environments = dict(world.status.environments)
        self._sites = dict(world.status.sites)
        self._records: list[tuple[str, BackupRecord | DriftCheckRecord]] = []
        self._lines: list[Line] = []
        self._runs: list[RunSpec] = []
        self._bugs: list[str] = []
        self._site_names = {
            env.metadata.id: site.name
            for site in world.fleet.sites.values()
            for env in site.environments.values()
        }

    def meet_environments(self) -> None:
        """Make a record of each environment and site that is seen for the first time."""
        now = self._world.now
        for site in self._world.fleet.sites.values():
            if site.document is None:
                continue
            site_id, primary = site.document.metadata.id, site.production
            if site_id not in self._sites:
                self._sites[site_id] = SiteRecord(
                    id=site_id,
                    name=site.name,
                    primary_environment_id=primary.metadata.id if primary else None,
                    created_at=now,
                    updated_at=now,
                )
                self._lines.append(Line(f"met site {site.name}"))
            for env in site.environments.values():
                if env.metadata.id not in self._environments:
                    self._environments[env.metadata.id] = EnvironmentRecord(
                        id=env.metadata.id,
                        name=env.metadata.name,
                        site_id=site_id,
                        created_at=now,
                        updated_at=now,
                    )

    def admit_intents(self) -> None:
        """Admit what is new, withdraw what is gone, note what was edited."""
        files = {file.blob_id: file.intent for file in self._world.fleet.intents}
        for job in list_new_jobs(self._world):
            intent = files.get(job.intent_blob_id or "")
            if intent is not None:
                self._intents[job.id] = intent
            self._record_job(job, tell(job, intent))
        for job in list_withdrawn(self._world):
            self._record_job(job, tell(job, self._intents.get(job.id)))
        for job in list_edited(self._world):
            if self._jobs[job.id].status not in ENDED:
                self._record_job(self._jobs[job.id].model_copy(update={"notes": job.notes}), None)

    def carry_on_running(self) -> None:
        """Decide how each running job that this worker holds goes on."""
        for job in list(self._jobs.values()):
            if (
                job.status is JobStatus.RUNNING
                and job.locked_by == self._world.worker
                and self._is_awake(job)
            ):
                self._guard(job, self._carry_on)

    def _guard(self, job: JobRecord, decide: Callable[[JobRecord], None]) -> None:
        """Decide on one job; a bug ends that job and stops no other."""
        before = (dict(self._jobs), dict(self._environments), [*self._records], [*self._lines], [*self._runs])
        try:
            decide(job)
        except Exception as error:  # noqa: BLE001 - one of the two loop boundaries
            self._jobs, self._environments, self._records, self._lines, self._runs = before
            self._bugs.append(traceback.format_exc())
            text = f"a bug in Pressluft ({type(error).__name__}), see the daemon's log; look at the node first"
            self._advance(job, Failed(self._world.now, code=ErrorCode.ANSIBLE_UNEXPECTED_ERROR, message=text))
            self._break_environment(job)

    def _break_environment(self, job: JobRecord) -> None:
        """Leave the environment of a job that a bug ended in a state that says so, if the job had made it busy."""
        record = self._environments.get(job.environment_id) if job.environment_id else None
        if record is not None and record.status in life.BUSY and job.status is JobStatus.RUNNING:
            self._environments[record.id] = life.change(
                record, life.EnvironmentEvent.BROKE, at=self._world.now
            )

    def _is_awake(self, job: JobRecord) -> bool:
        return job.run_after is None or job.run_after <= self._world.now

    def _carry_on(self, job: JobRecord) -> None:
        view = self._make_view(job)
        if isinstance(view, str):
            self._end(job, End(Failed(self._world.now, code=ErrorCode.INTENT_INVALID, message=view)))
            return
        decision = decide_running(view, make_flow(view))
        if isinstance(decision, StartStep):
            self._runs.append(make_run_spec(view, decision, folders=self._folders))
        elif isinstance(decision, End):
            self._end(job, decision)

    def _make_view(self, job: JobRecord) -> JobView | str:
        """Put together what is known of a job; a text says why it cannot go on."""
        intent = self._intents.get(job.id)
        if intent is None:
            return (
                f"the admitted version of {job.intent_path} (blob {job.intent_blob_id}) is gone from the repo"
            )
        parties = find_parties_of(job, intent, self._world)
        if not isinstance(parties, Parties):
            return parties.message
        return JobView(job, intent, parties, self._see())

    def _see(self) -> World:
        """Return the world as this draft leaves it."""
        status = replace(
            self._world.status, jobs=self._jobs, environments=self._environments, sites=self._sites
        )
        return replace(self._world, status=status)

    def settle_queued(self) -> None:
        """Refuse, let wait, or start each queued job whose time has come."""
        now = self._world.now
        due = [job for job in self._jobs.values() if is_due(job, now=now)]
        ready = [job for job in due if self._is_ready(job)]
        running = [job for job in self._jobs.values() if job.status is JobStatus.RUNNING]
        for job in choose_startable(ready, running, max_jobs=self._world.max_jobs):
            self._guard(self._jobs[job.id], self._claim)

    def _is_ready(self, job: JobRecord) -> bool:
        """Whether nothing but a free slot is missing; whatever else is missing is recorded here."""
        intent = self._intents.get(job.id)
        if intent is None:
            self._refuse(
                job, (make_blocked(f"the admitted version of {job.intent_path} is gone from the repo"),)
            )
            return False
        parties = find_parties_of(job, intent, self._world)
        if isinstance(parties, Misfit):
            self._refuse(job, (make_blocked(parties.message),))
            return False
        if isinstance(parties, Unsettled):
            self._wait(job, (make_blocked(parties.message),))
            return False
        return self._passes_gates(job, JobView(job, intent, parties, self._see()))

    def _passes_gates(self, job: JobRecord, view: JobView) -> bool:
        if self._is_site_busy(job):
            return False  # it will be judged when the site is free: its state is about to change
        reasons = find_unmet(view)
        if not reasons:
            return True
        if view.may_wait:
            self._wait(job, reasons)
        else:
            self._refuse(job, reasons)
        return False

    def _is_site_busy(self, job: JobRecord) -> bool:
        return any(
            other.status is JobStatus.RUNNING and other.site == job.site
            for other in self._jobs.values()
            if other.id != job.id
        )

    def _wait(self, job: JobRecord, reasons: tuple[Blocked, ...]) -> None:
        if job.waiting_for != reasons:
            waiting = advance(job, Waited(self._world.now, reasons=reasons))
            self._record_job(waiting, tell(waiting, self._intents.get(job.id)))

    def _refuse(self, job: JobRecord, reasons: tuple[Blocked, ...]) -> None:
        event = Failed(self._world.now, code=reasons[0].code, message=make_refusal(reasons))
        self._advance(job, event)

    def _claim(self, job: JobRecord) -> None:
        """Start a job: its record says so, its environment is busy, and its first step is ordered."""
        event = Started(self._world.now, by=self._world.worker, commit=self._world.fleet.commit)
        started = advance(job, event)
        view = self._make_view(started)
        if isinstance(view, str):
            return
        started = started.model_copy(
            update={
                "environment_id": view.parties.environment.metadata.id,
                "source_environment_id": view.parties.source.metadata.id if view.parties.source else None,
                "node_id": view.parties.node.metadata.id,
            }
        )
        self._record_job(started, tell(started, view.intent))
        beginning = life.STARTS.get(started.job_type) if started.job_type else None
        record = self._environments[view.parties.environment.metadata.id]
        if beginning is not None:
            self._environments[record.id] = life.change(record, beginning, at=self._world.now)
        # Runs of an earlier attempt are of another epoch: this one has no outcomes yet.
        fresh = replace(self._see(), outcomes={**self._world.outcomes, job.id: {}})
        view = replace(view, job=started, world=fresh)
        decision = decide_running(view, make_flow(view))
        if isinstance(decision, StartStep):
            self._runs.append(make_run_spec(view, decision, folders=self._folders))
        elif isinstance(decision, End):
            self._end(started, decision)

    def _end(self, job: JobRecord, end: End) -> None:
        """Record the end of a job, or of its epoch, with all that belongs to it."""
        self._advance(job, end.event, **(end.fields or {}))
        self._records += [(job.site, record) for record in end.records]
        now = self._world.now
        for item in end.environments:
            record = self._environments[item.environment_id]
            changed = life.change(record, item.event, at=now) if item.event else record
            fields = {name: value for name, value in item.fields.items() if getattr(changed, name) != value}
            if fields:
                changed = life.update(changed, at=now, **fields)
            self._environments[record.id] = changed

    def _advance(self, job: JobRecord, event: JobEvent, **fields: object) -> None:
        changed = advance(job, event).model_copy(update=fields)
        self._record_job(changed, tell(changed, self._intents.get(job.id), event))

    def _record_job(self, job: JobRecord, line: Line | None) -> None:
        """Keep the job's new record; of several moves in one pass only the last is told."""
        self._jobs[job.id] = job
        if line is not None:
            self._lines = [other for other in self._lines if other.job is None or other.job.id != job.id]
            self._lines.append(line)

    def mirror_sites(self) -> None:
        """Let each site mirror the most severe status of its environments."""
        for site in list(self._sites.values()):
            statuses = [env.status for env in self._environments.values() if env.site_id == site.id]
            status = life.mirror_site_status(statuses)
            if status is not site.status:
                self._sites[site.id] = site.model_copy(
                    update={
                        "status": status,
                        "updated_at": self._world.now,
                        "state_version": site.state_version + 1,
                    }
                )

    def finish(self) -> Plan:
        """Return what differs from the world as it was."""
        old = self._world.status
        environments = dict(self._changed(self._environments, old.environments))
        return Plan(
            jobs=dict(self._changed(self._jobs, old.jobs)),
            environments={
                env_id: (self._site_names[env_id], env)
                for env_id, env in environments.items()
                if env_id in self._site_names
            },
            sites=dict(self._changed(self._sites, old.sites)),
            records=tuple(self._records),
            story=tuple(self._lines),
            runs=tuple(self._runs),
            bugs=tuple(self._bugs),
        )

    @staticmethod
    def _changed(new: Mapping[UUID, RecordT], old: Mapping[UUID, RecordT]) -> Iterator[tuple[UUID, RecordT]]:
        return ((key, value) for key, value in new.items() if old.get(key) != value)


def make_flow(view: JobView) -> Flow:
    """Return the flow of a job by its intent's kind."""
    match view.intent:
        case Promotion():
            return make_promotion_flow(view, view.intent)
        case DriftCheck():
            return make_drift_check_flow(view, view.intent)
        case Backup():
            return make_backup_flow(view, view.intent)
        case Refresh():
            return make_refresh_flow(view, view.intent)
        case Rollback():
            return make_rollback_flow(view, view.intent)
        case _:
            raise ValueError(f"an intent of kind {view.intent.kind} is never admitted")


def find_unmet(view: JobView) -> tuple[Blocked, ...]:
    """Find the gates that are shut before a job is started, as far as git can tell."""
    match view.intent:
        case Promotion():
            takes_backup = view.intent.spec.backup == "create"
            return find_unmet_at_request(view.parties, view.world, takes_backup=takes_backup)
        case Rollback():
            return find_unmet_rollback(view.parties, view.world)
        case Refresh():
            record = view.world.status.environments.get(view.parties.environment.metadata.id)
            return tuple(present(find_inactive([record] if record else [])))
        case _:
            return ()


def make_blocked(detail: str) -> Blocked:
    """Make the reason for a job whose files do not (or not yet) fit."""
    return Blocked(
        code=ErrorCode.INTENT_INVALID, detail=detail, remedy="correct the file that is named and commit it"
    )
