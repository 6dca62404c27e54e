"""Freeze windows: when nothing is promoted (spec.md §1, RFC 5545 for their repetition)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from dateutil.rrule import rrulestr

from schemas.fleet import FreezeWindow


@dataclass(frozen=True, slots=True)
class Freeze:
    """A window that is open now, and when it closes (aware)."""

    window: FreezeWindow
    ends_at: datetime


def find_freeze(windows: Iterable[FreezeWindow], *, now: datetime) -> Freeze | None:
    """Find the open window that closes last, `None` if none is open at `now` (aware)."""
    open_windows = [freeze for window in windows if (freeze := find_opening(window, now=now))]
    return max(open_windows, key=lambda freeze: freeze.ends_at, default=None)


def find_opening(window: FreezeWindow, *, now: datetime) -> Freeze | None:
    """Find the last opening of a window at or before `now`, if it is still open.

    The start is a wall-clock time of the window's zone; the length is real time, so that a clock change
    in between neither shortens nor stretches it.
    """
    zone = ZoneInfo(window.time_zone)
    local_now = now.astimezone(zone).replace(tzinfo=None)
    opened = find_last_start(window, local_now)
    if opened is None:
        return None
    opened_at = opened.replace(tzinfo=zone).astimezone(now.tzinfo)
    ends_at = opened_at + window.duration
    return Freeze(window, ends_at) if opened_at <= now < ends_at else None


def find_last_start(window: FreezeWindow, local_now: datetime) -> datetime | None:
    """Find the newest start, in the window's local time, at or before `local_now`."""
    if window.rrule is None:
        return window.start if window.start <= local_now else None
    return rrulestr(window.rrule, dtstart=window.start).before(local_now, inc=True)
