"""The door before the app: whatever the contract does not allow is answered here, and goes no further.

It works from the contract itself: which paths and methods there are, who may use them, which query parameters and
bodies they take. So what is documented is what is enforced.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qsl, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.caller import Caller, Reception
from api.errors import Unacceptable, answer, answer_bug, answer_known, retry_after
from api.metrics import Meter
from reconciler.errors import PressluftError

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}
JSON_TYPES = re.compile(r"application/(json|[a-z0-9.+-]+\+json)\s*(;.*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one process takes on; tests take less."""

    body_bytes: int = 64 * 1024
    hook_bytes: int = 25 * 1024 * 1024
    """Git servers send whole lists of commits."""
    head_bytes: int = 16 * 1024
    body_seconds: float = 10
    in_flight: int = 256
    streams: int = 100
    stream_seconds: float = 3600
    patience_seconds: float = 30
    """How long a cancellation or a reset is waited for (spec.md §8)."""


@dataclass(frozen=True, slots=True)
class Operation:
    """What the contract says about one method of one path."""

    path: str
    is_open: bool
    """Whether it works without a login."""
    parameters: frozenset[str] = frozenset()
    """The query parameters it takes."""
    takes_body: bool = False
    is_stream: bool = False
    is_hook: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """A path of the contract with its methods."""

    pattern: re.Pattern[str]
    methods: Mapping[str, Operation]


