"""`/metrics` and `/healthz` of a daemon without a facade, over plain HTTP on an address of its own."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST

from reconciler.errors import SettingsInvalid

LOOPBACK: Final = "127.0.0.1"
SECONDS: Final = 10
"""How long a connection may take to ask."""
Answer = tuple[HTTPStatus, str, bytes]


def parse_address(text: str) -> tuple[str, int]:
    """Read `HOST:PORT`, or a port alone, which is one of the loopback address. Raises `SettingsInvalid`."""
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise SettingsInvalid(f"metrics: expected HOST:PORT or a port, not {text!r}")
    return host.strip("[]") or LOOPBACK, int(port)


@contextmanager
def serve_metrics(address: str, *, show: Callable[[], bytes], find_stall: Callable[[], str]) -> Iterator[int]:
    """Serve in a thread until the block ends; yields the port. Raises `SettingsInvalid` if it cannot listen."""

    def answer(path: str) -> Answer:
        if path == "/metrics":
            return HTTPStatus.OK, CONTENT_TYPE_LATEST, show()
        if path in {"/healthz", "/readyz"}:
            return make_health(find_stall())
        error = {"code": "not_found", "message": "there are /metrics and /healthz here"}
        return HTTPStatus.NOT_FOUND, "application/json", json.dumps(error).encode()

    handler = type("Handler", (Handler,), {"answer": staticmethod(answer)})
    try:
        server = ThreadingHTTPServer(parse_address(address), handler)
    except OSError as error:
        raise SettingsInvalid(f"metrics: cannot listen on {address}: {error}") from error
    thread = threading.Thread(target=server.serve_forever, name="metrics")
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def make_health(stall: str) -> Answer:
    """Say that the loop goes on, or since when it does not."""
    if stall:
        body = {"code": "unavailable", "message": f"the daemon's loop is stuck: {stall}"}
        return HTTPStatus.SERVICE_UNAVAILABLE, "application/json", json.dumps(body).encode()
    return HTTPStatus.OK, "application/json", b'{"status": "ok"}'


class Handler(BaseHTTPRequestHandler):
    """Answers one request a connection."""

    timeout = SECONDS
    answer: Callable[[str], Answer]

    def do_GET(self) -> None:
        """Answer a question."""
        status, kind, body = self.answer(self.path.partition("?")[0])
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words: object) -> None:
        """Say nothing: scrapes are no news."""
