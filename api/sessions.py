"""Who is at the door: one admin, server-side sessions in an opaque cookie (spec.md §8)."""

from __future__ import annotations

import hashlib
import secrets
import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from api.errors import TooManyTries, Unauthorized
from reconciler.errors import SettingsInvalid

SESSION_LIFE = timedelta(hours=24)
MOST_FAILURES, FAILURE_WINDOW = 10, timedelta(minutes=5)
COOKIE = "session_token"


@dataclass
class Sessions:
    """The sessions of this process. A restart ends them all. Safe to use from several threads."""

    password_hash: Path | None
    _expiry: dict[str, datetime] = field(default_factory=dict)
    _failures: list[datetime] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def log_in(self, password: str, *, now: datetime) -> str:
        """Return a new session's token. Raises `Unauthorized`, or `TooManyTries` after many failures."""
        with self._lock:
            self._failures = [moment for moment in self._failures if now - moment < FAILURE_WINDOW]
            if len(self._failures) >= MOST_FAILURES:
                raise TooManyTries("too many failed logins; wait five minutes")
        if not self._is_right(password):
            with self._lock:
                self._failures.append(now)
            raise Unauthorized("wrong password")
        token = secrets.token_urlsafe(32)
        with self._lock:
            self._expiry = {key: expiry for key, expiry in self._expiry.items() if expiry > now}
            self._expiry[digest(token)] = now + SESSION_LIFE
        return token

    def _is_right(self, password: str) -> bool:
        if self.password_hash is None:
            raise Unauthorized(
                "no admin password is set: PRESSLUFT_ADMIN_PASSWORD_HASH names its argon2 hash"
            )
        try:
            return PasswordHasher().verify(self.password_hash.read_text().strip(), password)
        except VerificationError:
            return False
        except (OSError, InvalidHashError) as error:
            raise SettingsInvalid(f"admin_password_hash: {error}") from error

    def check(self, token: str | None, *, now: datetime) -> None:
        """Raise `Unauthorized` unless the token is of a living session."""
        expiry = self._expiry.get(digest(token)) if token else None
        if expiry is None or expiry <= now:
            raise Unauthorized("log in first: POST /api/login")

    def log_out(self, token: str | None) -> None:
        """End a session."""
        with self._lock:
            self._expiry.pop(digest(token or ""), None)


def digest(token: str) -> str:
    """Return what is kept of a token: a memory dump gives no session away."""
    return hashlib.sha256(token.encode()).hexdigest()
