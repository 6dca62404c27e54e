"""The one admin's sessions: opaque tokens in a cookie, kept here as hashes (spec.md §8)."""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from api.errors import Unacceptable, Unauthorized
from reconciler.errors import SettingsInvalid

SESSION_LIFE = timedelta(hours=24)
COOKIE = "session_token"
FAILURE_WINDOW = timedelta(minutes=5)
MOST_FAILURES_OF_ONE, MOST_FAILURES_OF_ALL = 10, 200
"""Wrong passwords within the window, from one network and from all: enough for people, not for guessing."""
MOST_AT_A_TIME = 2
"""A check takes 64 MiB and 50 ms of a core: more at a time would let guessing starve everybody else."""
MOST_SESSIONS = 10_000
DECOY = "$argon2id$v=19$m=65536,t=3,p=4$ONaNboHSlNKCkreSnns9dQ$iK/d6aUDfGhJ73Tytu1Db2gXNpt3YpcmIk513fXZpW4"
"""The hash of a password that nobody knows, compared with where none is set."""


@dataclass
class Sessions:
    """The sessions of this process. A restart ends them all. Safe to use from several threads."""

    password_hash: Path | None
    _expiry: dict[str, datetime] = field(default_factory=dict)
    _failures: list[tuple[datetime, str]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _checking: threading.BoundedSemaphore = field(
        default_factory=lambda: threading.BoundedSemaphore(MOST_AT_A_TIME)
    )

    def log_in(self, password: str, *, source: str, now: datetime) -> str:
        """Return a new session's token. Raises `Unauthorized`, or `Unacceptable` (429) after many failures."""
        network = find_network(source)
        self._refuse_guessing(network, now)
        if not self._checking.acquire(timeout=5):
            raise make_too_many(timedelta(seconds=5))
        try:
            right = self._is_right(password)
        finally:
            self._checking.release()
        if not right:
            with self._lock:
                self._failures.append((now, network))
            raise Unauthorized("wrong password, or none is set")
        return self._open(now)

    def _refuse_guessing(self, network: str, now: datetime) -> None:
        with self._lock:
            self._failures = [item for item in self._failures if now - item[0] < FAILURE_WINDOW]
            of_one = sum(item[1] == network for item in self._failures)
            if of_one >= MOST_FAILURES_OF_ONE or len(self._failures) >= MOST_FAILURES_OF_ALL:
                raise make_too_many(FAILURE_WINDOW - (now - self._failures[0][0]))

    def _is_right(self, password: str) -> bool:
        """Compare in the same time whether or not a password is set."""
        known = DECOY if self.password_hash is None else self._read_hash(self.password_hash)
        try:
            return PasswordHasher().verify(known, password) and self.password_hash is not None
        except VerificationError:
            return False
        except InvalidHashError as error:
            raise SettingsInvalid(f"admin_password_hash: {error}") from error

    @staticmethod
    def _read_hash(path: Path) -> str:
        try:
            return path.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsInvalid(f"admin_password_hash: {error}") from error

    def _open(self, now: datetime) -> str:
        token = secrets.token_urlsafe(32)
        with self._lock:
            living = [(key, expiry) for key, expiry in self._expiry.items() if expiry > now]
            self._expiry = dict(living[-MOST_SESSIONS:])
            self._expiry[digest(token)] = now + SESSION_LIFE
        return token

    def check(self, token: str | None, *, now: datetime) -> None:
        """Raise `Unauthorized` unless the token is of a living session."""
        expiry = self._expiry.get(digest(token)) if token else None
        if expiry is None or expiry <= now:
            raise Unauthorized("log in first (POST /api/login), or send a bearer token")

    def log_out(self, token: str | None) -> None:
        """End a session."""
        with self._lock:
            self._expiry.pop(digest(token or ""), None)


def digest(token: str) -> str:
    """Return what is kept of a token: a memory dump gives no session away."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def find_network(source: str) -> str:
    """Return what an attacker has one of: an IPv4 address, or the /64 of an IPv6 one."""
    try:
        address = ipaddress.ip_address(source)
    except ValueError:
        return source
    return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else str(address)


def make_too_many(wait: timedelta) -> Unacceptable:
    """Say when to come again."""
    seconds = max(1, round(wait.total_seconds()))
    return Unacceptable(
        HTTPStatus.TOO_MANY_REQUESTS, "too many failed logins; wait", {"Retry-After": str(seconds)}
    )
