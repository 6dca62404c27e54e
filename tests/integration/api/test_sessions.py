"""Who is let in: the admin's session, and everybody else who tries."""

from __future__ import annotations

from http.cookies import SimpleCookie

import httpx
import pytest

from api.sessions import MOST_FAILURES_OF_ONE
from tests.integration.api.living import PASSWORD, STAGING_ID, Living

WRITE = f"/api/environments/{STAGING_ID}/drift-check"


def test_a_login_opens_a_session_that_a_logout_revokes(living: Living) -> None:
    with living.admin() as admin:
        token = admin.cookies["session_token"]
        assert admin.get("/api/sites").status_code == 200
        assert admin.post("/api/logout").status_code == 204
        assert "session_token" not in admin.cookies
        answer = admin.get("/api/sites", headers={"Cookie": f"session_token={token}"})
    assert answer.status_code == 401
    assert answer.json()["code"] == "unauthorized"


def test_the_cookie_is_for_this_site_and_for_the_server_alone(living: Living) -> None:
    answer = living.client().post("/api/login", json={"password": PASSWORD})
    cookie = SimpleCookie(answer.headers["set-cookie"])["session_token"]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "strict", "/")
    assert cookie["max-age"] == str(24 * 3600)
    assert not cookie["secure"], "this very machine has no encryption"


def test_the_cookie_is_secure_wherever_it_leaves_this_machine(living: Living) -> None:
    answer = living.client().post(
        "/api/login", json={"password": PASSWORD}, headers={"Host": "fleet.example.org"}
    )
    assert SimpleCookie(answer.headers["set-cookie"])["session_token"]["secure"] is True


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"Cookie": "session_token="}, id="an empty cookie"),
        pytest.param({"Cookie": "session_token=guessed"}, id="a guessed cookie"),
        pytest.param({"Authorization": "Bearer guessed"}, id="a guessed token"),
        pytest.param({"Authorization": "Bearer"}, id="an empty token"),
        pytest.param({"Authorization": "Basic YWRtaW46YWRtaW4="}, id="another scheme"),
        pytest.param({"X-Forwarded-User": "admin"}, id="a proxy's word"),
    ],
)
def test_nobody_is_let_in_without_a_proof(living: Living, headers: dict[str, str]) -> None:
    with living.client() as client:
        for path in ("/api/sites", "/api/jobs", "/api/metrics", "/metrics"):
            answer = client.get(path, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized"), path
            assert answer.headers["www-authenticate"] == "Bearer"
        assert client.post(WRITE, headers=headers).status_code == 401
    assert living.list_intents() == {}


def test_two_proofs_at_once_are_none(living: Living) -> None:
    with living.admin() as admin:
        answer = admin.get("/api/sites", headers={"Authorization": f"Bearer {living.reader_token}"})
    assert answer.status_code == 401


def test_guessing_is_stopped_even_before_the_right_password(living: Living) -> None:
    client = living.client()
    for _ in range(MOST_FAILURES_OF_ONE):
        assert client.post("/api/login", json={"password": "guess"}).status_code == 401
    answer = client.post("/api/login", json={"password": PASSWORD})
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_requests")
    assert 0 < int(answer.headers["retry-after"]) <= 300


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"Origin": "https://evil.example"}, id="another origin"),
        pytest.param({"Origin": "null"}, id="no origin at all"),
        pytest.param({"Sec-Fetch-Site": "cross-site"}, id="another site"),
        pytest.param({"Sec-Fetch-Site": "same-site"}, id="a sister host"),
    ],
)
def test_another_site_cannot_use_the_admins_browser(living: Living, headers: dict[str, str]) -> None:
    with living.admin() as admin:
        for path, body in ((WRITE, None), ("/api/logout", None), ("/api/login", {"password": PASSWORD})):
            answer = admin.post(path, headers=headers, json=body)
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), path
        assert admin.get("/api/sites").status_code == 200, "the session lives on"
    assert living.list_intents() == {}


@pytest.mark.parametrize(
    "headers", [{"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}, {"own": ""}]
)
def test_the_admins_own_pages_may_write(living: Living, headers: dict[str, str]) -> None:
    if "own" in headers:
        headers = {"Origin": living.url}
    with living.admin() as admin:
        assert admin.post(WRITE, headers=headers).status_code == 202


def test_a_token_for_reading_asks_for_nothing(living: Living) -> None:
    with living.reader() as reader:
        assert reader.get("/api/sites").status_code == 200
        assert reader.post(WRITE).status_code == 403
    assert living.list_intents() == {}


def test_a_revoked_token_is_worth_nothing_at_once(living: Living) -> None:
    with living.writer() as writer:
        assert writer.get("/api/sites").status_code == 200
        living.facade.desk.reception.tokens.revoke("writer")
        assert writer.get("/api/sites").status_code == 401


def test_a_secret_is_found_in_no_answer_and_no_file_of_the_facade(living: Living) -> None:
    httpx.post(f"{living.url}/api/login", json={"password": PASSWORD})
    kept = living.settings.token_file.read_text()
    assert living.writer_token not in kept
    assert living.settings.token_file.stat().st_mode & 0o077 == 0
