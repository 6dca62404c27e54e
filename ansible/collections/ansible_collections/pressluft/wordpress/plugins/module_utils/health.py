"""Whether a site is healthy, asked from its own node and never through a cache (spec.md §6, step 5)."""

from __future__ import annotations

import http.client
import os
import re
import ssl
import time
import uuid
from dataclasses import dataclass, field
from typing import Mapping, Tuple
from urllib.parse import parse_qsl, quote, urlencode, urljoin, urlsplit, urlunsplit

from ansible_collections.pressluft.wordpress.plugins.module_utils.database import quote_name, run_query
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.wp_cli import run_wp

CHECK_SECONDS = 10.0  # spec.md §6: each 10 s and one retry
_RETRY_PAUSE, _STABLE_PAUSE = 0.5, 1.0
_MOST_REDIRECTS = 5
_MOST_BYTES = 8 << 20
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_BROKEN = (
    b"<b>Fatal error</b>:",
    b"<b>Parse error</b>:",
    b"PHP Fatal error:",
    b"There has been a critical error on this website",
    b"Error establishing a database connection",
)


@dataclass(frozen=True)
class Page:
    """What an address answered; `error` instead of a status where nothing did."""

    status: int
    body: bytes
    error: str = ""


@dataclass(frozen=True)
class Reference:
    """How often the source's place and signs of breakage showed on each address before the cut-over."""

    traces: Mapping[str, int] = field(default_factory=dict)
    broken: Mapping[str, Tuple[str, ...]] = field(default_factory=dict)


def check_health(conn, environment, *, wp_cli, source_url="", reference=None):
    """Check the site until it was healthy for `stable_for` seconds, or is not.

    Returns `{healthy, checks: [{name, ok, detail}]}` (node-protocol.md). `conn` is None where the database server
    could not be reached. `source_url` is the place that no page may newly name.
    """
    began = time.monotonic()
    reference = reference or Reference()
    checks = [
        _check_database(conn, environment),
        *check_pages(environment, source_url, reference),
        _check_installed(environment, wp_cli),
    ]
    return _watch(environment, checks, began, lambda: check_pages(environment, source_url, reference))


def watch_pages(environment):
    """As `check_health`, of the pages alone: what else there is has not changed."""
    began = time.monotonic()
    return _watch(environment, check_pages(environment), began, lambda: check_pages(environment))


def _watch(environment, checks, began, ask_pages):
    """Ask the pages again until `stable_for` seconds after `began`, or until one is not healthy."""
    while _is_healthy(checks) and time.monotonic() - began < environment.stable_for:
        time.sleep(min(_STABLE_PAUSE, environment.stable_for))
        pages = ask_pages()
        checks = [_find_later(check, pages) for check in checks]
    return {"healthy": _is_healthy(checks), "checks": checks}


def describe_failures(checks):
    """The `checks` that failed, in one line; empty where all are good."""
    return "; ".join("{0}: {1}".format(check["name"], check["detail"]) for check in checks if not check["ok"])


def take_reference(environment, source_url):
    """Look at the pages before a cut-over; one that does not answer shows nothing."""
    pages = {url: fetch_page(url) for url in environment.health_urls}
    return Reference(
        traces={url: count_traces(page.body, source_url, environment.url) for url, page in pages.items()},
        broken={url: find_breakage(page.body) for url, page in pages.items()},
    )


def count_traces(body, source_url, own_url):
    """How often a page names the source's place, plain or escaped as in JSON and addresses."""
    return sum(len(pattern.findall(body)) for pattern in _make_traces(source_url, own_url))


def find_breakage(body):
    """Which signs of a broken PHP a page shows."""
    return tuple(sign.decode("ascii") for sign in _BROKEN if sign in body)


def fetch_page(url, timeout=CHECK_SECONDS):
    """Get an address with a query that no cache has seen, following redirects within its host."""
    deadline = time.monotonic() + timeout
    host = urlsplit(url).hostname
    address = _make_unique(url)
    for _ in range(_MOST_REDIRECTS + 1):
        try:
            status, location, body = _get(address, max(0.1, deadline - time.monotonic()))
        except (OSError, http.client.HTTPException, ValueError) as error:
            return Page(0, b"", "no answer: {0}".format(error or type(error).__name__))
        if status not in _REDIRECTS or not location:
            return Page(status, body)
        address = urljoin(address, location)
        if urlsplit(address).hostname != host:
            return Page(status, body, "redirects to another host: {0}".format(address))
    return Page(status, body, "more than {0} redirects".format(_MOST_REDIRECTS))


