"""Everything that writes an intent. 202 means that its commit is durable in the fleet repo."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from fastapi import APIRouter

from api.dependencies import ACTOR, Lent
from reconciler.service import EnvironmentEntry, NotFound, Refused, Service, make_intent_name
from schemas.api import (
    BackupRequest,
    JobCreated,
    Problem,
    PromoteRequest,
    RefreshRequest,
    RollbackRequest,
)
from schemas.intent import (
    Backup,
    BackupSpec,
    DriftCheck,
    DriftCheckSpec,
    Promotion,
    PromotionSpec,
    Refresh,
    RefreshSpec,
    Rollback,
    RollbackSpec,
)
from schemas.model import Metadata

REFUSALS: dict[int | str, dict[str, Any]] = {409: {"model": Problem}}
router = APIRouter(tags=["requesting"], prefix="/environments/{environment_id}", responses=REFUSALS)


def make_metadata(service: Service, kind: str) -> Metadata:
    """Make a fresh name and id for an intent."""
    return Metadata(name=make_intent_name(kind, now=service.clock.now()), id=uuid4())


def find_target(source: EnvironmentEntry, target_id: UUID) -> str:
    """Find the target's name among the source's site. Raises `NotFound`."""
    for environment in source.site.environments.values():
        if environment.metadata.id == target_id:
            return environment.metadata.name
    raise NotFound(f"site {source.site.name} has no environment {target_id}")


@router.post("/drift-check", status_code=202)
def check_drift(environment_id: UUID, service: Lent) -> JobCreated:
    """Check whether production changed since this environment was copied from it."""
    entry = service.find_environment(environment_id)
    spec = DriftCheckSpec(environment=entry.environment.metadata.name, actor=ACTOR)
    intent = DriftCheck(metadata=make_metadata(service, "DriftCheck"), spec=spec)
    return JobCreated(job_id=service.request(entry.site.name, intent))


@router.post("/promote", status_code=202)
def promote(environment_id: UUID, body: PromoteRequest, service: Lent) -> JobCreated:
    """Promote this environment; refused with every reason while a gate is shut."""
    entry = service.find_environment(environment_id)
    target = find_target(entry, body.target_environment_id)
    if target == entry.environment.metadata.name:
        raise Refused("an environment cannot be promoted to itself")
    asked = body.model_dump(exclude={"target_environment_id"}, exclude_none=True)
    spec = PromotionSpec(source=entry.environment.metadata.name, target=target, actor=ACTOR, **asked)
    intent = Promotion(metadata=make_metadata(service, "Promotion"), spec=spec)
    return JobCreated(job_id=service.promote(entry.site.name, intent))


@router.post("/backups", status_code=202)
def back_up(environment_id: UUID, body: BackupRequest, service: Lent) -> JobCreated:
    """Back this environment up and read the backup back."""
    entry = service.find_environment(environment_id)
    spec = BackupSpec(
        environment=entry.environment.metadata.name, scope=body.backup_scope, reason=body.reason, actor=ACTOR
    )
    intent = Backup(metadata=make_metadata(service, "Backup"), spec=spec)
    return JobCreated(job_id=service.request(entry.site.name, intent))


@router.post("/refresh", status_code=202)
def refresh(environment_id: UUID, body: RefreshRequest, service: Lent) -> JobCreated:
    """Pull production's data down into this environment and take the new baseline."""
    entry = service.find_environment(environment_id)
    spec = RefreshSpec(
        environment=entry.environment.metadata.name, scope=body.scope, reason=body.reason, actor=ACTOR
    )
    intent = Refresh(metadata=make_metadata(service, "Refresh"), spec=spec)
    return JobCreated(job_id=service.request(entry.site.name, intent))


@router.post("/rollback", status_code=202)
def roll_back(environment_id: UUID, body: RollbackRequest, service: Lent) -> JobCreated:
    """Put the previous release and its tables back."""
    entry = service.find_environment(environment_id)
    spec = RollbackSpec(
        environment=entry.environment.metadata.name,
        overwrite=tuple(body.overwrite),
        reason=body.reason,
        actor=ACTOR,
    )
    intent = Rollback(metadata=make_metadata(service, "Rollback"), spec=spec)
    return JobCreated(job_id=service.request(entry.site.name, intent))
