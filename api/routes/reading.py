"""Everything that only reads."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter

from api.dependencies import Lent
from api.views import show_backup, show_drift_check, show_environment, show_job, show_site
from reconciler.service import NotFound
from schemas.api import BackupView, DriftCheckView, EnvironmentView, JobView, SiteView

router = APIRouter(tags=["reading"])


@router.get("/sites")
def list_sites(service: Lent) -> list[SiteView]:
    """List all sites."""
    return [show_site(entry) for entry in service.list_sites()]


@router.get("/sites/{site_id}")
def read_site(site_id: UUID, service: Lent) -> SiteView:
    """Show one site."""
    for view in list_sites(service):
        if view.id == site_id:
            return view
    raise NotFound(f"there is no site {site_id}")


@router.get("/sites/{site_id}/environments")
def list_environments(site_id: UUID, service: Lent) -> list[EnvironmentView]:
    """List a site's environments."""
    read_site(site_id, service)
    snapshot = service.look()
    return [show_environment(entry, snapshot) for entry in service.list_environments(site_id)]


@router.get("/environments/{environment_id}")
def read_environment(environment_id: UUID, service: Lent) -> EnvironmentView:
    """Show one environment."""
    return show_environment(service.find_environment(environment_id), service.look())


@router.get("/environments/{environment_id}/backups")
def list_backups(environment_id: UUID, service: Lent) -> list[BackupView]:
    """List an environment's backups, newest first."""
    service.find_environment(environment_id)
    return [show_backup(backup) for backup in service.list_backups(environment_id)]


@router.get("/environments/{environment_id}/drift-checks")
def list_drift_checks(environment_id: UUID, service: Lent) -> list[DriftCheckView]:
    """List the drift checks with this environment as their source, newest first."""
    return [show_drift_check(check) for check in service.list_drift_checks(environment_id)]


@router.get("/drift-checks/{check_id}")
def read_drift_check(check_id: UUID, service: Lent) -> DriftCheckView:
    """Show one drift check with its verdicts and proofs."""
    return show_drift_check(service.find_drift_check(check_id))


@router.get("/jobs")
def list_jobs(
    service: Lent, site_id: UUID | None = None, environment_id: UUID | None = None
) -> list[JobView]:
    """List jobs, newest first."""
    return [show_job(job) for job in service.list_jobs(site_id=site_id, environment_id=environment_id)]


@router.get("/jobs/{job_id}")
def read_job(job_id: UUID, service: Lent) -> JobView:
    """Show one job."""
    return show_job(service.find_job(job_id))
