"""Three hosts on one machine: a controller and two nodes, each in a network namespace of its own.

The controller has a cable (veth) to each node; the nodes have none to each other, and nothing forwards. A node is
also a mount namespace, in which the same paths of state and configuration are other folders than on the other node.
Needs root. What a killed run left is removed by the next.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psutil

T = TypeVar("T")
_PREFIX = "plf"
_NEW_NETWORK, _NEW_MOUNTS = 0x40000000, 0x00020000
_BIND, _RECURSIVE, _PRIVATE = 4096, 16384, 1 << 18
_LIBC = ctypes.CDLL(None, use_errno=True)


class Host:
    """A network namespace, and a thread in it that does whatever is to be done there."""

    def __init__(self, name: str) -> None:
        self.name = f"{_PREFIX}{os.getpid()}{name}"
        run_ip("netns", "add", self.name)
        run_ip("-n", self.name, "link", "set", "lo", "up")
        # One thread for all: servers end with the thread that started them, and it must stay in the namespace.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=self.name)
        self.do(self._enter)

    def do(self, work: Callable[[], T]) -> T:
        """Do something on this host; whatever it starts runs there as well."""
        return self._thread.submit(work).result()

    def bind(self, folder: Path, *, at: Path) -> None:
        """Let this host alone find `folder` at another path."""
        at.mkdir(mode=0o700, exist_ok=True)
        self.do(lambda: _mount(folder, at, _BIND))

    def close(self) -> None:
        """Remove the host. What it started must be stopped before."""
        self._thread.shutdown()
        run_ip("netns", "del", self.name)

    def _enter(self) -> None:
        with Path(f"/run/netns/{self.name}").open() as namespace:
            _check(_LIBC.setns(namespace.fileno(), _NEW_NETWORK))
        _check(_LIBC.unshare(_NEW_MOUNTS))
        _mount(Path("none"), Path("/"), _RECURSIVE | _PRIVATE)


@dataclass(frozen=True)
class Cable:
    """What joins the controller and a node; `address` is the node's."""

    controller: Host
    node: Host
    number: int

    @property
    def address(self) -> str:
        """Where the node is for the controller."""
        return f"10.77.{self.number}.2"

    @property
    def _end(self) -> str:
        return f"node{self.number}"

    def plug_in(self) -> None:
        """Make the cable."""
        end = ("-n", self.controller.name, "link")
        run_ip(*end, "add", self._end, "type", "veth", "peer", "name", "up0", "netns", self.node.name)
        for host, name, last in ((self.controller, self._end, 1), (self.node, "up0", 2)):
            run_ip("-n", host.name, "addr", "add", f"10.77.{self.number}.{last}/24", "dev", name)
            run_ip("-n", host.name, "link", "set", name, "up")

    def cut(self) -> None:
        """Nothing passes any more, and nobody is told."""
        run_ip("-n", self.controller.name, "link", "set", self._end, "down")

    def mend(self) -> None:
        """Everything passes again."""
        run_ip("-n", self.controller.name, "link", "set", self._end, "up")

    def remove(self) -> None:
        """Delete both ends."""
        run_ip("-n", self.controller.name, "link", "del", self._end)

    def can_be_reached(self) -> bool:
        """Whether whoever asks, on its host, gets an answer from the node's address."""
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as line:
            line.settimeout(2)
            return line.connect_ex((self.address, 22)) not in {errno.ENETUNREACH, errno.EHOSTUNREACH}

    def count_bytes(self) -> int:
        """Bytes that passed in both directions since the cable was made."""
        folder = f"/sys/class/net/{self._end}/statistics"
        command = [
            "ip",
            "netns",
            "exec",
            self.controller.name,
            "cat",
            f"{folder}/rx_bytes",
            f"{folder}/tx_bytes",
        ]
        return sum(map(int, subprocess.run(command, check=True, capture_output=True).stdout.split()))


@contextmanager
def make_hosts(*names: str) -> Iterator[list[Host]]:
    """Make hosts, and remove them whatever happens."""
    _remove_abandoned()
    with ExitStack() as stack:
        yield [stack.enter_context(closing(Host(name))) for name in names]


@contextmanager
def make_cables(controller: Host, *nodes: Host) -> Iterator[list[Cable]]:
    """Join the controller with each node."""
    cables = [Cable(controller, node, number) for number, node in enumerate(nodes, start=1)]
    for cable in cables:
        cable.plug_in()
    try:
        yield cables
    finally:
        for cable in cables:
            cable.remove()


def run_ip(*words: str) -> None:
    """Run ip(8). Raises CalledProcessError."""
    subprocess.run(["ip", *words], check=True, capture_output=True)


def _remove_abandoned() -> None:
    """Remove the namespaces of processes that are gone; cables go with them."""
    folder = Path("/run/netns")
    for path in folder.glob(f"{_PREFIX}*") if folder.is_dir() else ():
        digits = "".join(letter for letter in path.name.removeprefix(_PREFIX) if letter.isdigit())
        if digits and not psutil.pid_exists(int(digits)):
            subprocess.run(["ip", "netns", "del", path.name], check=False, capture_output=True)


def _mount(source: Path, target: Path, flags: int) -> None:
    _check(_LIBC.mount(os.fsencode(source), os.fsencode(target), b"none", flags, None))


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
