"""What is waited for: cancelling a job, and resetting what failed."""

from __future__ import annotations

from http import HTTPStatus
from uuid import UUID, uuid4

from fastapi import APIRouter, Response

from api.caller import Caller
from api.desk import AtDesk, Desk, From
from api.errors import ResetRefused, Unacceptable
from api.page import show
from api.routes.reading import find_environment
from api.routes.requesting import NO_BODY
from reconciler.core.cancellation import CANCEL_REFUSED
from reconciler.core.job import ENDED
from reconciler.request import NotCancellable, Request, make_cancel_name
from reconciler.service import make_intent_name
from schemas.api import Asked, CancelOutcome, ResetOutcome
from schemas.intent import Cancel, CancelSpec, Reset, ResetSpec
from schemas.model import Id, Metadata
from schemas.state import EnvironmentStatus, JobStatus
from schemas.status import JobRecord

router = APIRouter(tags=["settling"])


@router.post("/jobs/{job_id}/cancel", response_model=CancelOutcome)
async def cancel_job(job_id: Id, desk: AtDesk, caller: From, body: Asked | None = None) -> Response:
    """Cancel a job and wait up to 30 seconds for it; once the cut-over has begun it cannot be cancelled."""
    job = await desk.read(lambda service: service.find_job(job_id))
    caller.require_sight(job.site, what=f"job {job_id}")
    reason = (body or NO_BODY).reason
    spec = CancelSpec(job_id=job_id, reason=reason, actor=caller.actor)
    intent = Cancel(metadata=Metadata(name=make_cancel_name(job_id)), spec=spec)
    await desk.write(Request(job.site, intent))
    found = await desk.follow(job_id, until=lambda job: job.status in ENDED or is_refused(job))
    if is_refused(found):
        raise NotCancellable(f"job {job_id} {CANCEL_REFUSED}")
    return show(CancelOutcome(success=found.status is JobStatus.CANCELLED, status=found.status))


def is_refused(job: JobRecord) -> bool:
    """Whether the reconciler has noted that the job goes on."""
    return any(CANCEL_REFUSED in note for note in job.notes)


@router.post("/environments/{environment_id}/reset", response_model=ResetOutcome)
async def reset_environment(
    environment_id: Id, desk: AtDesk, caller: From, body: Asked | None = None
) -> Response:
    """Bring a failed environment back to `active`, and wait up to 30 seconds for it."""
    entry = await find_environment(desk, caller, environment_id)
    name, record = entry.environment.metadata.name, entry.record
    refuse_not_failed(record.status if record else EnvironmentStatus.ACTIVE, what=f"environment {name}")
    await reset(desk, caller, entry.site.name, name, reason=(body or NO_BODY).reason)
    entry = await find_environment(desk, caller, environment_id)
    return answer_reset(entry.record.status if entry.record else EnvironmentStatus.ACTIVE)


@router.post("/sites/{site_id}/reset", response_model=ResetOutcome)
async def reset_site(site_id: Id, desk: AtDesk, caller: From, body: Asked | None = None) -> Response:
    """Bring all failed environments of a site back to `active`, and wait up to 30 seconds for it."""
    entry = await desk.read(lambda service: service.find_site(site_id))
    caller.require_sight(entry.view.name, what=f"site {site_id}")
    status = entry.record.status if entry.record else EnvironmentStatus.ACTIVE
    refuse_not_failed(status, what=f"site {entry.view.name}")
    await reset(desk, caller, entry.view.name, None, reason=(body or NO_BODY).reason)
    entry = await desk.read(lambda service: service.find_site(site_id))
    return answer_reset(entry.record.status if entry.record else EnvironmentStatus.ACTIVE)


def refuse_not_failed(status: EnvironmentStatus, *, what: str) -> None:
    """Only what failed can be reset. Raises `ResetRefused`."""
    if status is not EnvironmentStatus.FAILED:
        raise ResetRefused("resource_not_failed", f"{what} is {status}, not failed")


async def reset(
    desk: Desk, caller: Caller, site: str, environment: str | None, *, reason: str | None
) -> None:
    """Write a Reset and wait for its job. Raises `ResetRefused` if it fails, `Unacceptable` if it goes on."""
    job_id: UUID = uuid4()
    name = make_intent_name("Reset", now=desk.service.clock.now(), job_id=job_id)
    spec = ResetSpec(environment=environment, reason=reason, actor=caller.actor)
    await desk.write(Request(site, Reset(metadata=Metadata(name=name, id=job_id), spec=spec)))
    job = await desk.follow(job_id, until=lambda job: job.status in ENDED)
    if job.status not in ENDED:
        message = f"the reset goes on: see job {job_id}"
        raise Unacceptable(HTTPStatus.SERVICE_UNAVAILABLE, message, {"Retry-After": "5"})
    if job.status is not JobStatus.SUCCEEDED:
        raise ResetRefused("reset_validation_failed", job.error_message or f"job {job_id} is {job.status}")


def answer_reset(status: EnvironmentStatus) -> Response:
    """Say how it stands now."""
    return show(ResetOutcome(success=status is EnvironmentStatus.ACTIVE, status=status))
