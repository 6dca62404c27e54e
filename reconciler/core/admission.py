"""What becomes of an intent when it is first seen: a queued job, or one that ends with the reason (spec.md §1)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType
from uuid import UUID

from reconciler.core.job import Cancelled, Failed, advance
from reconciler.core.party import Misfit, Parties, Unsettled, find_parties
from reconciler.core.policy import describe_laxer
from reconciler.core.world import FleetView, IntentFile, SiteView, World
from schemas.intent import JOB_TYPES, Cancel, Intent, Promotion, Rollback, make_invalid_job_id, make_job_id
from schemas.model import NAME_PATTERN
from schemas.state import ErrorCode, JobStatus
from schemas.status import JobRecord

NOTHING: Mapping[str, UUID] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Sighting:
    """A file under `intents/` and the job that it is."""

    file: IntentFile
    job_id: UUID


def find_job_id(file: IntentFile, view: FleetView, *, known_sites: Mapping[str, UUID] = NOTHING) -> UUID:
    """Find the id of the job that a file is: the same intent is the same job, wherever it is seen.

    `known_sites` gives the id of a site whose own file is broken at the moment. Where nobody knows it, the id is
    that of the file, as for a file that holds no intent.
    """
    if file.intent is None:
        return find_file_id(file)
    if file.intent.metadata.id is not None:
        return file.intent.metadata.id
    site_id = find_site_id(view.sites.get(file.site))
    if site_id is None and f"sites/{file.site}/site.yaml" in view.broken:
        site_id = known_sites.get(file.site)
    return make_job_id(site_id, file.intent) if site_id else find_file_id(file)


def find_file_id(file: IntentFile) -> UUID:
    """Find the id under which a file itself is reported or refused."""
    return make_invalid_job_id(file.path, file.blob_id)


def hold_site_ids(world: World) -> FleetView:
    """Return the fleet without the sites that were given another id: with it, every old intent would be a new job."""
    view, known = world.fleet, {site.name: site.id for site in world.status.sites.values()}
    changed = {
        name: site
        for name, site in view.sites.items()
        if site.document is not None
        and site.document.metadata.id != known.get(name, site.document.metadata.id)
    }
    if not changed:
        return view
    reasons = {
        f"sites/{name}/site.yaml": f"sites/{name}/site.yaml: metadata.id: expected {known[name]}, which site {name} "
        "was met with: an id stays with its site (a new site needs a name of its own)"
        for name in changed
    }
    held = {name: replace(site, document=None) for name, site in changed.items()}
    return replace(view, sites={**view.sites, **held}, broken={**view.broken, **reasons})


def list_sightings(world: World) -> tuple[Sighting, ...]:
    """List all files under `intents/` with the jobs that they are, in the order of their paths."""
    known = {site.name: site.id for site in world.status.sites.values()}
    return tuple(
        Sighting(file, find_job_id(file, world.fleet, known_sites=known)) for file in world.fleet.intents
    )


def list_new(sightings: Iterable[Sighting], world: World) -> Iterator[Sighting]:
    """List the files whose job was never seen, each job once.

    A file at the path of an open job is an edit of it, whatever it holds now. A file that was refused as it stands
    never becomes a job later, when what was missing around it has come. A Cancel becomes no job, it acts on one.
    """
    status = world.status
    seen = {*status.jobs, *status.damaged}
    edited = {sighting.file.path for _, sighting in pair_edits(sightings, world)}
    for sighting in sightings:
        folder = make_status_folder(sighting.file.site)
        is_known = any(
            job_id in seen or status.has_ended(job_id, site=folder)
            for job_id in (sighting.job_id, find_file_id(sighting.file))
        )
        is_cancel = isinstance(sighting.file.intent, Cancel)
        if not is_known and not is_cancel and sighting.file.path not in edited:
            seen.add(sighting.job_id)
            yield sighting


def pair_edits(sightings: Iterable[Sighting], world: World) -> Iterator[tuple[JobRecord, Sighting]]:
    """Pair each open job whose file holds something else now with that file."""
    present = {sighting.job_id for sighting in sightings}
    open_jobs = {job.intent_path: job for job in world.status.jobs.values() if job.intent_path}
    for sighting in sightings:
        job = open_jobs.get(sighting.file.path)
        if job is None or sighting.file.blob_id == job.intent_blob_id:
            continue
        if sighting.job_id == job.id or job.id not in present:
            yield job, sighting


def admit(file: IntentFile, job_id: UUID, *, view: FleetView, now: datetime) -> JobRecord:
    """Make the job of one file: `queued`, or `failed` with `INTENT_INVALID` and what is wrong with it."""
    job = make_job(file, job_id, view=view, now=now)
    if file.intent is None:
        return reject(job, file.error, now=now)
    found = find_parties(file.intent, site=file.site, view=view)
    if isinstance(found, Misfit):
        return reject(job, f"{file.path}: {found.message}", now=now)
    laxer = describe_laxer(view.fleet.spec) if isinstance(file.intent, Promotion | Rollback) else ""
    job = job.model_copy(update={"notes": (laxer,)}) if laxer else job
    return job if isinstance(found, Unsettled) else bind(job, found)


def make_job(file: IntentFile, job_id: UUID, *, view: FleetView, now: datetime) -> JobRecord:
    """Make the queued job, before anything is known about who takes part."""
    intent = file.intent
    return JobRecord(
        id=job_id,
        status=JobStatus.QUEUED,
        job_type=JOB_TYPES[intent.kind] if intent else None,
        site=make_status_folder(file.site),
        site_id=find_site_id(view.sites.get(file.site)),
        intent_kind=intent.kind if intent else None,
        intent_path=file.path,
        intent_name=intent.metadata.name if intent else None,
        intent_blob_id=file.blob_id,
        admitted_commit=view.commit or None,
        actor=intent.spec.actor if intent else None,
        reason=intent.spec.reason if intent else None,
        run_after=getattr(intent.spec, "not_before", None) if intent else None,
        backup_id=getattr(intent.spec, "backup_id", None) if intent else None,
        created_at=now,
        updated_at=now,
    )


def make_status_folder(site: str) -> str:
    """Make the folder under `status/` for what was found in a site's folder, whose name may be no name at all."""
    if re.fullmatch(NAME_PATTERN, site):
        return site
    plain = re.sub(r"[^a-z0-9]+", "-", site.lower())[:60].strip("-")
    return f"x-{plain}".strip("-")


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
            "other_node_ids": tuple(node.metadata.id for node in parties.other_nodes),
        }
    )