@dataclass
class Door:
    """The outermost ASGI app."""

    app: ASGIApp
    places: Sequence[Place]
    reception: Reception
    limits: Limits
    meter: Meter
    _busy: int = 0
    _streams: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, exit_ = time.perf_counter(), Exit(scope, send)
        operation: Operation | None = None
        try:
            refuse_long_head(scope, limit=self.limits.head_bytes)
            operation = self._find_operation(scope)
            await self._let_in(operation, scope, receive, exit_)
        except PressluftError as error:
            await answer_known(error)(scope, receive, exit_.send)
        except Exception as error:  # noqa: BLE001 - the boundary of a request: its caller is told nothing
            response = answer_bug(scope["path"], error)
            if not exit_.begun:  # else the server sees that the answer is not complete, and cuts it off
                await response(scope, receive, exit_.send)
        finally:
            path = operation.path if operation else "unknown"
            self.meter.count(scope["method"], path, exit_.status, seconds=time.perf_counter() - began)

    def _find_operation(self, scope: Scope) -> Operation:
        """Find what is asked for. Raises `Unacceptable` for unknown paths and methods."""
        path = find_path(scope)
        methods = next((place.methods for place in self.places if place.pattern.fullmatch(path)), None)
        if methods is None:
            raise Unacceptable(HTTPStatus.NOT_FOUND, "there is nothing here")
        if scope["method"] not in methods:
            allowed = {"Allow": ", ".join(sorted(methods))}
            raise Unacceptable(
                HTTPStatus.METHOD_NOT_ALLOWED, f"only {allowed['Allow']} is possible here", allowed
            )
        return methods[scope["method"]]

    async def _let_in(self, operation: Operation, scope: Scope, receive: Receive, exit_: Exit) -> None:
        is_full = self._streams >= self.limits.streams if operation.is_stream else self._is_full()
        if is_full:
            response = answer(503, "too many requests at a time", code="overloaded", headers=retry_after(1))
            await response(scope, receive, exit_.send)
            return
        self._count(operation, 1)
        try:
            headers = Headers(scope=scope)
            caller = None if operation.is_open else self.reception.identify(headers)
            refuse_misuse(operation, scope["method"], headers, caller)
            refuse_odd_query(operation, scope)
            body = await self._read_body(operation, headers, receive)
            scope.setdefault("state", {})["caller"] = caller
            await self.app(scope, replay(body, receive), exit_.send)
        finally:
            self._count(operation, -1)

    def _is_full(self) -> bool:
        return self._busy >= self.limits.in_flight

    def _count(self, operation: Operation, by: int) -> None:
        if operation.is_stream:
            self._streams += by
        else:
            self._busy += by

    async def _read_body(self, operation: Operation, headers: Headers, receive: Receive) -> bytes | None:
        """Read a body up to its limit; `None` where the operation takes none. Raises `Unacceptable`."""
        if not operation.takes_body:
            return None
        limit = self.limits.hook_bytes if operation.is_hook else self.limits.body_bytes
        try:
            async with asyncio.timeout(self.limits.body_seconds):
                body = await collect(receive, limit=limit)
        except TimeoutError as error:
            raise Unacceptable(
                HTTPStatus.REQUEST_TIMEOUT, "the body did not arrive", {"Connection": "close"}
            ) from error
        if body and not JSON_TYPES.fullmatch(headers.get("content-type", "")):
            raise Unacceptable(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send application/json")
        return body


@dataclass
class Exit:
    """The way out: adds what every answer carries, and answers 304 where nothing changed."""

    scope: Scope
    _send: Send
    status: int = 0
    begun: bool = False
    _start: Message | None = None
    _body: bytearray = field(default_factory=bytearray)

    async def send(self, message: Message) -> None:
        """Send a message of the app."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(raw=message["headers"])
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("Cache-Control", "private, no-cache")
            if self._is_taggable(headers):
                self._start = message
                return
        if self._start is not None:
            await self._collect(message)
            return
        self.begun = True
        await self._send(message)

    def _is_taggable(self, headers: MutableHeaders) -> bool:
        is_json = headers.get("content-type", "").startswith("application/json")
        return self.scope["method"] == "GET" and self.status == HTTPStatus.OK and is_json

    async def _collect(self, message: Message) -> None:
        self._body += message.get("body", b"")
        if message.get("more_body", False) or self._start is None:
            return
        start, self._start = self._start, None
        body = bytes(self._body)
        tag = f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'
        headers = MutableHeaders(raw=start["headers"])
        headers["ETag"] = tag
        if is_same(Headers(scope=self.scope).get("if-none-match", ""), tag):
            start["status"] = self.status = HTTPStatus.NOT_MODIFIED
            del headers["content-length"], headers["content-type"]
            body = b""
        self.begun = True
        await self._send(start)
        await self._send({"type": "http.response.body", "body": body})


def refuse_misuse(operation: Operation, method: str, headers: Headers, caller: Caller | None) -> None:
    """Refuse a write that a caller may not make, or that a browser makes for another site. Raises `Unacceptable`."""
    if method in SAFE or operation.is_hook:
        return
    if caller is None or caller.by_cookie:
        refuse_foreign(headers)
    if caller is not None and not caller.may_write:
        raise Unacceptable(HTTPStatus.FORBIDDEN, "this token may only read")


def refuse_foreign(headers: Headers) -> None:
    """Refuse what a browser sends because another site told it to. Raises `Unacceptable`.

    Browsers that say where a request comes from are believed; of others the origin must be the host asked.
    Programs say neither, and nobody makes them send a cookie.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        is_own = site in {"same-origin", "none"}
    else:
        is_own = origin is None or urlsplit(origin).netloc == headers.get("host")
    if not is_own:
        raise Unacceptable(HTTPStatus.FORBIDDEN, "requests from other sites are refused")


def is_same(written: str, tag: str) -> bool:
    """Whether an `If-None-Match` names this version."""
    tags = {item.strip().removeprefix("W/") for item in written.split(",")}
    return written.strip() == "*" or tag in tags


def find_path(scope: Scope) -> str:
    """Return the path without the prefix that a proxy adds."""
    path: str = scope["path"]
    root = scope.get("root_path", "")
    return path.removeprefix(root) if root and path.startswith(f"{root}/") else path


def refuse_long_head(scope: Scope, *, limit: int) -> None:
    """Refuse an address and headers that are longer than anybody needs. Raises `Unacceptable`."""
    lengths = [len(name) + len(value) for name, value in scope["headers"]]
    if sum(lengths) + len(scope["raw_path"]) + len(scope["query_string"]) > limit:
        raise Unacceptable(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"at most {limit} bytes of headers are taken"
        )


def refuse_odd_query(operation: Operation, scope: Scope) -> None:
    """Refuse query parameters that nobody knows, or that are given twice. Raises `Unacceptable`."""
    pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    names = [name for name, _ in pairs]
    for name in names:
        if name not in operation.parameters:
            raise Unacceptable(HTTPStatus.BAD_REQUEST, "there is a query parameter that is not known here")
        if names.count(name) > 1:
            raise Unacceptable(HTTPStatus.BAD_REQUEST, f"the query parameter {name} is given twice")


async def collect(receive: Receive, *, limit: int) -> bytes:
    """Read a whole body. Raises `Unacceptable` when it is too long."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Unacceptable(HTTPStatus.BAD_REQUEST, "the body broke off")
        body += message.get("body", b"")
        if len(body) > limit:
            raise Unacceptable(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"at most {limit} bytes are taken",
                {"Connection": "close"},
            )
        if not message.get("more_body", False):
            return bytes(body)


def replay(body: bytes | None, receive: Receive) -> Receive:
    """Hand on a body that was read already; a body that is not taken is not handed on at all."""
    pending = [body or b""]

    async def hand_on() -> Message:
        if pending:
            return {"type": "http.request", "body": pending.pop(), "more_body": False}
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return message

    return hand_on
