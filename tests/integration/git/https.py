"""A real git server over https on loopback: Python's TLS in front of git-http-backend, one token lets in."""

from __future__ import annotations

import base64
import os
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest


@dataclass
class GitHttps:
    """Where the server listens, what it asks for, and what it was asked."""

    root: Path
    authority: Path
    token: str
    port: int = 0
    seen: list[str] = field(default_factory=list)
    redirect_to: str | None = None

    def url(self, repo: Path) -> str:
        """Return the https URL of a repository below `root`."""
        return f"https://127.0.0.1:{self.port}/{repo.relative_to(self.root)}"


class _Handler(BaseHTTPRequestHandler):
    git: GitHttps

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, *_words: object) -> None:
        """Say nothing."""

    def _answer(self) -> None:
        given = self.headers.get("Authorization", "")
        self.git.seen.append(given)
        if self.git.redirect_to:
            self.send_response(302)
            self.send_header("Location", f"{self.git.redirect_to}{self.path}")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif not base64.b64decode(given.removeprefix("Basic ") or "").endswith(f":{self.git.token}".encode()):
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self._run_backend()

    def _run_backend(self) -> None:
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.git.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "REMOTE_USER": "daemon",
            "REMOTE_ADDR": "127.0.0.1",
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
        }
        done = subprocess.run(
            ["git", "http-backend"], env=environment, input=body, capture_output=True, check=True
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
        self.send_response(int(headers.pop("Status", "200").split()[0]))
        headers["Content-Length"] = str(len(content))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def https(tmp_path: Path, session_folder: Path) -> Iterator[GitHttps]:
    """A git server whose repositories are below `tmp_path`."""
    certificate = _make_certificate(session_folder)
    git = GitHttps(root=tmp_path, authority=certificate, token="t0ken-for-git")
    handler = type("Handler", (_Handler,), {"git": git})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    git.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield git
    server.shutdown()
    thread.join()
    server.server_close()


def _make_certificate(folder: Path) -> Path:
    certificate = folder / "git-https.pem"
    if not certificate.exists():
        words = [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
        ]
        words += ["-keyout", str(certificate.with_suffix(".key")), "-out", str(certificate), "-days", "2"]
        words += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
        subprocess.run(words, check=True, capture_output=True)
    return certificate
