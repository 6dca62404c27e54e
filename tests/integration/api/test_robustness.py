"""Whatever is sent, the answer has the one form and says nothing of what is behind it."""

from __future__ import annotations

import json
import shutil
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

import api.server as server_module
from api.door import Limits
from tests.integration.api.living import (
    PASSWORD,
    PRODUCTION_ID,
    STAGING_ID,
    Living,
    live,
    make_settings,
    make_small_fleet,
)

STAGING = f"/api/environments/{STAGING_ID}"
JSON = {"Content-Type": "application/json"}


def is_problem(answer: httpx.Response, status: int, code: str) -> None:
    """Check that an answer is a failure of the one form."""
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), answer.text
    assert set(problem) <= {"code", "message", "details"}
    assert answer.headers["content-type"] == "application/json"
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        pytest.param(b"{", JSON, 400, "bad_request", id="broken JSON"),
        pytest.param(b"\xff\xfe", JSON, 400, "bad_request", id="no UTF-8"),
        pytest.param(b"[" * 30_000, JSON, 400, "bad_request", id="deep JSON"),
        pytest.param(b"[]", JSON, 400, "bad_request", id="a list"),
        pytest.param(b"1e999", JSON, 400, "bad_request", id="a number"),
        pytest.param(b"", JSON, 400, "bad_request", id="nothing"),
        pytest.param(b"{}", {}, 415, "unsupported_media_type", id="no media type"),
        pytest.param(b"{}", {"Content-Type": "text/json"}, 415, "unsupported_media_type", id="another type"),
        pytest.param(
            b"a=b",
            {"Content-Type": "application/x-www-form-urlencoded"},
            415,
            "unsupported_media_type",
            id="a form",
        ),
        pytest.param(b" " * 70_000, JSON, 413, "payload_too_large", id="a long body"),
        pytest.param(
            json.dumps({"target_environment_id": 1}).encode(), JSON, 400, "bad_request", id="a number as id"
        ),
        pytest.param(
            json.dumps({"target_environment_id": str(PRODUCTION_ID), "reason": "\ud800"}).encode(),
            JSON,
            400,
            "bad_request",
            id="half a character",
        ),
    ],
)
def test_a_body_that_is_none_is_refused(  # noqa: PLR0917 - pytest passes arguments by name
    living: Living, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    with living.admin() as admin:
        is_problem(admin.post(f"{STAGING}/promote", content=body, headers=headers), status, code)


def test_a_long_body_in_pieces_is_stopped_as_well(living: Living) -> None:
    with living.admin() as admin:
        pieces = (b" " * 1000 for _ in range(100))
        answer = admin.post(f"{STAGING}/promote", content=pieces, headers=JSON)
    is_problem(answer, 413, "payload_too_large")


@pytest.mark.parametrize(
    "path", ["/", "/api", "/api/", "/api/nope", "/api/jobs/", "/api//jobs", "/docs", "/openapi.json"]
)
def test_an_unknown_path_is_not_found_for_anybody(living: Living, path: str) -> None:
    with living.admin() as admin:
        is_problem(admin.get(path), 404, "not_found")
    is_problem(living.client().get(path), 404, "not_found")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "BREW"])
def test_a_wrong_method_is_told_the_right_ones(living: Living, method: str) -> None:
    with living.admin() as admin:
        answer = admin.request(method, f"{STAGING}/backups")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=201", "limit=x", "after=x", "status=odd", "odd=1", "limit=1&limit=2"]
)
def test_an_odd_query_is_refused(living: Living, query: str) -> None:
    with living.admin() as admin:
        is_problem(admin.get(f"/api/jobs?{query}"), 400, "bad_request")


def test_ids_that_are_none_are_refused(living: Living) -> None:
    with living.admin() as admin:
        for odd in ("1", "x", "%00", "7d4c5b38940058 92bbea", "{7d4c5b38-9400-5892-bbea-6cf629e01c40}"):
            is_problem(admin.get(f"/api/jobs/{odd}"), 400, "bad_request")


