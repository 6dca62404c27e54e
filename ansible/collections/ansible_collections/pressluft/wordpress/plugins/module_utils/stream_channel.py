"""One conversation between two nodes, relayed by the controller: frames of JSON or bytes over two pipes or a socket.

Neither end can tell a slow partner from a dead network by waiting alone, so both send a sign of life every ten
seconds; a minute of silence ends the conversation. What was locked for it is then free for the next attempt.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import select
import struct
import threading
import time
import zlib

from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError

SILENCE_SECONDS = 60.0
"""After so long without a byte the other end counts as gone; ssh itself gives up after 45 s of silence."""
_SIGN_OF_LIFE_SECONDS = 10.0
_HEAD = struct.Struct(">cI")
_JSON, _BYTES, _ALIVE = b"J", b"B", b"A"
_LARGEST = 1 << 28
_WAITING_FRAMES = 32


def _do_nothing():
    pass


class Channel:
    """Sends and receives values (JSON) and bytes, in order. `on_lost()` runs in a thread once the other end is gone.

    `reader` and `writer` are descriptors, which may be the same socket; `hang_up` ends the conversation for the
    other end. The descriptors stay open until the process ends: a thread may still be waiting at them.
    """

    def __init__(self, reader, writer, *, on_lost=_do_nothing, hang_up=_do_nothing, silence=SILENCE_SECONDS):
        self._reader, self._writer = reader, writer
        self._on_lost, self._hang_up, self._silence = on_lost, hang_up, silence
        self._sending = threading.Lock()
        self._closed = threading.Event()
        self._received = queue.Queue(_WAITING_FRAMES)
        for run in (self._receive_all, self._keep_alive):
            threading.Thread(target=run, daemon=True).start()

    def send(self, value):
        """Send a value. Raises `NodeError` (to be retried) when the other end is gone."""
        self._put(_JSON, json.dumps(value, separators=(",", ":")).encode("ascii"))

    def send_bytes(self, content):
        """Send bytes, at most 256 MiB."""
        self._put(_BYTES, content)

    def receive(self):
        """The next value or bytes. Raises `NodeError` (to be retried) when the other end is gone."""
        frame = self._received.get()
        if frame is None:
            self._received.put(None)  # for whoever asks again
            raise make_lost()
        kind, content = frame
        return json.loads(content.decode("ascii")) if kind == _JSON else content

    def close(self):
        """Hang up."""
        self._closed.set()
        self._hang_up()

    def _put(self, kind, content):
        packed = zlib.compress(content, 1)
        try:
            with self._sending:
                self._check_open()
                _write_all(self._writer, _HEAD.pack(kind, len(packed)) + packed)
        except OSError as error:
            raise make_lost() from error

    def _check_open(self):
        if self._closed.is_set():
            raise make_lost()

    def _keep_alive(self):
        with contextlib.suppress(NodeError):
            while not self._closed.wait(_SIGN_OF_LIFE_SECONDS):
                self._put(_ALIVE, b"")

    def _receive_all(self):
        try:
            while True:
                kind, size = _HEAD.unpack(self._read(_HEAD.size))
                content = zlib.decompress(self._read(size))
                if kind != _ALIVE:
                    self._received.put((kind, content))
        except (OSError, zlib.error, EOFError):
            if not self._closed.is_set():
                self._on_lost()
            self._received.put(None)

    def _read(self, size):
        if size > _LARGEST:
            raise EOFError
        parts, waiting = [], select.poll()
        waiting.register(self._reader, select.POLLIN | select.POLLHUP)
        until = time.monotonic() + self._silence
        while size:
            if self._closed.is_set() or time.monotonic() > until:
                raise EOFError
            if not waiting.poll(1000):
                continue
            part = os.read(self._reader, min(size, 1 << 20))
            if not part:
                raise EOFError
            until = time.monotonic() + self._silence
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


def make_lost():
    """The failure of a conversation that broke off; nothing live was changed by it."""
    return NodeError(
        "ANSIBLE_HOST_UNREACHABLE",
        "the connection to the other node was lost",
        "See that the controller reaches both nodes over SSH; the job is tried again by itself.",
        retry=True,
    )


def _write_all(descriptor, content):
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view[: 1 << 16]) :]
