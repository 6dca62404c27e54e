"""Asking the staged release for its pages before it goes live (design §5).

Views of production's tables beside the shadow's own make the shadow a whole site. PHP-FPM serves a page of it to us
alone, on a database account that can read and nothing else: neither production nor what was staged can be changed
by code that runs too early. Caches that are shared with the live site are switched off for these requests.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

from ansible_collections.pressluft.wordpress.plugins.module_utils import fastcgi
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import (
    DatabaseError,
    find_tables,
    quote_name,
    run_query,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.exchange import fetch_tables
from ansible_collections.pressluft.wordpress.plugins.module_utils.health import (
    CHECK_SECONDS,
    count_traces,
    find_breakage,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.held_folder import HeldFolder
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.release import make_preflight_name

_HOSTS = ("localhost", "127.0.0.1")
_MOST_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_NOT_ALLOWED = ("1227:", "1044:", "1142:", "1410:", "1290:")  # no right to make accounts or to grant
_OURS = (os.geteuid(), os.getegid())
_TRIES = 2  # spec.md §6: one retry

# Filters that are there before WordPress loads (WP_Hook::build_preinitialized_hooks, WordPress 4.7).
_SCRIPT = rb"""<?php
// One request of a staged release, for Pressluft alone: this file lies outside of every document root.
$pressluft_release = $_SERVER['PRESSLUFT_RELEASE'];
foreach ( array(
	'DB_NAME' => $_SERVER['PRESSLUFT_DATABASE'], 'DB_USER' => $_SERVER['PRESSLUFT_USER'],
	'DB_PASSWORD' => $_SERVER['PRESSLUFT_PASSWORD'], 'WP_CACHE' => false, 'DISABLE_WP_CRON' => true,
	'WP_HTTP_BLOCK_EXTERNAL' => true, 'AUTOMATIC_UPDATER_DISABLED' => true,
) as $pressluft_name => $pressluft_value ) {
	define( $pressluft_name, $pressluft_value );
}
foreach ( array_keys( $_SERVER ) as $pressluft_name ) {
	if ( strpos( $pressluft_name, 'PRESSLUFT_' ) === 0 ) unset( $_SERVER[ $pressluft_name ] );
}
set_error_handler( function ( $level, $message ) {
	return (bool) preg_match( '/^Constant \w+ already defined/', $message );
} );
$wp_filter = array();
foreach ( array(
	'enable_loading_object_cache_dropin', 'enable_loading_advanced_cache_dropin', 'pre_wp_mail',
) as $pressluft_name ) {
	$wp_filter[ $pressluft_name ][0][] = array(
		'accepted_args' => 0, 'function' => function () { return false; },
	);
}
$pressluft_script = parse_url( $_SERVER['REQUEST_URI'], PHP_URL_PATH );
if ( ! preg_match( '/\.php$/', $pressluft_script ) || strpos( $pressluft_script, '..' ) !== false
	|| ! is_file( $pressluft_release . $pressluft_script ) ) {
	$pressluft_script = '/index.php';
}
$_SERVER['SCRIPT_NAME'] = $_SERVER['PHP_SELF'] = $pressluft_script;
$_SERVER['SCRIPT_FILENAME'] = $pressluft_release . $pressluft_script;
chdir( dirname( $_SERVER['SCRIPT_FILENAME'] ) );
require $_SERVER['SCRIPT_FILENAME'];
"""


@dataclass(frozen=True)
class _Side:
    """A release and the database that it is asked with."""

    release: str
    database: str


@dataclass(frozen=True)
class _Desk:
    """Where PHP-FPM listens, the account for these requests, and the environment they are about."""

    listen: str
    user: str
    password: str
    environment: Any
    source_url: str
    script: str


def run_preflight(conn, environment, *, listen, release, shadow, source_url):
    """Ask the staged `release`, with the database `shadow`, for each of the environment's addresses.

    Returns `{asked, skipped}`: the addresses that answered well, and why others were not asked, as texts. Raises
    `NodeError` `HEALTH_CHECK_FAILED` for one that the served release answers and the staged one does not. All that it
    made is gone afterwards.
    """
    if not listen:
        return {"asked": [], "skipped": ["node.ini names no fastcgi listen"]}
    try:
        password = _open_access(conn, environment, shadow)
    except DatabaseError as error:
        close_access(conn, environment)
        if not error.message.startswith(_NOT_ALLOWED):
            raise
        return {"asked": [], "skipped": ["the login may not create a reading account: " + error.message]}
    try:
        with _Script(environment.root, release) as script:
            desk = _Desk(listen, make_account(environment), password, environment, source_url, script)
            return _ask_all(desk, staged=_Side(release, shadow), served=_read_served(environment))
    finally:
        _drop_views(conn, shadow)
        close_access(conn, environment)


def make_account(environment):
    """The name of the environment's reading account: one that a killed run left is replaced by the next."""
    return "pressluft_" + hashlib.sha256(environment.id.encode("utf-8")).hexdigest()[:12]


def close_access(conn, environment):
    """Drop the reading account, if there is one."""
    accounts = [word for host in _HOSTS for word in (make_account(environment), host)]
    marks = ", ".join(["%s@%s"] * len(_HOSTS))
    try:
        run_query(conn, "DROP USER IF EXISTS {0}".format(marks), accounts)
    except DatabaseError as error:
        if not error.message.startswith(_NOT_ALLOWED):  # who may not drop it never made it
            raise


