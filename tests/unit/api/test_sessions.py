"""Sessions and guesses, with a clock that tests move."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from api.errors import Unacceptable, Unauthorized
from api.sessions import FAILURE_WINDOW, MOST_FAILURES_OF_ONE, SESSION_LIFE, Sessions

NOW = datetime(2026, 3, 1, tzinfo=UTC)
HASH = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash("right")


@pytest.fixture
def sessions(tmp_path: Path) -> Sessions:
    (tmp_path / "hash").write_text(HASH + "\n")
    return Sessions(tmp_path / "hash")


def guess(sessions: Sessions, *, source: str, at: datetime = NOW) -> None:
    with pytest.raises(Unauthorized):
        sessions.log_in("wrong", source=source, now=at)


def test_a_session_lives_a_day_and_no_longer(sessions: Sessions) -> None:
    token = sessions.log_in("right", source="192.0.2.1", now=NOW)
    sessions.check(token, now=NOW + SESSION_LIFE - timedelta(seconds=1))
    with pytest.raises(Unauthorized):
        sessions.check(token, now=NOW + SESSION_LIFE)


def test_guesses_shut_out_their_own_network_only_and_for_a_while(sessions: Sessions) -> None:
    for _ in range(MOST_FAILURES_OF_ONE):
        guess(sessions, source="192.0.2.1")
    with pytest.raises(Unacceptable) as refused:
        sessions.log_in("right", source="192.0.2.1", now=NOW)
    assert refused.value.status is HTTPStatus.TOO_MANY_REQUESTS
    assert sessions.log_in("right", source="192.0.2.2", now=NOW)
    assert sessions.log_in("right", source="192.0.2.1", now=NOW + FAILURE_WINDOW)


def test_an_ipv6_network_is_one_guesser(sessions: Sessions) -> None:
    for number in range(MOST_FAILURES_OF_ONE):
        guess(sessions, source=f"2001:db8::{number:x}")
    with pytest.raises(Unacceptable, match="too many"):
        sessions.log_in("right", source="2001:db8::ffff", now=NOW)


def test_without_a_password_nobody_logs_in() -> None:
    guess(Sessions(None), source="192.0.2.1")


def test_a_token_of_another_process_is_unknown(sessions: Sessions, tmp_path: Path) -> None:
    token = sessions.log_in("right", source="192.0.2.1", now=NOW)
    with pytest.raises(Unauthorized):
        Sessions(tmp_path / "hash").check(token, now=NOW)
