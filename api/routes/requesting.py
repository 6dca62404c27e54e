"""Everything that writes an intent. 202 means that its commit is durable in the fleet repo."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID, uuid4, uuid5

from fastapi import APIRouter, Header, Response

from api.caller import Caller
from api.desk import AtDesk, Desk, From
from api.page import show
from api.routes.reading import find_environment
from reconciler.request import Request, make_keyed_name
from reconciler.service import EnvironmentEntry, NotFound, Refused, make_intent_name
from schemas.api import (
    Asked,
    BackupRequest,
    IdempotencyKey,
    JobCreated,
    PromoteRequest,
    RefreshRequest,
    RestoreRequest,
    RollbackRequest,
)
from schemas.intent import Backup, DriftCheck, IntentDocument, Promotion, Refresh, Restore, Rollback
from schemas.model import Id, Metadata

router = APIRouter(tags=["requesting"], prefix="/environments/{environment_id}")
NO_BODY = Asked()

Key = Annotated[
    IdempotencyKey | None,
    Header(
        alias="Idempotency-Key",
        description="The same key with the same request is the same job, however often it is sent.",
    ),
]


def make_metadata(desk: Desk, kind: str, *, site_id: UUID, actor: str, key: str | None) -> Metadata:
    """Name an intent and give its job an id: with a key always the same one, whichever facade is asked."""
    if key is not None:
        job_id = uuid5(site_id, f"{actor}\n{key}")
        return Metadata(name=make_keyed_name(kind, job_id), id=job_id)
    job_id = uuid4()
    return Metadata(name=make_intent_name(kind, now=desk.service.clock.now(), job_id=job_id), id=job_id)


def make_request(
    desk: Desk,
    caller: Caller,
    entry: EnvironmentEntry,
    *,
    model: type[Any],
    spec: dict[str, Any],
    key: str | None,
) -> Request:
    """Make the intent that a pull request would bring, with the caller as its actor."""
    if entry.site.document is None:
        raise NotFound(f"site {entry.site.name} has no valid file")
    metadata = make_metadata(
        desk, model.__name__, site_id=entry.site.document.metadata.id, actor=caller.actor, key=key
    )
    given = {name: value for name, value in spec.items() if value is not None}
    intent: IntentDocument = model(metadata=metadata, spec={**given, "actor": caller.actor})
    return Request(entry.site.name, intent, needs_open_gates="wait" not in given)  # type: ignore[arg-type] # by `model`


async def ask(
    desk: Desk,
    caller: Caller,
    environment_id: UUID,
    *,
    model: type[Any],
    spec: dict[str, Any],
    key: str | None,
) -> Response:
    """Write an intent about one environment and answer with its job."""
    entry = await find_environment(desk, caller, environment_id)
    named = {"environment": entry.environment.metadata.name, **spec}
    request = make_request(desk, caller, entry, model=model, spec=named, key=key)
    return show(JobCreated(job_id=await desk.write(request)), status=202)


@router.post("/drift-check", status_code=202, response_model=JobCreated)
async def check_drift(  # noqa: PLR0917 - FastAPI passes arguments by name
    environment_id: Id, desk: AtDesk, caller: From, key: Key = None, body: Asked | None = None
) -> Response:
    """Check whether production changed since this environment was copied from it."""
    spec = (body or NO_BODY).model_dump()
    return await ask(desk, caller, environment_id, model=DriftCheck, spec=spec, key=key)


@router.post("/promote", status_code=202, response_model=JobCreated)
async def promote(  # noqa: PLR0917 - FastAPI passes arguments by name
    environment_id: Id, body: PromoteRequest, desk: AtDesk, caller: From, key: Key = None
) -> Response:
    """Promote this environment; refused with every reason while a gate is shut."""
    entry = await find_environment(desk, caller, environment_id)
    target = find_target(entry, body.target_environment_id)
    if target == entry.environment.metadata.name:
        raise Refused("an environment cannot be promoted to itself")
    asked = body.model_dump(exclude={"target_environment_id"})
    spec = {"source": entry.environment.metadata.name, "target": target, **asked}
    request = make_request(desk, caller, entry, model=Promotion, spec=spec, key=key)
    return show(JobCreated(job_id=await desk.write(request)), status=202)


def find_target(source: EnvironmentEntry, target_id: UUID) -> str:
    """Find the target's name among the source's site. Raises `NotFound`."""
    for environment in source.site.environments.values():
        if environment.metadata.id == target_id:
            return environment.metadata.name
    raise NotFound(f"site {source.site.name} has no environment {target_id}")


@router.post("/backups", status_code=202, response_model=JobCreated)
async def back_up(  # noqa: PLR0917 - FastAPI passes arguments by name
    environment_id: Id, body: BackupRequest, desk: AtDesk, caller: From, key: Key = None
) -> Response:
    """Back this environment up and read the backup back."""
    spec = {"scope": body.backup_scope, "reason": body.reason}
    return await ask(desk, caller, environment_id, model=Backup, spec=spec, key=key)


@router.post("/refresh", status_code=202, response_model=JobCreated)
async def refresh(  # noqa: PLR0917 - FastAPI passes arguments by name
    environment_id: Id, desk: AtDesk, caller: From, key: Key = None, body: RefreshRequest | None = None
) -> Response:
    """Pull production's data down into this environment and take the new baseline."""
    spec = (body or RefreshRequest()).model_dump()
    return await ask(desk, caller, environment_id, model=Refresh, spec=spec, key=key)


@router.post("/restore", status_code=202, response_model=JobCreated)
async def restore(  # noqa: PLR0917 - FastAPI passes arguments by name
    environment_id: Id, body: RestoreRequest, desk: AtDesk, caller: From, key: Key = None
) -> Response:
    """Put this environment back to one of its own backups."""
    backups = await desk.read(lambda service: service.list_backups(environment_id))
    entry = await find_environment(desk, caller, environment_id)
    if body.backup_id not in {backup.id for backup in backups}:
        raise NotFound(f"environment {entry.environment.metadata.name} has no backup {body.backup_id}")
    return await ask(desk, caller, environment_id, model=Restore, spec=body.model_dump(), key=key)


@router.post("/rollback", status_code=202, response_model=JobCreated)
async def roll_back(  # noqa: PLR0917 - FastAPI passes arguments by name
    environment_id: Id, desk: AtDesk, caller: From, key: Key = None, body: RollbackRequest | None = None
) -> Response:
    """Put the previous release and its tables back."""
    spec = (body or RollbackRequest()).model_dump()
    return await ask(desk, caller, environment_id, model=Rollback, spec=spec, key=key)
