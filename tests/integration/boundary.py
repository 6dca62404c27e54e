"""Fail points of an adapter that nobody lists by hand: each call into C that it makes, before and after.

What is durable (a file, an object, a ref, a process) comes to be in such a call and nowhere else. `run_killed` does
something in a child process that kills itself at the nth of these moments.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, ModuleType

import pygit2

import reconciler.adapters

OURS = str(Path(reconciler.adapters.__file__).parent)
BETWEEN = (str(Path(pygit2.__file__).parent), os.__file__.removesuffix("os.py"))
"""Python's and pygit2's own code, which adapters call and which calls into C for them."""
DURABLE = frozenset({"posix", "_posixsubprocess", "_io", "fcntl", "_pygit2"})
"""The modules of C whose calls leave something behind."""


def run_killed(act: Callable[[], object], *, at: int) -> int:
    """Do something in a child that is killed at its boundary number `at`; returns how many it passed, then lived."""
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(readable)
        _die_at(act, at=at, told=writable)
    os.close(writable)
    with os.fdopen(readable, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    assert said or os.waitstatus_to_exitcode(status) == -signal.SIGKILL
    return int(said) if said else at


def list_moments(passed: int, *, most: int) -> Iterator[int]:
    """List which of the boundaries are tried: all, or so many evenly spread."""
    return iter(range(0, passed, max(1, -(-passed // most))))


def _die_at(act: Callable[[], object], *, at: int, told: int) -> None:
    passed = 0

    def meet(frame: FrameType, event: str, called: object) -> None:
        nonlocal passed
        if event in {"c_call", "c_return"} and _is_boundary(frame, called):
            if passed == at:
                os.kill(os.getpid(), signal.SIGKILL)
            passed += 1

    code = 1
    try:
        sys.setprofile(meet)
        act()
        sys.setprofile(None)
        os.write(told, str(passed).encode())
        code = 0
    finally:
        sys.setprofile(None)
        os._exit(code)


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
