"""Who is asking, and what they may do: the admin's session or a program's token."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from starlette.requests import cookie_parser

from api.errors import Unauthorized
from api.sessions import COOKIE, Sessions
from api.tokens import TokenFile
from reconciler.service import NotFound

ADMIN = "admin (REST)"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. `sites` are the names of those it may see, `None` for all."""

    actor: str
    sites: frozenset[str] | None
    may_write: bool
    by_cookie: bool
    """Whether a browser would send the proof by itself, so that other sites could make it ask."""

    def sees(self, site: str) -> bool:
        """Whether the caller may know of a site."""
        return self.sites is None or site in self.sites

    def require_sight(self, site: str, *, what: str) -> None:
        """Hide what the caller may not know of. Raises `NotFound`, as if it were not there."""
        if not self.sees(site):
            raise NotFound(f"there is no {what}")


@dataclass(frozen=True, slots=True)
class Reception:
    """Knows sessions and tokens."""

    sessions: Sessions
    tokens: TokenFile
    now: Callable[[], datetime]

    def identify(self, headers: Mapping[str, str]) -> Caller:
        """Find out who asks from a request's headers. Raises `Unauthorized`."""
        authorization = headers.get("authorization")
        token = cookie_parser(headers.get("cookie", "")).get(COOKIE)
        if authorization is not None and token is not None:
            raise Unauthorized("send a session's cookie or a bearer token, not both")
        if authorization is not None:
            return self._identify_program(authorization)
        self.sessions.check(token, now=self.now())
        return Caller(ADMIN, None, may_write=True, by_cookie=True)

    def _identify_program(self, authorization: str) -> Caller:
        scheme, _, token = authorization.partition(" ")
        entry = self.tokens.find(token.strip()) if scheme.lower() == "bearer" else None
        if entry is None:
            raise Unauthorized("the token is not known here, or was revoked")
        return Caller(
            actor=f"{entry.name} (REST token)",
            sites=frozenset(entry.sites) if entry.sites else None,
            may_write=entry.may_write,
            by_cookie=False,
        )
