"""Freeze windows: when they are open."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from reconciler.core.freeze import find_freeze
from schemas.fleet import FreezeWindow


def make(**fields: str) -> FreezeWindow:
    return FreezeWindow.model_validate(fields)


ONCE = make(start="2026-11-27T08:00:00", duration="PT10H", time_zone="Europe/Berlin", reason="Black Friday")
WEEKLY = make(
    start="2026-01-02T18:00:00", duration="60h", rrule="FREQ=WEEKLY;BYDAY=FR", time_zone="Europe/Berlin"
)


@pytest.mark.parametrize(
    ("window", "now", "is_open"),
    [
        pytest.param(ONCE, datetime(2026, 11, 27, 6, 59, tzinfo=UTC), False, id="a minute before"),
        pytest.param(ONCE, datetime(2026, 11, 27, 7, 0, tzinfo=UTC), True, id="opens in local time"),
        pytest.param(ONCE, datetime(2026, 11, 27, 17, 0, tzinfo=UTC), False, id="closed at its end"),
        pytest.param(WEEKLY, datetime(2026, 7, 5, 12, 0, tzinfo=UTC), True, id="on a Sunday in summer"),
        pytest.param(WEEKLY, datetime(2026, 7, 6, 4, 1, tzinfo=UTC), False, id="Monday morning"),
        pytest.param(WEEKLY, datetime(2026, 1, 1, 12, 0, tzinfo=UTC), False, id="before the first"),
    ],
)
def test_windows_open_and_close(window: FreezeWindow, now: datetime, is_open: bool) -> None:
    assert (find_freeze([window], now=now) is not None) == is_open


def test_the_window_that_closes_last_is_named() -> None:
    longer = make(start="2026-11-27T08:00:00", duration="PT20H", time_zone="Europe/Berlin")
    freeze = find_freeze([ONCE, longer], now=datetime(2026, 11, 27, 8, 0, tzinfo=UTC))
    assert freeze is not None
    assert freeze.ends_at == datetime(2026, 11, 28, 3, 0, tzinfo=UTC)
