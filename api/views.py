"""From documents and records to what the contract shows. The values were validated when they were read."""

from __future__ import annotations

from uuid import UUID

from reconciler.service import EnvironmentEntry, SiteEntry, Totals
from schemas.api import BackupView, DriftCheckView, EnvironmentView, JobView, SiteView
from schemas.api import Totals as TotalsView
from schemas.state import DriftStatus, EnvironmentStatus, ResourceKind
from schemas.status import BackupRecord, DriftCheckRecord, JobRecord

IN_DATABASE = frozenset({ResourceKind.TABLE, ResourceKind.OPTION})


def show_site(entry: SiteEntry) -> SiteView:
    """Show a site; one no reconciler has met yet is `active` and has no times."""
    document, record = entry.view.document, entry.record
    if document is None:
        raise ValueError("a site without its file is never listed")
    primary = entry.view.production
    return SiteView(
        id=document.metadata.id,
        name=document.spec.display_name or entry.view.name,
        slug=entry.view.name,
        status=record.status if record else EnvironmentStatus.ACTIVE,
        primary_environment_id=primary.metadata.id if primary else None,
        created_at=record.created_at if record else None,
        updated_at=record.updated_at if record else None,
        state_version=record.state_version if record else 0,
    )


def show_environment(entry: EnvironmentEntry) -> EnvironmentView:
    """Show an environment; one no reconciler has met yet is `active` and has no times."""
    document, record = entry.environment, entry.record
    spec = document.spec
    source = entry.site.environments.get(spec.source or "")
    return EnvironmentView(
        id=document.metadata.id,
        site_id=entry.site.document.metadata.id if entry.site.document else UUID(int=0),
        name=document.metadata.name,
        slug=document.metadata.name,
        environment_type=spec.type,
        status=record.status if record else EnvironmentStatus.ACTIVE,
        node_id=entry.node_id,
        source_environment_id=source.metadata.id if source else None,
        promotion_preset=spec.promotion_preset,
        preview_url=spec.url,
        primary_domain_id=None,
        current_release_id=record.current_release_id if record else None,
        drift_status=record.drift_status if record else DriftStatus.UNKNOWN,
        drift_checked_at=record.drift_checked_at if record else None,
        last_drift_check_id=record.last_drift_check_id if record else None,
        fastcgi_cache_enabled=spec.web_server.cache_path is not None,
        redis_cache_enabled=False,
        created_at=record.created_at if record else None,
        updated_at=record.updated_at if record else None,
        state_version=record.state_version if record else 0,
    )


def show_job(job: JobRecord) -> JobView:
    """Show a job."""
    return JobView.model_construct(**{name: getattr(job, name) for name in JobView.model_fields})


def show_backup(backup: BackupRecord) -> BackupView:
    """Show a backup."""
    return BackupView.model_construct(**{name: getattr(backup, name) for name in BackupView.model_fields})


def show_drift_check(check: DriftCheckRecord) -> DriftCheckView:
    """Show a drift check, tables and files apart."""
    return DriftCheckView(
        id=check.id,
        environment_id=check.source_environment_id,
        promotion_preset=check.promotion_preset,
        status=check.status,
        db_checksums=[item for item in check.resources if item.kind in IN_DATABASE],
        file_checksums=[item for item in check.resources if item.kind not in IN_DATABASE],
        checked_at=check.checked_at,
    )


def show_totals(totals: Totals) -> TotalsView:
    """Show how much there is."""
    return TotalsView(
        jobs_running=totals.jobs_running,
        jobs_queued=totals.jobs_queued,
        nodes_active=totals.nodes,
        sites_total=totals.sites,
    )
