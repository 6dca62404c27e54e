"""Fail points of an adapter that nobody lists by hand: each call into C that it makes, before and after.

What is durable (a file, an object, a ref, a process) comes to be in such a call and nowhere else. `run_killed` does
something in a child process that kills itself at the nth of these moments.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType, ModuleType

import pygit2

import reconciler.adapters
from tests.faults.page import make_table, tell

OURS = str(Path(reconciler.adapters.__file__).parent)
BETWEEN = (str(Path(pygit2.__file__).parent), os.__file__.removesuffix("os.py"))
"""Python's and pygit2's own code, which adapters call and which calls into C for them."""
DURABLE = frozenset({"posix", "_posixsubprocess", "_io", "fcntl", "_pygit2", "pygit2._libgit2.lib"})
"""The modules of C whose calls leave something behind; the last two are git's."""


@dataclass(frozen=True)
class Fate:
    """How many boundaries a child passed, and before or after which call it was killed; none if it lived."""

    passed: int
    call: str = ""


def run_killed(act: Callable[[], object], *, at: int) -> Fate:
    """Do something in a child that is killed at its boundary number `at`."""
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(readable)
        _die_at(act, at=at, told=writable)
    os.close(writable)
    with os.fdopen(readable, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    fate = Fate(**json.loads(said))
    assert os.waitstatus_to_exitcode(status) == (-signal.SIGKILL if fate.call else 0)
    return fate


@dataclass
class Tally:
    """What was left by kills at each call. `tell` prints it, for docs/reference/fault-model.md."""

    name: str
    _left: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, fate: Fate, left: str) -> None:
        """Note one kill."""
        if fate.call:
            self._left[fate.call, left] += 1

    def tell(self) -> None:
        """Print the table, and beside it nothing."""
        kinds = sorted({left for _, left in self._left})
        calls = sorted({call for call, _ in self._left})
        rows = [(call, *(self._left[call, left] or "" for left in kinds)) for call in calls]
        total = ("all", *(sum(self._left[call, left] for call in calls) for left in kinds))
        tell("\n".join(["", *make_table((self.name, *kinds), [*rows, total])]))


def list_moments(passed: int, *, most: int) -> Iterator[int]:
    """List which of the boundaries are tried: all, or so many evenly spread."""
    return iter(range(0, passed, max(1, -(-passed // most))))


def _die_at(act: Callable[[], object], *, at: int, told: int) -> None:
    passed = 0

    def meet(frame: FrameType, event: str, called: object) -> None:
        nonlocal passed
        if event in {"c_call", "c_return"} and _is_boundary(frame, called):
            if passed == at:
                _tell(told, Fate(at, _name(called)))
                os.kill(os.getpid(), signal.SIGKILL)
            passed += 1

    code = 1
    try:
        sys.setprofile(meet)
        act()
        sys.setprofile(None)
        _tell(told, Fate(passed))
        code = 0
    finally:
        sys.setprofile(None)
        os._exit(code)


def _tell(told: int, fate: Fate) -> None:
    os.write(told, json.dumps(asdict(fate)).encode())


def _name(called: object) -> str:
    """Name a call as its module or class does."""
    owner = getattr(called, "__self__", None)
    where = owner.__name__ if isinstance(owner, ModuleType) else type(owner).__name__
    return f"{where.rpartition('.')[2].removeprefix('_')}.{getattr(called, '__name__', '?')}"


def _is_boundary(frame: FrameType, called: object) -> bool:
    """Whether a call into C is one that leaves something behind, made for an adapter."""
    owner = getattr(called, "__self__", None)
    module = owner.__name__ if isinstance(owner, ModuleType) else type(owner).__module__
    if module not in DURABLE and not isinstance(owner, pygit2.Repository):
        return False
    here: FrameType | None = frame
    while here is not None and here.f_code.co_filename.startswith(BETWEEN):
        here = here.f_back
    return here is not None and here.f_code.co_filename.startswith(OURS)
