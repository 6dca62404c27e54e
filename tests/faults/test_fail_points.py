"""Every fail point once, with every fault that can happen there: the day ends as it should."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.faults.fault import FailPoint, list_fail_points, list_faults
from tests.faults.story import list_passes, run_story

NEVER_PASSED = {"events", "find_bringers", "judge_signature", "read_log"}
"""Calls that no pass of this fleet makes: they are for those who read, or for one that asks for signatures."""


@pytest.fixture(scope="module")
def met() -> Counter[FailPoint]:
    """How often each point is passed on a day without faults."""
    outcome = run_story()
    assert outcome.broken == ()
    assert outcome.jobs == {"succeeded": 2, "cancelled": 1, "failed DRIFT_GATE_UNMET": 1}
    return outcome.met


def test_a_day_passes_every_fail_point(met: Counter[FailPoint]) -> None:
    assert {point.call for point in list_fail_points()} - {point.call for point in met} == NEVER_PASSED


@pytest.mark.parametrize(
    "point", [point for point in list_fail_points() if point.call not in NEVER_PASSED], ids=str
)
def test_nothing_is_lost_repeated_or_let_through(point: FailPoint, met: Counter[FailPoint]) -> None:
    for fault in list_faults(point):
        for passes in list_passes(met[point]):
            outcome = run_story(point, fault, passes=passes)
            assert outcome.struck, f"{fault} {point} after {passes} passes did not happen"
            assert outcome.broken == (), f"{fault} {point} after {passes} passes"
