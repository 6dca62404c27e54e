"""Everything that only reads."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Response
from pydantic import TypeAdapter

from api.caller import Caller
from api.desk import AtDesk, Desk, From
from api.errors import Unacceptable
from api.page import ByName, ByTime, show, write_cursor
from api.views import (
    show_backup,
    show_drift_check,
    show_environment,
    show_job,
    show_site,
    show_totals,
)
from reconciler.service import EnvironmentEntry, JobFilter
from schemas.api import BackupView, DriftCheckView, EnvironmentView, JobView, SiteView, Totals
from schemas.model import Id
from schemas.state import JobStatus, JobType

router = APIRouter(tags=["reading"])

SITES: Final = TypeAdapter(list[SiteView])
ENVIRONMENTS: Final = TypeAdapter(list[EnvironmentView])
BACKUPS: Final = TypeAdapter(list[BackupView])
DRIFT_CHECKS: Final = TypeAdapter(list[DriftCheckView])
JOBS: Final = TypeAdapter(list[JobView])


@router.get("/sites", response_model=list[SiteView])
async def list_sites(desk: AtDesk, caller: From, page: ByName) -> Response:
    """List the sites, by name."""
    entries = await desk.read(
        lambda service: service.list_sites(names=caller.sites, after=page.after or "", limit=page.wanted)
    )
    return page.answer([show_site(entry) for entry in entries], SITES, cursor=lambda view: view.slug)


@router.get("/sites/{site_id}", response_model=SiteView)
async def read_site(site_id: Id, desk: AtDesk, caller: From) -> Response:
    """Show one site."""
    entry = await desk.read(lambda service: service.find_site(site_id))
    caller.require_sight(entry.view.name, what=f"site {site_id}")
    return show(show_site(entry))


@router.get("/sites/{site_id}/environments", response_model=list[EnvironmentView])
async def list_environments(site_id: Id, desk: AtDesk, caller: From, page: ByName) -> Response:
    """List a site's environments, by name."""
    await read_site(site_id, desk, caller)
    entries = await desk.read(lambda service: service.list_environments(site_id))
    views = sorted((show_environment(entry) for entry in entries), key=lambda view: view.slug)
    found = [view for view in views if view.slug > (page.after or "")]
    return page.answer(found, ENVIRONMENTS, cursor=lambda view: view.slug)


async def find_environment(desk: Desk, caller: Caller, environment_id: Id) -> EnvironmentEntry:
    """Find an environment that the caller may know of. Raises `NotFound`."""
    entry = await desk.read(lambda service: service.find_environment(environment_id))
    caller.require_sight(entry.site.name, what=f"environment {environment_id}")
    return entry


@router.get("/environments/{environment_id}", response_model=EnvironmentView)
async def read_environment(environment_id: Id, desk: AtDesk, caller: From) -> Response:
    """Show one environment."""
    return show(show_environment(await find_environment(desk, caller, environment_id)))


@router.get("/environments/{environment_id}/backups", response_model=list[BackupView])
async def list_backups(environment_id: Id, desk: AtDesk, caller: From, page: ByTime) -> Response:
    """List an environment's backups, newest first."""
    await find_environment(desk, caller, environment_id)
    found = await desk.read(lambda service: service.list_backups(environment_id))
    views = [
        show_backup(item) for item in found if page.after is None or (item.created_at, item.id) < page.after
    ]
    return page.answer(views, BACKUPS, cursor=lambda view: write_cursor(view.created_at, view.id))


@router.get("/environments/{environment_id}/drift-checks", response_model=list[DriftCheckView])
async def list_drift_checks(environment_id: Id, desk: AtDesk, caller: From, page: ByTime) -> Response:
    """List the drift checks with this environment as their source, newest first."""
    await find_environment(desk, caller, environment_id)
    found = await desk.read(lambda service: service.list_drift_checks(environment_id))
    views = [
        show_drift_check(item)
        for item in found
        if page.after is None or (item.checked_at, item.id) < page.after
    ]
    return page.answer(views, DRIFT_CHECKS, cursor=lambda view: write_cursor(view.checked_at, view.id))


@router.get("/drift-checks/{check_id}", response_model=DriftCheckView)
async def read_drift_check(check_id: Id, desk: AtDesk, caller: From) -> Response:
    """Show one drift check with its verdicts and proofs."""
    check = await desk.read(lambda service: service.find_drift_check(check_id))
    caller.require_sight(check.site, what=f"drift check {check_id}")
    return show(show_drift_check(check))


async def ask_for_jobs(
    caller: From,
    *,
    site_id: Id | None = None,
    environment_id: Id | None = None,
    status: JobStatus | None = None,
    job_type: JobType | None = None,
) -> JobFilter:
    """Read which jobs are asked for; nobody is shown those of sites that they may not see."""
    return JobFilter(
        site_id=site_id,
        environment_id=environment_id,
        status=status,
        job_type=job_type,
        sites=caller.sites,
    )


@router.get("/jobs", response_model=list[JobView])
async def list_jobs(
    desk: AtDesk, wanted: Annotated[JobFilter, Depends(ask_for_jobs)], page: ByTime
) -> Response:
    """List jobs, newest first."""
    found = await desk.read(lambda service: service.list_jobs(wanted, after=page.after, limit=page.wanted))
    views = [show_job(job) for job in found]
    return page.answer(views, JOBS, cursor=lambda view: write_cursor(view.created_at, view.id))


@router.get("/jobs/{job_id}", response_model=JobView)
async def read_job(job_id: Id, desk: AtDesk, caller: From) -> Response:
    """Show one job."""
    job = await desk.read(lambda service: service.find_job(job_id))
    caller.require_sight(job.site, what=f"job {job_id}")
    return show(show_job(job))


@router.get("/metrics", response_model=Totals)
async def read_totals(desk: AtDesk, caller: From) -> Response:
    """Count what is there and what goes on."""
    return show(show_totals(await desk.read(lambda service: service.count(caller.sites))))


def require_all_sites(caller: Caller) -> None:
    """Refuse a caller that may see some sites only. Raises `Unacceptable`."""
    if caller.sites is not None:
        raise Unacceptable(HTTPStatus.FORBIDDEN, "this token is for some sites only")
