"""Health: what is asked, what counts as an answer, and what a trace of the source is."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils import health
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import (
    Environment,
    make_environment,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.reload import purge_pages

from reconciler.stack.mariadb import Login, MariaDB

Answer = tuple[int, dict[str, str], bytes]


@contextmanager
def serve(answer: Callable[[str, Any], Answer]) -> Iterator[str]:
    """A web server that answers with what `answer(path, headers)` says."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = answer(self.path, self.headers)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def make_site(url: str, *paths: str, **changes: Any) -> Environment:
    urls = [url + path for path in paths or ("/",)]
    params = {
        "id": "shop",
        "type": "production",
        "url": url,
        "root": "/srv/shop",
        "database": {"name": "shop", "table_prefix": "wp_"},
        "health": {"urls": urls},
    }
    return replace(make_environment(params), **changes)


def find_problems(environment: Environment, *, source_url: str = "", reference: Any = None) -> list[str]:
    """What is wrong with the pages, database and WP-CLI apart."""
    found = health.check_health(
        None, environment, wp_cli="/bin/true", source_url=source_url, reference=reference
    )
    assert found["healthy"] is False  # there is no database here
    return [
        check["detail"] for check in found["checks"] if check["name"].startswith("http") and not check["ok"]
    ]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        pytest.param((500, {}, b""), "HTTP 500", id="an error"),
        pytest.param((404, {}, b""), "HTTP 404", id="not found"),
        pytest.param((503, {}, b"Briefly unavailable"), "HTTP 503", id="maintenance"),
        pytest.param((200, {}, b"<b>Fatal error</b>: Uncaught"), "Fatal error", id="a fatal error with 200"),
        pytest.param(
            (200, {}, b"There has been a critical error on this website."), "critical", id="critical"
        ),
        pytest.param(
            (200, {}, b"x Error establishing a database connection x"), "database", id="no database"
        ),
        pytest.param((302, {"Location": "http://other.test/"}, b""), "another host", id="another host"),
        pytest.param((302, {"Location": "/again"}, b""), "redirects", id="a circle"),
    ],
)
def test_only_a_sound_page_is_healthy(answer: Answer, problem: str) -> None:
    with serve(lambda *_: answer) as url:
        [found] = find_problems(make_site(url))
    assert problem in found


def test_every_address_must_answer() -> None:
    with serve(lambda path, _: (200 if path.startswith("/good") else 500, {}, b"")) as url:
        found = health.check_health(None, make_site(url, "/good", "/bad"), wp_cli="/bin/true")
    assert {check["name"]: check["ok"] for check in found["checks"] if check["name"].startswith("http")} == {
        f"http {url}/good": True,
        f"http {url}/bad": False,
    }


def test_a_redirect_within_the_site_is_followed() -> None:
    def answer(path: str, _: Any) -> Answer:
        return (200, {}, b"fine") if path.startswith("/new") else (301, {"Location": "/new"}, b"")

    with serve(answer) as url:
        assert find_problems(make_site(url)) == []


def test_one_bad_answer_is_asked_again() -> None:
    answers = iter([500])
    with serve(lambda *_: (next(answers, 200), {}, b"")) as url:
        assert find_problems(make_site(url)) == []


def test_no_cache_can_have_the_answer() -> None:
    seen: list[tuple[str, str]] = []

    def answer(path: str, headers: Any) -> Answer:
        seen.append((path, headers["Cache-Control"]))
        return 200, {}, b""

    with serve(answer) as url:
        find_problems(make_site(url, "/?page=2"))
        find_problems(make_site(url, "/?page=2"))
    paths = [path for path, _ in seen]
    assert len(set(paths)) == len(paths) == 2
    assert all(path.startswith("/?page=2&pressluft-check=") for path in paths)
    assert all("no-cache" in control for _, control in seen)


def test_the_wanted_text_must_be_on_the_first_page() -> None:
    with serve(lambda *_: (200, {}, b"nothing of it")) as url:
        [problem] = find_problems(make_site(url, "/", "/feed", body_contains="Our shop"))
    assert "Our shop" in problem


def test_a_server_that_does_not_answer_is_not_healthy() -> None:
    with serve(lambda *_: (200, {}, b"")) as url:
        pass
    [problem] = find_problems(make_site(url))
    assert "no answer" in problem


