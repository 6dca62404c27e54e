"""`POST /login` and `POST /logout`."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from api.desk import AtDesk, From
from api.sessions import COOKIE, SESSION_LIFE
from schemas.api import Login

router = APIRouter(tags=["session"])
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@router.post("/login", status_code=204, response_class=Response)
async def log_in(body: Login, request: Request, desk: AtDesk) -> Response:
    """Begin a session; its token comes as an HttpOnly cookie that lives 24 hours."""
    source = request.client.host if request.client else ""
    sessions, now = desk.reception.sessions, desk.service.clock.now()
    token = await run_in_threadpool(lambda: sessions.log_in(body.password, source=source, now=now))
    response = Response(status_code=204)
    response.set_cookie(
        COOKIE,
        token,
        max_age=int(SESSION_LIFE.total_seconds()),
        httponly=True,
        secure=is_secure(request),
        samesite="strict",
    )
    return response


@router.post("/logout", status_code=204, response_class=Response)
async def log_out(request: Request, desk: AtDesk, _: From) -> Response:
    """End the session; its token is worth nothing from now on."""
    desk.reception.sessions.log_out(request.cookies.get(COOKIE))
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, httponly=True, secure=is_secure(request), samesite="strict")
    return response


def is_secure(request: Request) -> bool:
    """Whether the cookie is for encrypted connections only: everywhere but on this very machine."""
    return request.url.scheme == "https" or request.url.hostname not in LOOPBACK
