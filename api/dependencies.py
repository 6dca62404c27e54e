"""What routes are given: the service, one request at a time, and the proof that somebody is logged in."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Cookie, Depends, Request

from api.sessions import Sessions
from reconciler.service import Service


@dataclass
class Context:
    """What the app holds; the repo behind the service is for one thread at a time."""

    service: Service
    sessions: Sessions
    lock: threading.Lock = field(default_factory=threading.Lock)


def get_context(request: Request) -> Context:
    """Return the app's context."""
    context: Context = request.app.state.context
    return context


def require_session(
    context: Annotated[Context, Depends(get_context)], session_token: Annotated[str | None, Cookie()] = None
) -> None:
    """Let nobody in who is not logged in."""
    context.sessions.check(session_token, now=context.service.clock.now())


def lend_service(
    context: Annotated[Context, Depends(get_context)], _: Annotated[None, Depends(require_session)]
) -> Iterator[Service]:
    """Lend the service for one request."""
    with context.lock:
        yield context.service


Lent = Annotated[Service, Depends(lend_service)]
ACTOR = "admin (REST)"
