"""For those who run it: the webhook, the metrics, proxies, and the command line around it."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from api.desk import Watched
from tests.integration.api.living import (
    PASSWORD,
    SITE,
    STAGING_ID,
    Living,
    live,
    make_settings,
    make_small_fleet,
)

SECRET = b"hook secret"
BODY = b'{"ref": "refs/heads/main"}'
SIGNED = "sha256=" + hmac.new(SECRET, BODY, hashlib.sha256).hexdigest()
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    "proof",
    [
        pytest.param({"X-Hub-Signature-256": SIGNED}, id="github"),
        pytest.param({"X-Gitlab-Token": SECRET.decode()}, id="gitlab"),
        pytest.param({"X-Gitea-Signature": SIGNED.removeprefix("sha256=")}, id="gitea"),
    ],
)
def test_a_signed_hook_makes_the_facade_look(living: Living, proof: dict[str, str]) -> None:
    called: list[str] = []
    living.facade.desk.daemon = Watched(wake=lambda: called.append("daemon"))
    answer = httpx.post(f"{living.url}/hooks/git", content=BODY, headers=JSON | proof)
    assert (answer.status_code, answer.json()) == (202, {"status": "ok"})
    assert called == ["daemon"]


@pytest.mark.parametrize(
    "proof",
    [
        {},
        {"X-Hub-Signature-256": "sha256=" + "0" * 64},
        {"X-Hub-Signature-256": SIGNED.removeprefix("sha256=")},
        {"X-Hub-Signature-256": "sha1=" + hmac.new(SECRET, BODY, hashlib.sha1).hexdigest()},
        {"X-Gitlab-Token": ""},
        {"X-Gitea-Signature": ""},
        {"X-Gitea-Signature": "0" * 64},
        {"X-Gitea-Signature": SIGNED},
        {"X-Gitlab-Token": "hook secret "[:-2]},
    ],
)
def test_a_hook_that_is_not_signed_is_nobodys(living: Living, proof: dict[str, str]) -> None:
    answer = httpx.post(f"{living.url}/hooks/git", content=BODY, headers=JSON | proof)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")


def test_a_hook_is_only_ever_a_wake_up(living: Living) -> None:
    body = json.dumps(
        {"ref": "refs/heads/main", "after": "0" * 40, "commits": [{"added": ["status/x.yaml"]}]}
    )
    right = "sha256=" + hmac.new(SECRET, body.encode(), hashlib.sha256).hexdigest()
    with living.reader() as client:
        before = client.get("/api/jobs").json(), client.get("/api/sites").json()
        answer = client.post("/hooks/git", content=body, headers=JSON | {"X-Hub-Signature-256": right})
        assert (answer.status_code, answer.json()) == (202, {"status": "ok"})
        assert (client.get("/api/jobs").json(), client.get("/api/sites").json()) == before


def test_without_a_secret_no_hook_is_believed(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, make_small_fleet(tmp_path))
    with live(settings.model_copy(update={"webhook_secret": None})) as served:
        empty = "sha256=" + hmac.new(b"", BODY, hashlib.sha256).hexdigest()
        for proof in ({"X-Hub-Signature-256": empty}, {"X-Gitlab-Token": ""}):
            assert (
                httpx.post(f"{served.url}/hooks/git", content=BODY, headers=JSON | proof).status_code == 401
            )


def test_prometheus_reads_how_the_fleet_stands_and_what_was_answered(living: Living) -> None:
    with living.reader() as reader:
        reader.get("/api/jobs")
        reader.get("/nope/1")
        reader.get("/nope/2")
        answer = reader.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert "pressluft_sites 2.0" in answer.text
    assert 'pressluft_http_requests_total{method="GET",path="/api/jobs",status="200"} 1.0' in answer.text
    assert 'path="unknown",status="404"} 2.0' in answer.text, "addresses that are none are one"


def test_behind_a_proxy_addresses_carry_its_prefix(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, make_small_fleet(tmp_path)).model_copy(
        update={"root_path": "/pressluft"}
    )
    with live(settings) as served, served.admin() as admin:
        answer = admin.get("/api/jobs?limit=1")
    assert answer.links["next"]["url"].startswith("/pressluft/api/jobs?limit=1&after=")


FORWARDED = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}


def test_forwarded_headers_are_believed_from_trusted_addresses_only(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, make_small_fleet(tmp_path))
    for trusted, secure in (("", False), ("192.0.2.1", False), ("127.0.0.1", True), ("127.0.0.0/8", True)):
        with live(settings.model_copy(update={"trusted_proxies": trusted})) as served:
            answer = httpx.post(f"{served.url}/api/login", json={"password": PASSWORD}, headers=FORWARDED)
            assert ("Secure" in answer.headers["set-cookie"]) is secure, trusted


def test_guesses_through_a_trusted_proxy_are_counted_by_their_source(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, make_small_fleet(tmp_path))
    with live(settings.model_copy(update={"trusted_proxies": "127.0.0.1"})) as served:
        for _ in range(11):
            last = httpx.post(f"{served.url}/api/login", json={"password": "guess"}, headers=FORWARDED)
        other = {"X-Forwarded-For": "198.51.100.7"}
        mine = httpx.post(f"{served.url}/api/login", json={"password": PASSWORD}, headers=other)
    assert (last.status_code, mine.status_code) == (429, 204)


def run_command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PRESSLUFT_STATE_DIR": str(folder / "state")}
    return subprocess.run(
        [sys.executable, "-m", "reconciler", *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_tokens_are_made_listed_used_and_revoked_on_the_command_line(living: Living, tmp_path: Path) -> None:
    made = run_command(tmp_path, "token", "create", "ci", "--site", SITE, "--write", "--json")
    token = json.loads(made.stdout)["token"]
    with living.client(token) as ci:
        assert ci.post(f"/api/environments/{STAGING_ID}/drift-check").status_code == 202
    listed = run_command(tmp_path, "token", "list")
    assert "ci" in listed.stdout
    assert token not in listed.stdout
    again = run_command(tmp_path, "token", "create", "ci")
    assert (again.returncode, "already" in again.stderr) == (1, True)
    assert run_command(tmp_path, "token", "revoke", "ci").returncode == 0
    with living.client(token) as ci:
        assert ci.get("/api/sites").status_code == 401
    assert run_command(tmp_path, "token", "revoke", "ci").returncode == 1
    assert run_command(tmp_path, "token", "create", "Not A Name").returncode == 2


def test_health_says_when_the_daemon_of_this_process_is_stuck(living: Living) -> None:
    assert httpx.get(f"{living.url}/healthz").json() == {"status": "ok"}
    living.facade.desk.daemon = Watched(find_stall=lambda: "no pass has begun or ended for 900 s")
    answer = httpx.get(f"{living.url}/healthz")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "stuck: no pass has begun or ended for 900 s" in answer.json()["message"]


def test_prometheus_is_told_of_the_daemon_of_this_process_too(living: Living) -> None:
    living.facade.desk.daemon = Watched(show=lambda: b"pressluft_claims_total 3.0\n")
    with living.reader() as client:
        text = client.get("/metrics").text
    assert "pressluft_claims_total 3.0\n" in text
    assert "pressluft_http_requests_total" in text
