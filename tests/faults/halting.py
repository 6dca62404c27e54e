"""A Python for nodes whose cut-over program stops at a chosen step, until it is killed or let go.

Nothing in the product knows of it: the interpreter is a virtual environment of its own, whose start-up file replaces
what the program does after each durable step, which is nothing.
"""

from __future__ import annotations

import json
import os
import time
import venv
from dataclasses import dataclass
from pathlib import Path

import pymysql

PATIENCE = 180.0
_START_UP = '''"""Stops the cut-over's program where the order says."""
import importlib.abc, itertools, json, os, sys, time

FOLDER = {folder!r}
TARGET = "ansible_collections.pressluft.wordpress.plugins.module_utils.cut_over"


def halt(step, count=itertools.count()):
    number, order = next(count), os.path.join(FOLDER, "order.json")
    try:
        with open(order) as stream:
            wanted = json.load(stream)["number"]
    except FileNotFoundError:
        return
    if number != wanted:
        return
    with open(os.path.join(FOLDER, "draft"), "w") as stream:
        json.dump({{"pid": os.getpid(), "step": step}}, stream)
    os.unlink(order)
    os.rename(os.path.join(FOLDER, "draft"), os.path.join(FOLDER, "reached.json"))
    deadline = time.monotonic() + {patience}
    while os.path.exists(os.path.join(FOLDER, "reached.json")) and time.monotonic() < deadline:
        time.sleep(0.005)


class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name != TARGET:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        loader, load = spec.loader, spec.loader.exec_module

        def exec_module(module):
            del loader.exec_module  # an archive has one loader for all of its modules
            load(module)
            module._ignore = halt

        loader.exec_module = exec_module
        return spec


if any("cut_over import main" in word for word in sys.orig_argv):
    import importlib.util

    sys.meta_path.insert(0, Finder())
'''


@dataclass(frozen=True)
class Halt:
    """Where a program stopped."""

    pid: int
    step: str


class HaltingPython:
    """The interpreter and the folder through which it is told where to stop."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "halts"
        self._folder.mkdir()
        venv.create(folder / "python", symlinks=True)
        self.path = folder / "python" / "bin" / "python"
        [packages] = (folder / "python" / "lib").glob("python*/site-packages")
        (packages / "servers.pth").write_text(f"{Path(pymysql.__file__).parents[1]}\n")
        start_up = _START_UP.format(folder=str(self._folder), patience=PATIENCE)
        (packages / "sitecustomize.py").write_text(start_up)

    def order(self, number: int) -> None:
        """Let the next program stop after its step `number`."""
        (self._folder / "order.json").write_text(json.dumps({"number": number}))

    def await_halt(self) -> Halt:
        """Wait until a program stopped there."""
        deadline = time.monotonic() + PATIENCE
        reached = self._folder / "reached.json"
        while not reached.exists():
            assert time.monotonic() < deadline, "no program came to that step"
            time.sleep(0.01)
        return Halt(**json.loads(reached.read_text()))

    def release(self) -> None:
        """Let a program that still lives go on."""
        (self._folder / "reached.json").unlink(missing_ok=True)
        (self._folder / "order.json").unlink(missing_ok=True)


def is_alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def kill(pid: int) -> None:
    """kill -9, and nothing if it is gone."""
    if is_alive(pid):
        os.kill(pid, 9)
