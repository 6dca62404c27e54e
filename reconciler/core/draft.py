"""A plan in the making: what one pass has decided so far, and how a record is changed, told, and ended."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from dataclasses import replace
from typing import Any, TypeVar
from uuid import UUID

from reconciler.core import environment as life
from reconciler.core.admission import (
    find_file_id,
    find_parties_of,
    hold_site_ids,
    list_sightings,
    pair_edits,
)
from reconciler.core.flow import Decision, End, JobView, StartStep, make_refusal
from reconciler.core.job import ENDED, Failed, JobEvent, Waited, advance
from reconciler.core.meeting import meet_environments, meet_sites
from reconciler.core.party import Parties
from reconciler.core.plan import Plan
from reconciler.core.policy import bind_parties, bind_world
from reconciler.core.record import check_record
from reconciler.core.retention import make_stand_ins
from reconciler.core.signer import SIGNERS_FILE, write_signers
from reconciler.core.story import Line, tell
from reconciler.core.variables import NodeFolders, make_run_spec
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


class Draft:
    """What is already decided in this pass is seen by what is decided next (`see`)."""

    def __init__(self, world: World, intents: Mapping[UUID, Intent], folders: NodeFolders) -> None:
        self.world = world = replace(world, fleet=hold_site_ids(world))
        self.intents = {**intents, **make_stand_ins(world, world.status.jobs.values())}
        self.folders = folders
        self.jobs: dict[UUID, JobRecord] = dict(world.status.jobs)
        self.environments = dict(meet_environments(world))
        self.sites = dict(meet_sites(world))
        self.records: list[tuple[str, BackupRecord | DriftCheckRecord]] = []
        new_sites = [site for site_id, site in self.sites.items() if site_id not in world.status.sites]
        self.lines = [Line(f"met site {site.name}") for site in new_sites]
        self.runs: list[RunSpec] = []
        self.bugs: list[str] = []
        self.stops: list[str] = []
        self.glance: tuple[UUID, RunSpec] | None = None
        self.glanced: list[UUID] = []
        self.sightings = list_sightings(world)

    def guard(self, job: JobRecord, decide: Callable[[JobRecord], None]) -> None:
        """Decide on one job; a bug ends that job and stops no other."""
        before = self._copy_state()
        try:
            decide(job)
        except Exception as error:  # noqa: BLE001 - one of the two loop boundaries
            self._restore_state(before)
            self.bugs.append(traceback.format_exc())
            text = (
                f"a bug in Pressluft ({type(error).__name__}), see the daemon's log; look at the node first"
            )
            self.advance(job, Failed(self.world.now, code=ErrorCode.ANSIBLE_UNEXPECTED_ERROR, message=text))

    def note(self, job: JobRecord, note: str) -> None:
        """Note something on a job, once."""
        if note not in job.notes:
            noted = {"notes": (*job.notes, note), "updated_at": self.world.now}
            self.record_job(job.model_copy(update=noted), None)

    def order(self, job: JobRecord, decision: Decision, view: JobView) -> None:
        """Order a job's next step, or record its end; there is nothing to do for one that goes on as it is."""
        if isinstance(decision, StartStep):
            self.runs.append(make_run_spec(view, decision, folders=self.folders))
        elif isinstance(decision, End):
            self.end(self.jobs[job.id], decision)

    def make_view(self, job: JobRecord) -> JobView | str:
        """Put together what is known of a job; a text says why it cannot go on."""
        intent = self.intents.get(job.id)
        if intent is None:
            return (
                f"the admitted version of {job.intent_path} (blob {job.intent_blob_id}) is gone from the repo"
            )
        world, admitted = self.see(), self.world.claims.get(job.admitted_commit or "")
        today = find_parties_of(job, intent, world.fleet)
        claimed = self.world.claims.get(job.claimed_commit or "") if job.status is JobStatus.RUNNING else None
        parties = find_parties_of(job, intent, claimed) if claimed else today
        if not isinstance(parties, Parties):
            return parties.message
        parties = bind_parties(parties, admitted)
        today = bind_parties(today, admitted) if isinstance(today, Parties) else today
        if claimed and "pressluft.yaml" in world.fleet.broken:
            world = replace(world, fleet=replace(world.fleet, fleet=claimed.fleet))
        return JobView(job, intent, parties, bind_world(world, admitted), today)

    def see(self) -> World:
        """Return the world as this draft leaves it."""
        status = replace(
            self.world.status,
            jobs=self.jobs,
            environments=self.environments,
            sites=self.sites,
            backups=self._see_backups(),
        )
        return replace(self.world, status=status)

    def _see_backups(self) -> Mapping[UUID, tuple[BackupRecord, ...]]:
        """Return the backups with those that were taken or given up in this draft."""
        known, changed = self.world.status.backups, dict[UUID, dict[UUID, BackupRecord]]()
        for _, record in self.records:
            if isinstance(record, BackupRecord):
                own = {one.id: one for one in known.get(record.environment_id, ())}
                changed.setdefault(record.environment_id, own)[record.id] = record
        return {**known, **{env_id: tuple(own.values()) for env_id, own in changed.items()}}

    def wait(self, job: JobRecord, reasons: tuple[Blocked, ...]) -> None:
        """Keep a job queued and say why, once for the same reasons."""
        if job.waiting_for != reasons:
            waiting = advance(job, Waited(self.world.now, reasons=reasons))
            self.record_job(waiting, tell(waiting, self.intents.get(job.id)))

    def refuse(self, job: JobRecord, reasons: tuple[Blocked, ...]) -> None:
        """End a queued job as failed, with the first reason's code and every reason in its message."""
        event = Failed(self.world.now, code=reasons[0].code, message=make_refusal(reasons))
        self.advance(job, event)

    def end(self, job: JobRecord, end: End) -> None:
        """Record the end of a job, or of its epoch, with all that belongs to it."""
        self.advance(job, end.event, **(end.fields or {}))
        self.records += [(job.site, check_record(record)) for record in end.records]
        now = self.world.now
        for item in end.environments:
            record = self.environments[item.environment_id]
            changed = life.change(record, item.event, at=now) if item.event else record
            fields = {name: value for name, value in item.fields.items() if getattr(changed, name) != value}
            if fields:
                changed = life.update(changed, at=now, **fields)
            self.environments[record.id] = check_record(changed)

    def advance(self, job: JobRecord, event: JobEvent, **fields: object) -> None:
        """Move a job by its table of states, and tell it. Raises `IllegalTransition`."""
        changed = check_record(advance(job, event).model_copy(update=fields))
        self.record_job(changed, tell(changed, self.intents.get(job.id), event))

    def record_job(self, job: JobRecord, line: Line | None) -> None:
        """Keep the job's new record; of several moves in one pass only the last is told."""
        self.jobs[job.id] = job
        if line is not None:
            self.lines = [other for other in self.lines if other.job is None or other.job.id != job.id]
            self.lines.append(line)

    def finish(self) -> Plan:
        """Return what differs from the world as it was."""
        old = self.world.status
        environments = dict(self._changed(self.environments, old.environments))
        names = self._name_sites()
        jobs = dict(self._changed(self.jobs, old.jobs))
        return Plan(
            jobs=jobs,
            environments={
                env_id: (names[env_id], env) for env_id, env in environments.items() if env_id in names
            },
            sites=dict(self._changed(self.sites, old.sites)),
            records=tuple(self.records),
            buried=tuple(self._list_buried(jobs)),
            files=self._write_signers(),
            story=tuple(self.lines),
            runs=tuple(self.runs),
            stops=tuple(self.stops),
            glance=self.glance,
            glanced=tuple(self.glanced),
            bugs=tuple(self.bugs),
        )

    def _copy_state(self) -> tuple[object, ...]:
        state = (self.jobs, self.environments, self.sites, self.records, self.lines, self.runs)
        return tuple(copy(part) for part in state)

    def _restore_state(self, state: tuple[Any, ...]) -> None:
        self.jobs, self.environments, self.sites, self.records, self.lines, self.runs = state

    def _write_signers(self) -> tuple[tuple[str, bytes | None], ...]:
        """Keep the keys in force where only a daemon writes."""
        if self.world.allowed_signers == self.world.status.allowed_signers:
            return ()
        self.lines.append(Line("allowed signers of intents changed"))
        return ((SIGNERS_FILE, write_signers(self.world.allowed_signers)),)

    def _name_sites(self) -> Mapping[UUID, str]:
        """Name the folder of each environment's record: its site's, or where it was for one that is gone."""
        gone = {env_id: min(paths).split("/")[1] for env_id, paths in self.world.status.paths.items()}
        present = {
            env.metadata.id: site.name
            for site in self.world.fleet.sites.values()
            for env in site.environments.values()
        }
        return {**gone, **present}

    def _list_buried(self, jobs: Mapping[UUID, JobRecord]) -> Iterator[tuple[str, UUID]]:
        """List the edits of jobs that end now: an edit that changed nothing must not run once the job has ended."""
        for job, sighting in pair_edits(self.sightings, self.world):
            if job.id in jobs and jobs[job.id].status in ENDED and sighting.job_id != job.id:
                yield job.site, find_file_id(sighting.file)

    @staticmethod
    def _changed(new: Mapping[UUID, RecordT], old: Mapping[UUID, RecordT]) -> Iterator[tuple[UUID, RecordT]]:
        return ((key, value) for key, value in new.items() if old.get(key) != value)
