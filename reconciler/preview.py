"""What an intent would come to, told from git alone: its steps, the gates that are shut, what is on record.

Nothing is committed and no node is asked. The job itself asks the nodes again before it goes on (spec.md §4).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from reconciler.core.admission import admit, bind, find_job_id
from reconciler.core.flow import JobView
from reconciler.core.gate import (
    find_last_check,
    find_recorded_conflict,
    find_recorded_pin,
    find_unchecked,
    present,
)
from reconciler.core.job import ENDED
from reconciler.core.kind import find_unmet, make_flow
from reconciler.core.meeting import meet_environments
from reconciler.core.party import Misfit, Unsettled, find_parties
from reconciler.core.record import find_protection
from reconciler.core.world import IntentFile
from reconciler.index import Index
from reconciler.request import NotFound, Refused
from schemas.intent import Cancel, Promotion
from schemas.status import Blocked, DriftCheckRecord, JobRecord


@dataclass(frozen=True, slots=True)
class Preview:
    """An intent's job as it would be admitted now, or as it is on record.

    `steps` are `step (playbook)`. `unmet` lists the shut gates, none for a job that has ended. `check` is the last
    drift check of the source the intent is about. `known` says whether the job is on record already.
    """

    job: JobRecord
    commit: str
    known: bool
    notes: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    unmet: tuple[Blocked, ...] = ()
    source: str | None = None
    check: DriftCheckRecord | None = None

    @property
    def can_go(self) -> bool:
        """Whether the job would start as far as git can tell, or is under way."""
        return self.job.status not in ENDED and not self.unmet


def preview(index: Index, file: IntentFile, *, now: datetime) -> Preview:
    """Tell what an intent's file would come to. Raises `Refused` or `NotFound` with the reason if to nothing."""
    intent = file.intent
    if intent is None:
        raise Refused(file.error)
    if isinstance(intent, Cancel):
        return preview_cancel(index, intent)
    job_id = find_job_id(file, index.fleet)
    recorded = index.read_job(job_id)
    if recorded is None and index.shelf.is_known(job_id, site=file.site):
        raise Refused(f"job {job_id} has ended; an ended job never runs again: give the intent another name")
    parties = find_parties(intent, site=file.site, view=index.fleet)
    if isinstance(parties, Misfit | Unsettled):
        raise Refused(f"{file.path}: {parties.message}")
    job = recorded or bind(admit(file, job_id, view=index.fleet, now=now), parties)
    known = job_id not in index.pending and recorded is not None
    found = Preview(job, index.tip.intents or "", known, make_notes(job, file))
    if job.status in ENDED:
        return found
    world = index.make_world(file.site, now=now)
    world = replace(world, status=replace(world.status, environments=meet_environments(world)))
    return judge(found, JobView(job, intent, parties, world, parties))


def judge(found: Preview, view: JobView) -> Preview:
    """Add the steps and the gates to what is known of a job that has not ended."""
    steps = tuple(f"{step.name} ({step.playbook})" for step in make_flow(view).steps)
    source = view.parties.source
    check = find_last_check(view.world, source.metadata.id) if source else None
    unmet = (*find_drift_unmet(view, check), *find_unmet(view))
    name = source.metadata.name if source else None
    return replace(found, steps=steps, unmet=unmet, check=check, source=name)


def find_drift_unmet(view: JobView, check: DriftCheckRecord | None) -> tuple[Blocked, ...]:
    """Find what the last check on record says against a promotion; one that refreshes first makes its own."""
    intent, source = view.intent, view.parties.source
    if not isinstance(intent, Promotion) or source is None:
        return ()
    policy = view.world.fleet.fleet.spec
    unchecked = find_unchecked(
        check,
        copy=source.metadata.name,
        protection_digest=find_protection(view.parties).digest(),
        now=view.now,
        max_age=policy.drift_check_max_age,
    )
    return tuple(
        present(
            None if intent.spec.refresh else unchecked,
            find_recorded_conflict(check, policy=policy.overwrite_policy),
            find_recorded_pin(check, pin=intent.spec.pin),
        )
    )


def preview_cancel(index: Index, intent: Cancel) -> Preview:
    """Tell what would be cancelled. Raises `NotFound`."""
    job = index.read_job(intent.spec.job_id)
    if job is None:
        raise NotFound(f"there is no job {intent.spec.job_id}")
    return Preview(job, index.tip.intents or "", known=True, notes=("this intent cancels the job",))


def make_notes(job: JobRecord, file: IntentFile) -> tuple[str, ...]:
    """Say what a person who reads the file should know about its job."""
    if job.intent_blob_id == file.blob_id:
        return ()
    admitted = (job.intent_blob_id or "unknown")[:12]
    note = f"job {job.id} was admitted from another version of this file (blob {admitted}): later edits change nothing"
    return (f"{note}; what is wanted now needs another name",)
