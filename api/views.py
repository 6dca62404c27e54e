"""From documents and records to what the contract shows."""

from __future__ import annotations

from uuid import UUID

from reconciler.service import EnvironmentEntry, SiteEntry, Snapshot
from schemas.api import BackupView, DriftCheckView, EnvironmentView, JobView, SiteView
from schemas.state import DriftStatus, EnvironmentStatus, ResourceKind
from schemas.status import BackupRecord, DriftCheckRecord, JobRecord


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


def show_environment(entry: EnvironmentEntry, snapshot: Snapshot) -> EnvironmentView:
    """Show an environment; one no reconciler has met yet is `active` and has no times."""
    document, record = entry.environment, entry.record
    spec = document.spec
    site_id = entry.site.document.metadata.id if entry.site.document else UUID(int=0)
    node = snapshot.fleet.nodes.get(spec.node)
    source = entry.site.environments.get(spec.source or "")
    return EnvironmentView(
        id=document.metadata.id,
        site_id=site_id,
        name=document.metadata.name,
        slug=document.metadata.name,
        environment_type=spec.type,
        status=record.status if record else EnvironmentStatus.ACTIVE,
        node_id=node.metadata.id if node else None,
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
    return JobView.model_validate({name: getattr(job, name) for name in JobView.model_fields})


def show_backup(backup: BackupRecord) -> BackupView:
    """Show a backup."""
    return BackupView.model_validate({name: getattr(backup, name) for name in BackupView.model_fields})


def show_drift_check(check: DriftCheckRecord) -> DriftCheckView:
    """Show a drift check, tables and files apart."""
    tables = [item for item in check.resources if item.kind is ResourceKind.TABLE]
    return DriftCheckView(
        id=check.id,
        environment_id=check.source_environment_id,
        promotion_preset=check.promotion_preset,
        status=check.status,
        db_checksums=tables,
        file_checksums=[item for item in check.resources if item not in tables],
        merge=check.merge,
        checked_at=check.checked_at,
    )
