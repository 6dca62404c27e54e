# Copyright: The Pressluft authors
# Apache-2.0 (see LICENSE)

"""Joins two nodes by two SSH connections of the controller's own; neither node can log in to the other.

On the node where a module runs, a relay offers a socket that only root can open; on the other node the agent
(`module_utils/stream_agent.py`) runs from memory. The controller passes bytes on and keeps nothing.
"""

from __future__ import annotations

import contextlib
import io
import os
import select
import shlex
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

_PACKAGE = "ansible_collections/pressluft/wordpress/plugins/module_utils"
_READY_SECONDS = 60
_BLOCK = 1 << 16
_DEDICATED = (
    *("-o", "ControlMaster=no", "-o", "ControlPath=none", "-o", "ConnectTimeout=20"),
    *("-o", "RequestTTY=no", "-o", "ClearAllForwardings=yes"),
)

# Reads its code from stdin into memory, and goes on with the conversation there.
_AGENT = """
import os, struct, sys
def read(size):
    parts = []
    while size:
        part = os.read(0, size)
        if not part: os._exit(1)
        parts.append(part); size -= len(part)
    return b"".join(parts)
code = read(*struct.unpack(">I", read(4)))
held = os.memfd_create("pressluft")
with os.fdopen(os.dup(held), "wb") as stream: stream.write(code)
sys.path.insert(0, "/proc/self/fd/%d" % held)
from ansible_collections.pressluft.wordpress.plugins.module_utils.stream_agent import main
main()
"""

# Offers a socket to one program of the same user, and passes on; ends when either side does.
_RELAY = """
import os, select, shutil, socket, sys, tempfile, threading
folder = tempfile.mkdtemp(prefix="pressluft-")
line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
try:
    line.bind(folder + "/peer"); line.listen(1)
    os.write(1, (folder + "/peer\\n").encode())
    waiting = select.poll(); waiting.register(line, select.POLLIN); waiting.register(0, 0)
    if line.fileno() not in dict(waiting.poll()): os._exit(1)
    guest = line.accept()[0].detach()
finally:
    shutil.rmtree(folder, ignore_errors=True)
def pass_on(reader, writer):
    try:
        part = os.read(reader, 65536)
        while part:
            view = memoryview(part)
            while view: view = view[os.write(writer, view):]
            part = os.read(reader, 65536)
    finally:
        os._exit(0)
threading.Thread(target=pass_on, args=(0, guest), daemon=True).start()
pass_on(guest, 1)
"""


class BridgeFailed(Exception):
    """A node could not be reached, or has not what it takes; the text says which and why."""


@dataclass(frozen=True)
class Address:
    """Where a node is; `host` empty is this machine itself."""

    name: str
    host: str
    port: int
    user: str
    python: str

    def make_command(self, script, ssh_options):
        """The command that runs a Python script there."""
        words = [self.python, "-c", script]
        if not self.host:
            return words
        login = ["-p", str(self.port), "-l", self.user, "--", self.host]
        return ["ssh", *_DEDICATED, *ssh_options, *login, "exec {0}".format(shlex.join(words))]


class Bridge:
    """Two processes and what passes between them. `socket` is where the module finds the other node."""

    def __init__(self, here, there, *, ssh_options):
        self._ends = []
        self.sent = self.received = 0
        try:
            agent = self._start(there, _AGENT, ssh_options)
            relay = self._start(here, _RELAY, ssh_options)
            with contextlib.suppress(OSError):  # told by what it does not answer
                _write(agent.process.stdin, _pack_code())
            self.socket = agent_line = relay.read_line().decode()
            greeting = agent.read_some()
            if not agent_line.startswith("/"):
                raise BridgeFailed("node {0} answered {1!r}".format(here.name, agent_line[:100]))
        except BaseException:
            self.close()
            raise
        self._pass_on(relay, agent, "sent")
        _write(relay.process.stdin, greeting)
        self._pass_on(agent, relay, "received")

    def _start(self, address, script, ssh_options):
        end = _End(address, script, ssh_options)
        self._ends.append(end)
        return end

    def _pass_on(self, source, target, counter):
        def run():
            with contextlib.suppress(OSError, ValueError):
                part = os.read(source.process.stdout.fileno(), _BLOCK)
                while part:
                    setattr(self, counter, getattr(self, counter) + len(part))
                    _write(target.process.stdin, part)
                    part = os.read(source.process.stdout.fileno(), _BLOCK)
            with contextlib.suppress(OSError):
                target.process.stdin.close()

        threading.Thread(target=run, daemon=True).start()

    def find_processes(self):
        """The ids of both processes on the controller, the agent's first."""
        return [end.process.pid for end in self._ends]

    def close(self):
        """End both."""
        for end in self._ends:
            end.close()


class _End:
    """One of the two processes."""

    def __init__(self, address, script, ssh_options):
        self.address = address
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._until = time.monotonic() + _READY_SECONDS
        self.process = subprocess.Popen(
            address.make_command(script, ssh_options),
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )

    def read_line(self):
        """The first line."""
        line = b""
        while not line.endswith(b"\n"):
            line += self._read(1)
        return line[:-1]

    def read_some(self):
        """The first bytes, whatever they are."""
        return self._read(_BLOCK)

    def _read(self, size):
        left = max(0.0, self._until - time.monotonic())
        ready, _, _ = select.select([self.process.stdout], [], [], left)
        part = os.read(self.process.stdout.fileno(), size) if ready else b""
        if part:
            return part
        self._errors.seek(0)
        said = self._errors.read()[-500:].decode("utf-8", "replace").strip()
        raise BridgeFailed("node {0} did not answer: {1}".format(self.address.name, said or "in time"))

    def close(self):
        """End the process; what it ran on the node ends with its connection."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self._errors):
            with contextlib.suppress(OSError):
                stream.close()


def make_ssh_options(environment):
    """The options that Ansible gives to ssh, from the same variable."""
    return shlex.split(environment.get("ANSIBLE_SSH_ARGS", ""))


def make_here(task_vars, *, is_local):
    """The node that the task runs on, from its own connection variables."""
    python = str(task_vars.get("ansible_python_interpreter") or sys.executable)
    name = str(task_vars.get("inventory_hostname"))
    if is_local:
        return Address(name, "", 0, "", python)
    host, port = str(task_vars.get("ansible_host") or name), int(task_vars.get("ansible_port") or 22)
    return Address(name, host, port, str(task_vars.get("ansible_user") or ""), python)


def make_there(peer):
    """The other node, from the module's option `peer`."""
    is_local = peer["host"] == "localhost" and not peer.get("port")
    host = "" if is_local else str(peer["host"])
    port, user = int(peer.get("port") or 22), str(peer["user"])
    return Address(str(peer["name"]), host, port, user, str(peer["python_interpreter"]))


def _pack_code():
    """The collection's code as the agent reads it: its length and a zip."""
    content = io.BytesIO()
    folder = Path(__file__).resolve().parents[1] / "module_utils"
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        steps = _PACKAGE.split("/")
        for depth in range(1, len(steps) + 1):
            archive.writestr("/".join([*steps[:depth], "__init__.py"]), "")
        for path in sorted(folder.glob("*.py")):
            archive.writestr("{0}/{1}".format(_PACKAGE, path.name), path.read_bytes())
    code = content.getvalue()
    return struct.pack(">I", len(code)) + code


def _write(stream, content):
    view = memoryview(content)
    while view:
        view = view[os.write(stream.fileno(), view) :]
