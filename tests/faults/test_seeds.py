"""Random days with several daemons, people who push in between, and faults; `make faults` runs many more."""

from __future__ import annotations

import os

import pytest

from tests.faults.schedule import run_day

SEEDS = int(os.environ.get("PRESSLUFT_FAULT_SEEDS", "100"))
FIRST = int(os.environ.get("PRESSLUFT_FAULT_FIRST", "0"))
AT_ONCE = 10


@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS, AT_ONCE))
def test_every_promise_is_kept_on_a_random_day(first: int) -> None:
    for seed in range(first, min(first + AT_ONCE, FIRST + SEEDS)):
        report = run_day(seed)
        assert report.broken == (), f"seed {seed}: " + "\n".join(report.told[-20:])


@pytest.mark.parametrize(
    "seed",
    [
        pytest.param(594, id="a record is forged and the push that puts it right is not kept"),
        pytest.param(1905, id="the same while a second daemon holds the job"),
    ],
)
def test_what_once_broke_a_promise_does_not_break_it_again(seed: int) -> None:
    assert run_day(seed).broken == ()


def test_a_seed_is_the_same_day_again() -> None:
    assert run_day(3) == run_day(3)