@pytest.mark.parametrize(
    ("body", "count"),
    [
        pytest.param(b"http://staging.test/a", 1, id="an address"),
        pytest.param(b"//STAGING.test", 1, id="without scheme, in capitals"),
        pytest.param(rb"http:\/\/staging.test\/a", 1, id="in JSON"),
        pytest.param(b"https%3A%2F%2Fstaging.test%2Fa", 1, id="in a query"),
        pytest.param(b"See staging.test.", 1, id="at a sentence's end"),
        pytest.param(b"staging.testing.com staging.test.com", 0, id="another host that begins so"),
        pytest.param(b"my-staging.test www.staging.test", 0, id="another host that ends so"),
    ],
)
def test_a_trace_is_the_sources_host_and_no_other(body: bytes, count: int) -> None:
    assert health.count_traces(body, "https://staging.test", "https://shop.test") == count


def test_a_source_on_another_port_is_told_by_its_port() -> None:
    body = (
        b"http://127.0.0.1:8081/ http://127.0.0.1:8080/ http://127.0.0.1:80810/ http%3A%2F%2F127.0.0.1%3A8081"
    )
    assert health.count_traces(body, "http://127.0.0.1:8081", "http://127.0.0.1:8080") == 2


def test_a_source_in_a_folder_of_the_same_host_is_told_by_its_path() -> None:
    body = rb"https://shop.test/ https://shop.test/staging/a https:\/\/shop.test\/staging\/b"
    assert health.count_traces(body, "https://shop.test/staging", "https://shop.test") == 2
    assert health.count_traces(body, "https://shop.test", "https://shop.test/new") == 0


def test_a_trace_that_was_there_before_is_no_fault_but_a_new_one_is() -> None:
    pages = {"/": b"moved from staging.test"}
    with serve(lambda *_: (200, {}, pages["/"])) as url:
        site = make_site(url)
        reference = health.take_reference(site, "https://staging.test")
        assert find_problems(site, source_url="https://staging.test", reference=reference) == []
        pages["/"] += b" <a href='https://staging.test/'>"
        [problem] = find_problems(site, source_url="https://staging.test", reference=reference)
    assert "staging.test" in problem


@pytest.mark.parametrize(
    ("stable_for", "healthy"),
    [
        pytest.param(0.0, True, id="nobody looks again"),
        pytest.param(0.5, False, id="somebody does"),
    ],
)
def test_a_site_that_breaks_while_it_is_watched_is_not_healthy(
    mariadb: MariaDB, database: Login, stable_for: float, healthy: bool
) -> None:
    answers = iter([200])
    with serve(lambda *_: (next(answers, 500), {}, b"")) as url, mariadb.connect(database.user) as cursor:
        cursor.execute("CREATE TABLE wp_options (option_id INT)")
        site = make_site(url, stable_for=stable_for, database=database.user, php_cli="/bin/true")
        found = health.check_health(cursor.connection, site, wp_cli="/bin/true")
    assert found["healthy"] is healthy


@pytest.mark.parametrize(
    ("changes", "failed"),
    [
        pytest.param({}, set(), id="all is well"),
        pytest.param({"php_cli": "/bin/false"}, {"wordpress"}, id="not installed"),
        pytest.param({"php_cli": "/nowhere/php"}, {"wordpress"}, id="no such PHP"),
        pytest.param({"table_prefix": "x_"}, {"database"}, id="no options table"),
    ],
)
def test_database_and_wordpress_count_as_much_as_pages(
    mariadb: MariaDB, database: Login, changes: dict[str, str], failed: set[str]
) -> None:
    with serve(lambda *_: (200, {}, b"")) as url, mariadb.connect(database.user) as cursor:
        cursor.execute("CREATE TABLE wp_options (option_id INT)")
        site = replace(make_site(url, database=database.user, php_cli="/bin/true"), **changes)
        found = health.check_health(cursor.connection, site, wp_cli="/bin/true")
    assert {check["name"] for check in found["checks"] if not check["ok"]} == failed


def test_purging_takes_only_what_has_the_shape_of_a_cached_page(tmp_path: Path) -> None:
    page = tmp_path / "a" / "bc" / ("0123456789abcdef" * 2)
    others = [tmp_path / "a" / "index.html", tmp_path / "uploads" / ("f" * 32), tmp_path / "config.php"]
    for path in (page, *others):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    assert purge_pages(str(tmp_path)) == 1
    assert not page.exists()
    assert all(path.exists() for path in others)


def test_the_checks_that_failed_are_told_in_one_line() -> None:
    checks = [
        {"name": "http https://shop.test/", "ok": False, "detail": "HTTP 500"},
        {"name": "wordpress", "ok": True, "detail": "installed"},
        {"name": "database", "ok": False, "detail": "no answer"},
    ]
    assert health.describe_failures(checks) == "http https://shop.test/: HTTP 500; database: no answer"
    assert health.describe_failures(checks[1:2]) == ""
