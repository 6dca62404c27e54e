"""Periodic drift checks (`drift_check_interval`): which source is looked at next, and what of it is worth a commit.

Such a look is a *glance*. It is claimed by nobody and written nowhere: a run with epoch 0 that the node lets in only
while no step of a job is under way there, and whose result it throws away if one came meanwhile. So several daemons
may glance at the same site, a crash leaves nothing, and no job ever waits for one: it is stopped for any job.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID, uuid5

from reconciler.core.admission import bind
from reconciler.core.claim import Key
from reconciler.core.drift import find_unreadable
from reconciler.core.flow import End, EnvironmentChange, JobView, StartStep, fail, read_answer
from reconciler.core.job import Succeeded
from reconciler.core.party import Parties, find_parties, list_environments
from reconciler.core.record import make_drift_record, require
from reconciler.core.upkeep import make_drift_fields, story
from reconciler.core.world import World
from reconciler.ports import RunOutcome, RunState
from schemas.intent import DriftCheck, DriftCheckSpec, Intent
from schemas.model import Metadata
from schemas.observation import Observation
from schemas.state import DriftStatus, EnvironmentStatus, ErrorCode, JobStatus, JobType
from schemas.status import DriftCheckRecord, EnvironmentRecord, JobRecord

EPOCH = 0
"""No claim ever has it, and the node compares it with none."""
STEP = "check"


def make_glance_id(source_id: UUID) -> UUID:
    """Name the glance at a source: always the same, so that what an earlier one left is found and removed."""
    return uuid5(source_id, "periodic drift check")


def make_glance_key(source_id: UUID) -> str:
    """Name the run of the glance at a source (`RunSpec.key`)."""
    return f"{make_glance_id(source_id)}.{EPOCH}.{STEP}"


def find_glance(world: World, *, busy: Collection[Key]) -> JobView | None:
    """Find the source whose glance is due, the one that waited longest first; at most one glance at a time.

    `busy` are the sites and nodes that a job holds, or will in this pass.
    """
    interval, glances = world.fleet.fleet.spec.drift_check_interval, world.glances
    if interval is None or glances is None or glances.under_way or world.max_jobs <= 0:
        return None
    found = (view for view in list_glances(world) if not find_glance_keys(view).intersection(busy))
    due = [view for view in found if is_due(find_last_look(view), now=world.now, interval=interval)]
    return min(due, key=lambda view: (find_last_look(view), str(view.job.id)), default=None)


def is_due(last: datetime, *, now: datetime, interval: timedelta) -> bool:
    """Whether the last look is older than the interval; one from the future means that the clock was put back."""
    return now - last >= interval or last > now + interval


def list_glances(world: World) -> Iterator[JobView]:
    """List a view for each source that can be looked at now: both sides rest."""
    return (view for view in list_sources(world) if not list_restless(view.parties, world))


def list_sources(world: World) -> Iterator[JobView]:
    """List a view for each source that was compared with its production before."""
    for site, environment in list_environments(world.fleet):
        record = world.status.environments.get(environment.metadata.id)
        if record is None or (record.drift_checked_at is None and record.baseline_id is None):
            continue
        name = environment.metadata.name
        intent = DriftCheck(metadata=Metadata(name="periodic"), spec=DriftCheckSpec(environment=name))
        parties = find_parties(intent, site=site.name, view=world.fleet)
        if isinstance(parties, Parties):
            yield JobView(make_job(parties, world), intent, parties, world, parties)


def list_restless(parties: Parties, world: World) -> list[EnvironmentRecord]:
    """List the environments that a job, or a failure, keeps from being looked at."""
    known = world.status.environments
    records = (known.get(environment.metadata.id) for environment in parties.environments)
    return [record for record in records if record and record.status is not EnvironmentStatus.ACTIVE]


def make_job(parties: Parties, world: World) -> JobRecord:
    """Make the job that a glance would have been, for the record of what it finds."""
    glance_id = make_glance_id(require(parties.source).metadata.id)
    job = JobRecord(
        id=glance_id,
        status=JobStatus.RUNNING,
        job_type=JobType.DRIFT_CHECK,
        site=parties.site.metadata.name,
        epoch=EPOCH,
        attempt_count=1,
        locked_by=world.worker,
        created_at=world.now,
        started_at=world.now,
        updated_at=world.now,
    )
    return bind(job, parties)


def find_glance_keys(view: JobView) -> set[Key]:
    """Find the site that a glance looks at, and the nodes."""
    return {("site", view.job.site), *(("node", node.metadata.id) for node in view.parties.nodes)}


def find_source_id(view: JobView) -> UUID:
    """Return the id of the source that a glance looks at."""
    return require(view.parties.source).metadata.id


def find_last_look(view: JobView) -> datetime:
    """Find when the source was last looked at: by a job on record, or by a glance of this daemon."""
    source_id, world = find_source_id(view), view.world
    record = world.status.environments[source_id]
    glanced = world.glances.last.get(source_id) if world.glances else None
    return max(record.drift_checked_at or record.created_at, glanced or record.created_at)


def make_glance_step(view: JobView) -> StartStep:
    """Make the order that starts a glance: the one step of a drift check."""
    return StartStep(STEP, "drift-check", view.world.fleet.fleet.spec.timeouts.drift_check, {})


@dataclass(frozen=True, slots=True)
class Found:
    """What a glance found, as the end of the job that it becomes on record."""

    job: JobRecord
    intent: Intent
    end: End


def list_glancing(world: World) -> Iterator[tuple[str, JobView]]:
    """List the glances under way, by the keys of their runs."""
    going = world.glances.under_way if world.glances else {}
    for view in list_sources(world) if going else ():
        outcome = going.get(find_source_id(view))
        if outcome is not None and outcome.state is RunState.RUNNING:
            yield make_glance_key(find_source_id(view)), view


def list_glanced(world: World) -> Iterator[tuple[UUID, JobView | None, RunOutcome]]:
    """List the glances that have ended; without a view where the source is not to be looked at any more."""
    going = world.glances.under_way if world.glances else {}
    ended = {key: outcome for key, outcome in going.items() if outcome.state is not RunState.RUNNING}
    views = {find_source_id(view): view for view in list_glances(world)} if ended else {}
    return ((source_id, views.get(source_id), outcome) for source_id, outcome in ended.items())


def judge_glance(view: JobView, outcome: RunOutcome) -> Found | None:
    """Make what a glance is to record, `None` where it found what is on record, or found nothing out.

    Raises `NodeAnswerInvalid` for an answer that makes no sense.
    """
    if outcome.state is not RunState.SUCCEEDED:
        return None
    observation = read_answer(outcome, "observation", Observation)
    if any(observation.taken_at <= moment for moment in list_changes(view)):
        return None  # a job came in between: what was seen is not how things stand
    job = view.job.model_copy(update={"id": uuid5(view.job.id, observation.id)})
    end = judge_observation(replace(view, job=job), observation)
    return Found(job, view.intent, end) if end else None


def judge_observation(view: JobView, observation: Observation) -> End | None:
    """Make the end that says what is new, if anything is."""
    source_id = find_source_id(view)
    record = view.world.status.environments[source_id]
    unreadable = find_unreadable(observation)
    if unreadable:
        names = "; ".join(f"{item.name}: {item.unreadable}" for item in unreadable[:10])
        return judge_unreadable(view, names, record=record)
    check = make_drift_record(view.job, view.parties, observation)
    if is_known(check, record=record, last=view.world.status.drift_checks.get(source_id)):
        return None
    fields = {**make_drift_fields(check), "baseline_id": record.baseline_id or check.baseline_id}
    return End(
        Succeeded(view.now, summary=story(view, f"periodic drift check says {check.status}")),
        records=(check,),
        environments=(EnvironmentChange(source_id, None, fields),),
        fields={"drift_check_id": check.id, "step": STEP},
    )


def judge_unreadable(view: JobView, names: str, *, record: EnvironmentRecord) -> End | None:
    """What was known is unknown from now on; what was unknown already needs no further word."""
    if record.drift_status is DriftStatus.UNKNOWN:
        return None
    text = f"could not be read, so nothing is known: {names}. Next: make them readable and check again."
    end = fail(view, ErrorCode.DRIFT_CHECK_FAILED, text)
    change = EnvironmentChange(record.id, None, {"drift_status": DriftStatus.UNKNOWN})
    return replace(end, environments=(change,), fields={"step": STEP})


def list_changes(view: JobView) -> Iterator[datetime]:
    """List when jobs last changed or checked either side."""
    for environment in view.parties.environments:
        record = view.world.status.environments.get(environment.metadata.id)
        if record is not None:
            yield from filter(None, (record.last_change_at, record.drift_checked_at))


def is_known(check: DriftCheckRecord, *, record: EnvironmentRecord, last: DriftCheckRecord | None) -> bool:
    """Whether the last check on record says the same of everything, so that a commit would say nothing new."""
    if last is None or last.id != record.last_drift_check_id or record.drift_status is not check.status:
        return False
    same = ("status", "baseline_id", "protection_digest", "target_environment_id", "reason")
    return tell(check) == tell(last) and all(getattr(check, name) == getattr(last, name) for name in same)


def tell(check: DriftCheckRecord) -> Mapping[tuple[str, str], str]:
    """The verdict on each resource."""
    return {(item.kind, item.name): item.verdict for item in check.resources}
