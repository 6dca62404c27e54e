"""What becomes of an intent when it is first seen: a queued job, or one that ends with the reason (spec.md §1)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

from reconciler.core.job import Cancelled, Failed, advance
from reconciler.core.party import Misfit, Parties, Unsettled, find_parties
from reconciler.core.world import FleetView, IntentFile, SiteView, World
from schemas.intent import JOB_TYPES, Cancel, Intent, make_invalid_job_id, make_job_id
from schemas.state import ErrorCode, JobStatus
from schemas.status import JobRecord


def find_job_id(file: IntentFile, view: FleetView) -> UUID:
    """Find the id of the job that a file is: the same intent is the same job, wherever it is seen."""
    site = view.sites.get(file.site)
    if file.intent is None:
        return make_invalid_job_id(file.path, file.blob_id)
    if file.intent.metadata.id is not None:
        return file.intent.metadata.id
    if site is None or site.document is None:
        return make_invalid_job_id(file.path, file.blob_id)
    return make_job_id(site.document.metadata.id, file.intent)


def list_new_jobs(world: World) -> Iterator[JobRecord]:
    """Make a job of each intent that was never seen, in the order of their paths; each id once."""
    seen = set(world.status.jobs) | world.status.ended
    for file in world.fleet.intents:
        job_id = find_job_id(file, world.fleet)
        if job_id in seen or is_site_broken(file, world.fleet):
            continue
        seen.add(job_id)
        yield admit(file, job_id, view=world.fleet, now=world.now)


def is_site_broken(file: IntentFile, view: FleetView) -> bool:
    """Whether the site's own file is broken: then the job's id cannot be told, and the intent waits unseen."""
    site = view.sites.get(file.site)
    needs_site = file.intent is not None and file.intent.metadata.id is None
    return needs_site and site is not None and site.document is None and has_broken_site(file.site, view)


def has_broken_site(site: str, view: FleetView) -> bool:
    """Whether `site.yaml` is there but not in force."""
    return f"sites/{site}/site.yaml" in view.broken


def admit(file: IntentFile, job_id: UUID, *, view: FleetView, now: datetime) -> JobRecord:
    """Make the job of one intent: `queued`, or `failed` with `INTENT_INVALID` and what is wrong with it."""
    job = make_job(file, job_id, view=view, now=now)
    if file.intent is None:
        return reject(job, file.error, now=now)
    if isinstance(file.intent, Cancel):
        return reject(
            job, "Cancel is not carried out by this version; delete a queued intent to withdraw it", now=now
        )
    found = find_parties(file.intent, site=file.site, view=view)
    if isinstance(found, Misfit):
        return reject(job, f"{file.path}: {found.message}", now=now)
    return job if isinstance(found, Unsettled) else bind(job, found)


def make_job(file: IntentFile, job_id: UUID, *, view: FleetView, now: datetime) -> JobRecord:
    """Make the queued job, before anything is known about who takes part."""
    intent = file.intent
    return JobRecord(
        id=job_id,
        status=JobStatus.QUEUED,
        job_type=JOB_TYPES[intent.kind] if intent else None,
        site=file.site,
        site_id=find_site_id(view.sites.get(file.site)),
        intent_kind=intent.kind if intent else None,
        intent_path=file.path,
        intent_name=intent.metadata.name if intent else None,
        intent_blob_id=file.blob_id,
        actor=intent.spec.actor if intent else None,
        reason=intent.spec.reason if intent else None,
        run_after=getattr(intent.spec, "not_before", None) if intent else None,
        created_at=now,
        updated_at=now,
    )


def find_site_id(site: SiteView | None) -> UUID | None:
    """Return the site's id, if there is such a site."""
    return site.document.metadata.id if site and site.document else None


def reject(job: JobRecord, message: str, *, now: datetime) -> JobRecord:
    """End a job whose intent cannot be carried out as written."""
    text = f"{message}. Next: correct the file and commit it again; the corrected file is a new job."
    return advance(job, Failed(now, code=ErrorCode.INTENT_INVALID, message=text))


def bind(job: JobRecord, parties: Parties) -> JobRecord:
    """Write down by id who takes part."""
    return job.model_copy(
        update={
            "environment_id": parties.environment.metadata.id,
            "source_environment_id": parties.source.metadata.id if parties.source else None,
            "node_id": parties.node.metadata.id,
        }
    )


def list_withdrawn(world: World) -> Iterator[JobRecord]:
    """End each queued job whose file is gone: deleting it withdraws it (spec.md §1)."""
    present = {find_job_id(file, world.fleet) for file in world.fleet.intents}
    for job in world.status.jobs.values():
        if job.status is JobStatus.QUEUED and job.intent_path and job.id not in present:
            yield advance(job, Cancelled(world.now, summary="withdrawn: the intent's file was deleted"))


def list_edited(world: World) -> Iterator[JobRecord]:
    """Note on open jobs that their file was edited since; the edit changes nothing (spec.md §1)."""
    for file in world.fleet.intents:
        job = world.status.jobs.get(find_job_id(file, world.fleet))
        note = f"{file.path} was edited after it was admitted; the admitted version counts"
        if (
            job
            and job.intent_path == file.path
            and job.intent_blob_id != file.blob_id
            and note not in job.notes
        ):
            yield job.model_copy(update={"notes": (*job.notes, note), "updated_at": world.now})


def find_parties_of(job: JobRecord, intent: Intent, world: World) -> Parties | Misfit | Unsettled:
    """Find who takes part in an admitted job today: the fleet's files may have changed since."""
    found = find_parties(intent, site=job.site, view=world.fleet)
    if isinstance(found, Parties) and job.environment_id not in {None, found.environment.metadata.id}:
        return Misfit(
            f"{found.environment.metadata.name} is another environment than when the intent was admitted"
        )
    return found
