"""The contract, OpenAPI 3.1, made from the routes and models; the door enforces what it says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

import yaml
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.door import Operation, Place
from schemas.api import Problem
from schemas.json_schema import drop_titles

BASE: Final = "/api"
VERSION: Final = "1.0.0"
"""The contract's own version: it goes up when callers have to know."""
OPEN: Final = frozenset({"/api/login", "/healthz", "/readyz", "/hooks/git"})
"""All that works without a login: the hook is signed instead."""
HOOK: Final = "/hooks/git"
METHODS: Final = ("get", "post")
PROMETHEUS: Final = Operation("/metrics", is_open=False)

SUMMARY: Final = """\
The same power as a pull request, and not a bit more: a request here becomes an intent's file in the fleet repo, and
what is read here is what the repo says. `docs/reference/api-contract.md` explains the behaviour.
"""
SECURITY: Final[Mapping[str, Any]] = {
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "session_token",
        "description": "The admin's session, from `POST /login`.",
    },
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "A program's token, from `pressluft token create`; it may be for some sites, or only read.",
    },
}
FAILURES: Final[Mapping[str, tuple[str, str]]] = {
    "400": ("BadRequest", "Malformed: what was sent is not what the contract says."),
    "401": ("Unauthorized", "Nobody is logged in, or the token is not known."),
    "403": ("Forbidden", "A token that may only read, or a browser that was sent by another site."),
    "404": ("NotFound", "There is no such thing, or the token is not for its site."),
    "408": ("RequestTimeout", "The body did not arrive in time."),
    "409": ("Conflict", "It does not fit how things stand: `code` says why, `details` lists every reason."),
    "413": ("PayloadTooLarge", "The body is too long."),
    "415": ("UnsupportedMediaType", "The body is not JSON."),
    "429": ("TooManyRequests", "Too many failed logins."),
    "431": ("HeadersTooLarge", "The headers are too long."),
    "503": ("Unavailable", "Too much at a time, or the fleet repo cannot be reached."),
}
PAGED_HEADER: Final = {
    "description": 'The next page, as `<address>; rel="next"`, if there is one.',
    "schema": {"type": "string"},
}
TAG_HEADER: Final = {
    "description": "Names this version; send it as `If-None-Match` to be answered 304 while nothing changed.",
    "schema": {"type": "string"},
}
RETRY_HEADER: Final = {"description": "Seconds to wait.", "schema": {"type": "integer"}}
COOKIE_HEADER: Final = {
    "description": "`session_token`: HttpOnly, SameSite=Strict, 24 hours; Secure but on this very machine.",
    "schema": {"type": "string"},
}
FIRST: Final = "$response.body#/0/id"
LINKS: Final[Mapping[str, Mapping[str, Any]]] = {
    "list_sites": {"site": {"operationId": "list_environments", "parameters": {"site_id": FIRST}}},
    "list_environments": {
        "environment": {"operationId": "read_environment", "parameters": {"environment_id": FIRST}},
        "promote": {
            "operationId": "promote",
            "parameters": {"environment_id": "$response.body#/1/id"},
            "requestBody": {"target_environment_id": FIRST},
        },
    },
    "list_drift_checks": {
        "drift_check": {"operationId": "read_drift_check", "parameters": {"check_id": FIRST}}
    },
    "list_backups": {
        "restore": {
            "operationId": "restore",
            "parameters": {"environment_id": "$request.path.environment_id"},
            "requestBody": {"backup_id": FIRST},
        }
    },
    "list_jobs": {"job": {"operationId": "read_job", "parameters": {"job_id": FIRST}}},
}
"""Where what a list answers is used next; `promote` in the order of the usual names, production before staging."""
JOB_LINKS: Final = {
    "job": {"operationId": "read_job", "parameters": {"job_id": "$response.body#/job_id"}},
    "events": {"operationId": "stream_events", "parameters": {"job_id": "$response.body#/job_id"}},
    "cancel": {"operationId": "cancel_job", "parameters": {"job_id": "$response.body#/job_id"}},
}

Schema = dict[str, Any]


def make_contract(app: FastAPI) -> Schema:
    """Make the whole document of an app's routes."""
    document = get_openapi(
        title="Pressluft",
        version=VERSION,
        openapi_version="3.1.0",
        description=SUMMARY,
        routes=app.routes,
        servers=[{"url": BASE}],
    )
    for path, methods in document["paths"].items():
        for method in METHODS:
            if method in methods:
                complete(methods[method], path=path, method=method)
    document["paths"] = separate(document["paths"])
    components = document["components"]
    components["securitySchemes"] = dict(SECURITY)
    components["responses"] = {name: make_failure(status) for status, (name, _) in FAILURES.items()}
    for name in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(name, None)
    components["schemas"] = {**components["schemas"], "Problem": make_problem_schema()}
    components["schemas"] |= components["schemas"]["Problem"].pop("$defs")
    components["schemas"] = dict(sorted(components["schemas"].items()))
    return {**cast("Schema", drop_titles(document)), "info": document["info"]}


