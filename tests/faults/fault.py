"""Fail points and what happens at them. They are generated from the ports: every effect of a pass goes through one."""

from __future__ import annotations

import errno
import inspect
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from reconciler.errors import TipMoved, Transient
from reconciler.ports import Clock, FleetRepo, PlaybookRunner

PORTS = (FleetRepo, PlaybookRunner, Clock)


class Moment(StrEnum):
    """On which side of the call something happens."""

    BEFORE = "before"
    AFTER = "after"


class Fault(StrEnum):
    """What happens there. A `lie` answers a call that was never made; it is for pushes."""

    KILL = "kill -9"
    TRANSIENT = "unreachable"
    TIP_MOVED = "race lost"
    DISK_FULL = "disk full"
    NO_FILES = "too many open files"
    LIE = "push acknowledged, not kept"


class Killed(BaseException):
    """The daemon is gone; nothing of it may catch this."""


@dataclass(frozen=True, order=True)
class FailPoint:
    """One side of one call of a port."""

    call: str
    moment: Moment

    def __str__(self) -> str:
        return f"{self.moment} {self.call}"


def list_fail_points() -> tuple[FailPoint, ...]:
    """List both sides of every call of every port."""
    calls = [
        name
        for port in PORTS
        for name, member in inspect.getmembers(port, inspect.isfunction)
        if not name.startswith("_") and member.__qualname__.startswith(port.__name__)
    ]
    return tuple(FailPoint(call, moment) for call in calls for moment in Moment)


def list_faults(point: FailPoint) -> Iterator[Fault]:
    """List what can happen at a point. A runner that has no room for a run says so itself, as `Transient`."""
    yield from (Fault.KILL, Fault.TRANSIENT)
    if point.call != "start":
        yield from (Fault.DISK_FULL, Fault.NO_FILES)
    if point.call == "push_changes" and point.moment is Moment.BEFORE:
        yield from (Fault.TIP_MOVED, Fault.LIE)


def strike(fault: Fault) -> None:
    """Let a fault happen."""
    match fault:
        case Fault.KILL:
            raise Killed
        case Fault.TRANSIENT:
            raise Transient("injected: unreachable")
        case Fault.TIP_MOVED:
            raise TipMoved("injected: somebody was faster")
        case Fault.DISK_FULL:
            raise OSError(errno.ENOSPC, "injected: no space left on device")
        case Fault.NO_FILES:
            raise OSError(errno.EMFILE, "injected: too many open files")
        case Fault.LIE:
            raise ValueError("a lie is told by the call itself")


@dataclass
class Armed:
    """A fault that happens once, after a point was passed so many times."""

    fault: Fault
    passes: int = 0


@dataclass
class Script:
    """What happens at the next fail points of one daemon. `meet` counts each point that is passed."""

    armed: dict[FailPoint, Armed] = field(default_factory=dict)
    meanwhile: Callable[[FailPoint], None] = lambda _: None
    """Called at each point: others may act in between."""
    met: Counter[FailPoint] = field(default_factory=Counter)
    struck: list[tuple[FailPoint, Fault]] = field(default_factory=list)

    def meet(self, point: FailPoint) -> Fault | None:
        """Pass a point: its fault, if one is armed, happens once. Returns a lie instead of raising it."""
        self.met[point] += 1
        self.meanwhile(point)
        armed = self.armed.get(point)
        if armed is None:
            return None
        if armed.passes > 0:
            armed.passes -= 1
            return None
        del self.armed[point]
        self.struck.append((point, armed.fault))
        if armed.fault is not Fault.LIE:
            strike(armed.fault)
        return armed.fault


class Port:
    """A port whose calls pass a fail point before and after."""

    def __init__(self, inner: object, script: Script) -> None:
        self._inner = inner
        self._script = script

    def __getattr__(self, name: str) -> Any:
        """Return the inner port's call with its two fail points around it."""
        found = getattr(self._inner, name)
        if not callable(found):
            return found

        def call(*words: object, **named: object) -> object:
            if self._script.meet(FailPoint(name, Moment.BEFORE)) is Fault.LIE:
                return "0" * 40
            answer = found(*words, **named)
            self._script.meet(FailPoint(name, Moment.AFTER))
            return answer

        return call