def check_pages(environment, source_url="", reference=None):
    """Ask each of the addresses once (twice where it failed); returns the `checks` that they make."""
    reference = reference or Reference()
    return [
        _retry_once(lambda url=url: _check_page(environment, url, source_url, reference))
        for url in environment.health_urls
    ]


def _check_page(environment, url, source_url, reference):
    page = fetch_page(url)
    problem = page.error or ("" if page.status == 200 else "HTTP {0}".format(page.status))
    broken = set(find_breakage(page.body)) - set(reference.broken.get(url, ()))
    traces = count_traces(page.body, source_url, environment.url)
    wanted = environment.body_contains.encode("utf-8") if url == environment.health_urls[0] else b""
    if not problem and broken:
        problem = "shows {0!r}".format(sorted(broken)[0])
    if not problem and wanted not in page.body:
        problem = "does not contain {0!r}".format(environment.body_contains)
    if not problem and traces > reference.traces.get(url, 0):
        problem = "names the source, {0}".format(source_url)
    return _make_check("http " + url, problem, "HTTP 200, {0} bytes".format(len(page.body)))


def _check_installed(environment, wp_cli):
    def look():
        folder = os.path.realpath(environment.current)
        answer = run_wp(environment, wp_cli, ["core", "is-installed"], folder=folder, timeout=CHECK_SECONDS)
        return _make_check("wordpress", "" if answer.ok else answer.said or "not installed", "installed")

    return _retry_once(look)


def _check_database(conn, environment):
    def look():
        if conn is None:
            return _make_check("database", "the server cannot be reached", "")
        table = "{0}.{1}".format(quote_name(environment.database), quote_name(environment.table("options")))
        try:
            run_query(conn, "SELECT 1 FROM {0} LIMIT 1".format(table))
        except NodeError as error:
            return _make_check("database", error.message, "")
        return _make_check("database", "", "reachable")

    return _retry_once(look)


def _retry_once(look):
    check = look()
    if check["ok"]:
        return check
    time.sleep(_RETRY_PAUSE)
    return look()


def _make_check(name, problem, detail):
    return {"name": name, "ok": not problem, "detail": problem or detail}


def _find_later(check, later):
    return next((other for other in later if other["name"] == check["name"]), check)


def _is_healthy(checks):
    return all(check["ok"] for check in checks)


def _make_unique(url):
    parts = urlsplit(url)
    query = [*parse_qsl(parts.query, keep_blank_values=True), ("pressluft-check", uuid.uuid4().hex)]
    return urlunsplit(parts._replace(path=parts.path or "/", query=urlencode(query), fragment=""))


def _get(url, timeout):
    """One request: status, the Location header, the body (8 MiB at most, within `timeout` as a whole)."""
    parts = urlsplit(url)
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(
            parts.hostname, parts.port, timeout=timeout, context=ssl.create_default_context()
        )
    elif parts.scheme == "http":
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
    else:
        raise ValueError("{0} is no web address".format(url))
    deadline = time.monotonic() + timeout
    try:
        target = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._") + (
            "?" + parts.query if parts.query else ""
        )
        connection.request("GET", target, headers=_HEADERS)
        response = connection.getresponse()
        return response.status, response.getheader("Location"), _read_body(response, deadline)
    finally:
        connection.close()


def _read_body(response, deadline):
    """A slow drip must not hold the verdict: the time is for the whole body."""
    pieces, size = [], 0
    while size < _MOST_BYTES:
        piece = response.read1(65536)
        if not piece:
            break
        pieces.append(piece)
        size += len(piece)
        if time.monotonic() > deadline:
            raise TimeoutError("the page took too long")
    return b"".join(pieces)


_HEADERS = {
    "User-Agent": "pressluft-health",
    "Accept": "text/html,*/*;q=0.8",
    "Accept-Encoding": "identity",
    "Cache-Control": "no-cache, no-store",
    "Pragma": "no-cache",
}


def _make_traces(source_url, own_url):
    """Patterns of the source's host (with path, where the host is the site's own), in each way of writing it."""
    if not source_url:
        return []
    source, own = urlsplit(source_url), urlsplit(own_url)
    place = source.netloc.rpartition("@")[2].lower()
    if place == own.netloc.rpartition("@")[2].lower():
        if len(source.path.rstrip("/")) <= len(own.path.rstrip("/")):
            return []  # every page of ours names that place
        place += source.path.rstrip("/")
    spellings = {place, place.replace("/", "\\/"), quote(place, safe="")}
    return [
        re.compile(
            rb"(?:(?<![a-z0-9.-])|(?<=%2f))" + re.escape(spelling.encode()) + rb"(?![a-z0-9-]|\.[a-z0-9])",
            re.IGNORECASE,
        )
        for spelling in sorted(spellings)
    ]