def make_problem_schema() -> Schema:
    """Make the schema of every failure; no route answers with it by itself."""
    return Problem.model_json_schema(ref_template="#/components/schemas/{model}")


def separate(paths: Schema) -> Schema:
    """Write paths below the base without it; those outside name their own server.

    OpenAPI knows a path once, so that `/metrics` for Prometheus is only told of by its namesake below the base.
    """
    below = {
        path.removeprefix(BASE): methods for path, methods in paths.items() if path.startswith(f"{BASE}/")
    }
    outside = {
        path: {"servers": [{"url": "/"}], **methods}
        for path, methods in paths.items()
        if not path.startswith(f"{BASE}/") and path not in below
    }
    below[PROMETHEUS.path]["get"]["description"] += (
        " Outside of the base, `GET /metrics` answers in Prometheus' text format, to tokens for all sites."
    )
    return {**below, **outside}


def complete(operation: Schema, *, path: str, method: str) -> None:
    """Say of one operation what every one has: who may use it, how it fails, its headers."""
    responses: Schema = operation["responses"]
    responses.pop("422", None)
    for status in find_failures(operation, path=path, method=method):
        responses[status] = {"$ref": f"#/components/responses/{FAILURES[status][0]}"}
    operation["responses"] = dict(sorted(responses.items()))
    if path not in OPEN:
        operation["security"] = [{name: []} for name in SECURITY]
    describe_success(operation, path=path, method=method)


def find_failures(operation: Schema, *, path: str, method: str) -> Iterator[str]:
    """Find the ways in which an operation may be refused."""
    parameters = operation.get("parameters", [])
    yield "503"
    if path in {"/healthz", "/readyz"}:
        return
    yield from ("400", "401", "431")
    if path == HOOK:
        yield from ("408", "413", "415")
        return
    if method == "post" or path == "/metrics":
        yield "403"
    if "requestBody" in operation:
        yield from ("408", "413", "415")
    if any(parameter["in"] == "path" for parameter in parameters):
        yield "404"
        if method == "post":
            yield "409"
    if path == f"{BASE}/login":
        yield "429"


def make_failure(status: str) -> Schema:
    """Describe one way of being refused."""
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    headers = {"headers": {"Retry-After": dict(RETRY_HEADER)}} if status in {"429", "503"} else {}
    return {"description": FAILURES[status][1], **headers, "content": content}


def describe_success(operation: Schema, *, path: str, method: str) -> None:
    """Describe headers and links of what succeeds."""
    responses: Schema = operation["responses"]
    content = responses.get("200", {}).get("content", {})
    if method == "get" and "application/json" in content and path not in OPEN:
        responses["200"]["headers"] = {"ETag": dict(TAG_HEADER)}
        responses["304"] = {"description": "Nothing changed.", "headers": {"ETag": dict(TAG_HEADER)}}
        if any(parameter["name"] == "after" for parameter in operation.get("parameters", [])):
            responses["200"]["headers"]["Link"] = dict(PAGED_HEADER)
        operation["responses"] = dict(sorted(responses.items()))
    if path == f"{BASE}/login":
        responses["204"]["headers"] = {"Set-Cookie": dict(COOKIE_HEADER)}
    if "202" in responses and path != HOOK:
        responses["202"]["description"] = "The intent's commit is durable in the fleet repo."
        responses["202"]["links"] = JOB_LINKS
    if operation["operationId"] in LINKS:
        responses["200"]["links"] = LINKS[operation["operationId"]]


def format_contract(document: Schema) -> str:
    """Write the document as it stands in `contracts/openapi.yaml`."""
    text: str = yaml.dump(document, Dumper=PlainDumper, sort_keys=False, allow_unicode=True, width=110)
    return f"# Made from the routes and models by `python -m api`; do not edit.\n{text}"


class PlainDumper(yaml.CSafeDumper):
    """Writes equal parts again instead of an alias."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - PyYAML's signature
        """Repeat."""
        return True


def make_places(document: Schema) -> Sequence[Place]:
    """Make what the door goes by."""
    places = [
        Place(
            make_pattern(address),
            {
                method.upper(): make_operation(address, methods[method])
                for method in METHODS
                if method in methods
            },
        )
        for path, methods in document["paths"].items()
        for address in [path if "servers" in methods else f"{BASE}{path}"]
    ]
    return [*places, Place(make_pattern(PROMETHEUS.path), {"GET": PROMETHEUS})]


def make_pattern(path: str) -> re.Pattern[str]:
    """Match a path with anything in its variable parts: what is wrong with them is said by the route."""
    return re.compile(
        "/".join("[^/]+" if part.startswith("{") else re.escape(part) for part in path.split("/"))
    )


def make_operation(path: str, operation: Schema) -> Operation:
    """Take from the document what the door needs."""
    parameters = operation.get("parameters", [])
    success = operation["responses"].get("200", {}).get("content", {})
    return Operation(
        path=path,
        is_open=path in OPEN,
        parameters=frozenset(item["name"] for item in parameters if item["in"] == "query"),
        takes_body="requestBody" in operation or path == HOOK,
        is_stream="text/event-stream" in success,
        is_hook=path == HOOK,
    )
