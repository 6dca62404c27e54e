"""`POST /login` and `POST /logout`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Cookie, Depends, Request, Response

from api.dependencies import Context, get_context
from api.sessions import COOKIE, SESSION_LIFE
from schemas.api import Login

router = APIRouter(tags=["session"])
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@router.post("/login", status_code=204)
def log_in(body: Login, request: Request, context: Annotated[Context, Depends(get_context)]) -> Response:
    """Begin a session; its token comes as an HttpOnly cookie that lives 24 hours."""
    token = context.sessions.log_in(body.password, now=context.service.clock.now())
    response = Response(status_code=204)
    response.set_cookie(
        COOKIE,
        token,
        max_age=int(SESSION_LIFE.total_seconds()),
        httponly=True,
        secure=request.url.hostname not in LOOPBACK,
        samesite="strict",
    )
    return response


@router.post("/logout", status_code=204)
def log_out(
    context: Annotated[Context, Depends(get_context)], session_token: Annotated[str | None, Cookie()] = None
) -> Response:
    """End the session."""
    context.sessions.log_out(session_token)
    response = Response(status_code=204)
    response.delete_cookie(COOKIE)
    return response