def list_withdrawn(sightings: Iterable[Sighting], world: World) -> Iterator[JobRecord]:
    """End each queued job whose file is gone: deleting it withdraws it (spec.md §1)."""
    present: set[object] = set()
    for sighting in sightings:
        present |= {sighting.job_id, sighting.file.path}
    for job in world.status.jobs.values():
        is_there = job.id in present or job.intent_path in present
        if job.status is JobStatus.QUEUED and job.intent_path and not is_there:
            yield advance(job, Cancelled(world.now, summary="withdrawn: the intent's file was deleted"))


def list_edited(sightings: Iterable[Sighting], world: World) -> Iterator[JobRecord]:
    """Note on open jobs that their file was edited since; the edit changes nothing (spec.md §1)."""
    for job, sighting in pair_edits(sightings, world):
        note = f"{sighting.file.path} was edited after it was admitted; the admitted version counts"
        if note not in job.notes:
            yield job.model_copy(update={"notes": (*job.notes, note), "updated_at": world.now})


def find_parties_of(job: JobRecord, intent: Intent, view: FleetView) -> Parties | Misfit | Unsettled:
    """Find who takes part in an admitted job by the files of a commit, which may have changed since."""
    found = find_parties(intent, site=job.site, view=view)
    if not isinstance(found, Parties):
        return found
    source = found.source.metadata.id if found.source else None
    admitted_and_found = (
        (job.site_id, found.site.metadata.id, f"site {job.site}"),
        (job.environment_id, found.environment.metadata.id, f"environment {found.environment.metadata.name}"),
        (job.source_environment_id, source, f"source {getattr(intent.spec, 'source', '')}".rstrip()),
    )
    for admitted, present, what in admitted_and_found:
        if admitted not in {None, present}:
            return Misfit(f"{what} is another one (id {present}) than when the intent was admitted")
    return found