def test_a_bug_tells_the_caller_nothing(living: Living, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down(*_: object, **__: object) -> None:
        raise RuntimeError("the password is swordfish")

    with living.admin() as admin:
        monkeypatch.setattr(type(living.facade.desk.service), "list_jobs", break_down)
        answer = admin.get("/api/jobs")
        is_problem(answer, 500, "internal_error")
        assert "swordfish" not in answer.text
        monkeypatch.setattr(type(living.facade.desk.service), "write", break_down)
        is_problem(admin.post(f"{STAGING}/drift-check"), 500, "internal_error")
        assert admin.get("/api/sites").status_code == 200, "the next request is served"


def test_a_repo_that_is_gone_is_unavailable_until_it_is_back(living: Living) -> None:
    repo = Path(living.settings.repo)
    with living.admin() as admin:
        repo.rename(repo.with_name("away.git"))
        for answer in (admin.get("/api/sites"), admin.post(f"{STAGING}/drift-check")):
            is_problem(answer, 503, "unavailable")
            assert int(answer.headers["retry-after"]) > 0
            assert living.settings.repo not in answer.text
        await_status(f"{living.url}/readyz", 503)
        assert admin.get("/healthz").status_code == 200
        repo.with_name("away.git").rename(repo)
        assert admin.get("/api/sites").status_code == 200
        await_status(f"{living.url}/readyz", 200)


def await_status(url: str, status: int) -> None:
    """Wait until an address answers so."""
    deadline = time.monotonic() + 10
    while httpx.get(url).status_code != status:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_empty_repo_is_an_empty_fleet(tmp_path: Path) -> None:
    full = make_small_fleet(tmp_path)
    shutil.rmtree(full / "refs" / "heads")
    (full / "refs" / "heads").mkdir()
    with live(make_settings(tmp_path, full)) as served, served.admin() as admin:
        assert (admin.get("/api/sites").json(), admin.get("/api/jobs").json()) == ([], [])
        is_problem(admin.get(STAGING), 404, "not_found")


def test_too_much_at_a_time_is_turned_away_and_told_when_to_come_again(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, make_small_fleet(tmp_path))
    with live(settings, limits=Limits(in_flight=2, body_seconds=5)) as served, served.admin() as admin:
        held = [open_request(served.url, dict(admin.cookies)) for _ in range(2)]
        deadline = time.monotonic() + 5
        while (answer := admin.get("/api/sites")).status_code == 200:
            assert time.monotonic() < deadline
        is_problem(answer, 503, "overloaded")
        assert answer.headers["retry-after"] == "1"
        for connection in held:
            connection.close()
        await_status(f"{served.url}/healthz", 200)
        assert admin.get("/api/sites").status_code == 200


def open_request(url: str, cookies: dict[str, str]) -> socket.socket:
    """Begin a request whose body does not arrive."""
    parts = urlsplit(url)
    connection = socket.create_connection((parts.hostname, parts.port))
    head = (
        f"POST {STAGING}/drift-check HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
        f"Cookie: session_token={cookies['session_token']}\r\nContent-Length: 10\r\n\r\n"
    )
    connection.sendall(head.encode())
    return connection


def test_a_body_that_does_not_come_is_given_up(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, make_small_fleet(tmp_path))
    with live(settings, limits=Limits(body_seconds=0.2)) as served, served.admin() as admin:
        connection = open_request(served.url, dict(admin.cookies))
        head, _, body = read_all(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408")
    assert json.loads(body)["code"] == "request_timeout"


def read_all(connection: socket.socket) -> bytes:
    """Read until the other side closes."""
    connection.settimeout(10)
    found = b""
    while piece := connection.recv(65536):
        found += piece
    return found


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", id="TLS"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 20_000, id="headers without end"),
        pytest.param(b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n", id="a control character"),
        pytest.param(b"hello\r\n\r\n", id="no HTTP"),
    ],
)
def test_what_is_not_http_is_answered_in_the_one_form(living: Living, sent: bytes) -> None:
    parts = urlsplit(living.url)
    with socket.create_connection((parts.hostname, parts.port)) as connection:
        connection.sendall(sent)
        head, _, body = read_all(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400"), head
    assert json.loads(body)["code"] == "bad_request"


def test_long_headers_and_addresses_are_refused(living: Living) -> None:
    with living.admin() as admin:
        is_problem(admin.get("/api/jobs", headers={"X": "x" * 20_000}), 431, "headers_too_large")
        is_problem(admin.get(f"/api/jobs?after={'x' * 20_000}"), 431, "headers_too_large")


def test_who_says_nothing_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "HEADER_SECONDS", 0.2)
    with live(make_settings(tmp_path, make_small_fleet(tmp_path))) as served:
        parts = urlsplit(served.url)
        for beginning in (b"", b"GET /api/si"):
            with socket.create_connection((parts.hostname, parts.port)) as connection:
                connection.sendall(beginning)
                assert read_all(connection) == b""


def test_secrets_are_never_logged(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with live(make_settings(tmp_path, make_small_fleet(tmp_path))) as served, served.admin() as admin:
        admin.post(f"{STAGING}/drift-check")
        admin.post("/api/login", json={"password": "guessed"})
        secrets = [PASSWORD, served.writer_token, admin.cookies["session_token"], "guessed"]
    told = "".join(capfd.readouterr())
    assert [secret for secret in secrets if secret in told] == []


def test_a_stop_lets_what_is_under_way_come_to_its_end(tmp_path: Path) -> None:
    with live(make_settings(tmp_path, make_small_fleet(tmp_path))) as served, served.admin() as admin:
        answers: list[httpx.Response] = []

        def ask() -> None:
            with suppress(httpx.TransportError):  # not read before the stop: nobody promised anything
                answers.append(admin.post(f"{STAGING}/drift-check"))

        threads = [threading.Thread(target=ask) for _ in range(10)]
        for thread in threads:
            thread.start()
        while not answers:
            time.sleep(0.001)
        served.server.should_exit = True
        for thread in threads:
            thread.join()
        durable = {answer.json()["job_id"] for answer in answers if answer.status_code == 202}
        assert len(durable) == len(served.list_intents())