class _Script:
    """The file that PHP-FPM is pointed at: beside the releases, where PHP may read and nobody is served."""

    def __init__(self, root, release):
        self._releases = HeldFolder(os.path.join(os.path.realpath(root), "releases"))
        self._name = make_preflight_name(release)
        self._path = os.path.join(os.path.realpath(root), "releases", self._name)

    def __enter__(self):
        self._releases.remove(self._name)
        self._releases.put_file(self._name, lambda writer: os.write(writer, _SCRIPT), owner=_OURS, mode=0o644)
        return self._path

    def __exit__(self, *_):
        self._releases.remove(self._name)
        self._releases.close()


def _open_access(conn, environment, shadow):
    """Complete the shadow by views, and make the account that may read both databases. Returns its password."""
    own, user, password = fetch_tables(conn, shadow), make_account(environment), secrets.token_urlsafe(24)
    close_access(conn, environment)
    for info in find_tables(conn, environment.database, environment.table_prefix).values():
        if info.name not in own:
            view, table = (
                "{0}.{1}".format(quote_name(database), quote_name(info.name))
                for database in (shadow, environment.database)
            )
            run_query(conn, "CREATE VIEW {0} AS SELECT * FROM {1}".format(view, table))
    for host in _HOSTS:
        run_query(conn, "CREATE USER %s@%s IDENTIFIED BY %s", (user, host, password))
        for database in (shadow, environment.database):
            pattern = quote_name(database.replace("\\", "\\\\").replace("_", "\\_").replace("%", "\\%"))
            run_query(conn, "GRANT SELECT ON {0}.* TO %s@%s".format(pattern), (user, host))
    return password


def _drop_views(conn, shadow):
    rows = run_query(
        conn, "SELECT TABLE_NAME FROM information_schema.VIEWS WHERE TABLE_SCHEMA = %s", (shadow,)
    )
    for (name,) in rows:
        run_query(conn, "DROP VIEW {0}.{1}".format(quote_name(shadow), quote_name(name)))


def _read_served(environment):
    return _Side(os.path.basename(os.path.realpath(environment.current)), environment.database)


def _ask_all(desk, *, staged, served):
    asked, skipped, failed = [], [], []
    for url in desk.environment.health_urls:
        problem = _find_problem(desk, staged, url)
        known = _find_problem(desk, served, url) if problem else ""
        if known:
            skipped.append("{0}: the served release cannot be asked this way either: {1}".format(url, known))
        elif problem:
            failed.append("{0}: {1}".format(url, problem))
        else:
            asked.append(url)
    if failed:
        raise NodeError(
            "HEALTH_CHECK_FAILED",
            "the new release is not healthy, asked before anything went live: {0}".format("; ".join(failed)),
            "Nothing live was changed. Correct it on the source and promote again.",
        )
    return {"asked": asked, "skipped": skipped}


def _find_problem(desk, side, url):
    """What is wrong with a page, or nothing; asked again once."""
    problem = ""
    for _ in range(_TRIES):
        problem = _judge(desk, side, url)
        if not problem:
            break
    return problem


def _judge(desk, side, url):
    try:
        answer = _fetch(desk, side, url)
    except (OSError, ValueError) as error:
        return "no answer: {0}".format(error or type(error).__name__)
    if answer.status != 200:
        return "HTTP {0}".format(answer.status)
    broken = find_breakage(answer.body)
    if broken:
        return "shows {0!r}".format(broken[0])
    environment = desk.environment
    wanted = environment.body_contains.encode("utf-8") if url == environment.health_urls[0] else b""
    if wanted not in answer.body:
        return "does not contain {0!r}".format(environment.body_contains)
    if desk.source_url and count_traces(answer.body, desk.source_url, environment.url):
        return "names the source, {0}".format(desk.source_url)
    return ""


def _fetch(desk, side, url):
    """A page with the redirects that stay on its host."""
    answer = None
    for _ in range(_MOST_REDIRECTS + 1):
        answer = fastcgi.ask(desk.listen, _make_params(desk, side, url), timeout=CHECK_SECONDS)
        location = answer.headers.get("location")
        if answer.status not in _REDIRECTS or not location:
            return answer
        target = urljoin(url, location)
        if urlsplit(target).hostname != urlsplit(url).hostname:
            raise ValueError("redirects to another host: {0}".format(target))
        url = target
    return answer


def _make_params(desk, side, url):
    """What a web server would say, with our script instead of the page's own."""
    parts = urlsplit(url)
    release = os.path.join(os.path.realpath(desk.environment.root), "releases", side.release)
    port = str(parts.port or (443 if parts.scheme == "https" else 80))
    target = (parts.path or "/") + ("?" + parts.query if parts.query else "")
    return {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "REQUEST_METHOD": "GET",
        "REQUEST_SCHEME": parts.scheme,
        "REQUEST_URI": target,
        "QUERY_STRING": parts.query,
        "DOCUMENT_URI": parts.path or "/",
        "DOCUMENT_ROOT": release,
        "SCRIPT_FILENAME": desk.script,
        "SCRIPT_NAME": "/index.php",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": parts.hostname or "",
        "SERVER_ADDR": "127.0.0.1",
        "SERVER_PORT": port,
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": parts.netloc.rpartition("@")[2],
        "HTTP_USER_AGENT": "pressluft-preflight",
        "PRESSLUFT_RELEASE": release,
        "PRESSLUFT_DATABASE": side.database,
        "PRESSLUFT_USER": desk.user,
        "PRESSLUFT_PASSWORD": desk.password,
        **({"HTTPS": "on"} if parts.scheme == "https" else {}),
    }
