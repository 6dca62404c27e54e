"""One request to PHP-FPM without a web server: as much of FastCGI 1.0 as a responder's client needs."""

from __future__ import annotations

import socket
import struct
import time
from dataclasses import dataclass
from typing import Mapping

_VERSION, _ID = 1, 1
_BEGIN, _END, _PARAMS, _STDIN, _STDOUT = 1, 3, 4, 5, 6
_RESPONDER = 1
_LONGEST = 65535
_HEADER = struct.Struct("!BBHHBx")
_MOST_BYTES = 8 << 20


@dataclass(frozen=True)
class Answer:
    """What PHP answered: status, headers by lower-case name, body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def ask(listen, params, *, timeout):
    """Send a GET to the pool that listens on `listen`, a socket's path or `host:port`; `params` are texts by name.

    Raises `OSError` where nothing answers within `timeout` seconds, `ValueError` for what is no answer.
    """
    deadline = time.monotonic() + timeout
    with _connect(listen, timeout) as connection:
        connection.sendall(_make_request(params))
        return _parse(_read_output(connection, deadline))


def _connect(listen, timeout):
    if listen.startswith("/"):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(timeout)
        try:
            connection.connect(listen)
        except OSError:
            connection.close()
            raise
        return connection
    host, _, port = listen.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), timeout)


def _make_request(params):
    packed = b"".join(_pack(name.encode("utf-8"), value.encode("utf-8")) for name, value in params.items())
    if len(packed) > _LONGEST:
        raise ValueError("a request of {0} bytes is too long".format(len(packed)))
    begin = struct.pack("!HB5x", _RESPONDER, 0)
    records = [(_BEGIN, begin), (_PARAMS, packed), (_PARAMS, b""), (_STDIN, b"")]
    return b"".join(_HEADER.pack(_VERSION, kind, _ID, len(body), 0) + body for kind, body in records)


def _pack(name, value):
    return b"".join([_pack_length(name), _pack_length(value), name, value])


def _pack_length(text):
    return struct.pack("!B", len(text)) if len(text) < 128 else struct.pack("!I", len(text) | 0x80000000)


def _read_output(connection, deadline):
    pieces, size = [], 0
    while size < _MOST_BYTES:
        _version, kind, _request, length, padding = _HEADER.unpack(_read(connection, _HEADER.size, deadline))
        content = _read(connection, length + padding, deadline)[:length]
        if kind == _END:
            break
        if kind == _STDOUT:
            pieces.append(content)
            size += length
    return b"".join(pieces)


def _read(connection, length, deadline):
    found = b""
    while len(found) < length:
        connection.settimeout(max(0.01, deadline - time.monotonic()))
        piece = connection.recv(length - len(found))
        if not piece:
            raise ConnectionError("PHP-FPM ended the answer half-way")
        found += piece
    return found


def _parse(output):
    head, found, body = output.partition(b"\r\n\r\n")
    if not found:
        raise ValueError("not an answer of PHP: {0!r}".format(output[:100]))
    headers = {}
    for line in head.decode("latin-1").split("\r\n"):
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    status = headers.get("status", "200").split()[0]
    return Answer(int(status), headers, body)
