"""For those who operate the facade: health, Prometheus, and the git server's webhook. Outside of `/api`."""

from __future__ import annotations

import hashlib
import hmac
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from api.desk import AtDesk, Desk, From
from api.errors import Unacceptable, Unauthorized
from api.page import show
from api.routes.reading import require_all_sites
from reconciler.errors import Transient
from schemas.api import Health

router = APIRouter(tags=["operating"])
Signature = Annotated[
    str | None,
    Header(
        alias="X-Hub-Signature-256", description="`sha256=` and the body's HMAC (GitHub, Gitea, Forgejo)."
    ),
]
GiteaSignature = Annotated[
    str | None,
    Header(alias="X-Gitea-Signature", description="The body's HMAC in hex (Gitea and Forgejo of old)."),
]
Token = Annotated[str | None, Header(alias="X-Gitlab-Token", description="The secret itself (GitLab).")]


@router.get("/healthz", response_model=Health)
async def report_health(desk: AtDesk) -> Response:
    """Say that the process answers and, where the daemon runs in it, that its loop goes on."""
    stall = desk.daemon.find_stall()
    if stall:
        stuck = f"the daemon's loop is stuck: {stall}"
        raise Unacceptable(HTTPStatus.SERVICE_UNAVAILABLE, stuck, {"Retry-After": "5"})
    return show(Health(status="ok"))


@router.get("/readyz", response_model=Health)
async def report_readiness(desk: AtDesk) -> Response:
    """Say whether the fleet repo was read and can be reached."""
    if not desk.outbox.healthy:
        raise Transient("the fleet repo cannot be reached right now", retry_after=5)
    return show(Health(status="ok"))


@router.get(
    "/metrics",
    operation_id="read_metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def read_metrics(desk: AtDesk, caller: From) -> Response:
    """Tell Prometheus how the fleet stands, what this process answered, and what its daemon did."""
    require_all_sites(caller)
    totals = await desk.read(lambda service: service.count())
    return Response(desk.meter.show(totals) + desk.daemon.show(), media_type=CONTENT_TYPE_LATEST)


@router.post("/hooks/git", status_code=202, response_model=Health)
async def take_hook(  # noqa: PLR0917 - FastAPI passes arguments by name
    request: Request,
    desk: AtDesk,
    signature: Signature = None,
    gitea: GiteaSignature = None,
    token: Token = None,
) -> Response:
    """Take a git server's word that something was pushed; it carries no input, it only says *look again*."""
    signed = signature or (f"sha256={gitea}" if gitea is not None else None)
    require_signature(desk, await request.body(), signature=signed, token=token)
    desk.outbox.look_soon()
    desk.daemon.wake()
    return show(Health(status="ok"), status=202)


def require_signature(desk: Desk, body: bytes, *, signature: str | None, token: str | None) -> None:
    """Believe only who knows the secret. Raises `Unauthorized`."""
    secret = desk.webhook_secret()
    if secret is None:
        raise Unauthorized("no webhook secret is set here")
    right = "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()
    if signature is not None and hmac.compare_digest(signature.encode(), right.encode()):
        return
    if token is not None and hmac.compare_digest(token.encode(), secret):
        return
    raise Unauthorized("the webhook is not signed with the secret that is set here")
