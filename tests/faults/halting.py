"""A Python for nodes in which a program stops at a chosen step, until it is killed or let go.

Nothing in the product knows of it: the interpreter is a virtual environment of its own, whose start-up file replaces
what the program does after each durable step, which is nothing.
"""

from __future__ import annotations

import json
import os
import time
import venv
from dataclasses import asdict, dataclass
from pathlib import Path

import pymysql

PATIENCE = 180.0
_START_UP = '''"""Stops a program where the order says."""
import importlib.abc, itertools, json, os, sys, time

FOLDER = {folder!r}
TARGET = "ansible_collections.pressluft.wordpress.plugins.module_utils.{module}"


def halt(step, count=itertools.count()):
    number, order = next(count), os.path.join(FOLDER, "order.json")
    try:
        with open(order) as stream:
            wanted = json.load(stream)
    except FileNotFoundError:
        return
    if wanted not in (number, step):
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
            {hook}

        loader.exec_module = exec_module
        return spec


if {words!r} in " ".join(sys.orig_argv):
    import importlib.util

    sys.meta_path.insert(0, Finder())
'''


@dataclass(frozen=True)
class Program:
    """What is to stop: its module, the statement that hands it `halt`, and words of its command line."""

    module: str
    hook: str
    words: str = ""


CUT_OVER = Program("cut_over", "module._ignore = halt", "cut_over import main")
REFRESH = Program("refresh", "module.refresh.__kwdefaults__['on_step'] = halt")


@dataclass(frozen=True)
class Halt:
    """Where a program stopped."""

    pid: int
    step: str


class HaltingPython:
    """The interpreter and the folder through which it is told where to stop."""

    def __init__(self, folder: Path, program: Program = CUT_OVER) -> None:
        self._folder = folder / "halts"
        self._folder.mkdir()
        venv.create(folder / "python", symlinks=True)
        self.path = folder / "python" / "bin" / "python"
        [packages] = (folder / "python" / "lib").glob("python*/site-packages")
        (packages / "servers.pth").write_text(f"{Path(pymysql.__file__).parents[1]}\n")
        start_up = _START_UP.format(folder=str(self._folder), patience=PATIENCE, **asdict(program))
        (packages / "sitecustomize.py").write_text(start_up)

    def order(self, step: int | str) -> None:
        """Let the next program stop after this step, by its number or name."""
        (self._folder / "order.json").write_text(json.dumps(step))

    def await_halt(self) -> Halt:
        """Wait until a program stopped there."""
        deadline = time.monotonic() + PATIENCE
        while not self.has_halted():
            assert time.monotonic() < deadline, "no program came to that step"
            time.sleep(0.01)
        return Halt(**json.loads((self._folder / "reached.json").read_text()))

    def has_halted(self) -> bool:
        """Whether a program stands there."""
        return (self._folder / "reached.json").exists()

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
