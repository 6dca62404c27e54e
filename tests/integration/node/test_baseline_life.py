"""The life of a baseline as a table of cases: what each kind of resource is told to be after each operation.

The words of a row are, in this order: a protected table, a preserved table, a mergeable table, an option row, a code
component, and the uploads. Protected and preserved ones are told by their verdict, mergeable ones by what a
promotion would do with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.drift import decide_verdict
from reconciler.core.merge import decide_merge
from reconciler.stack.mariadb import Login, MariaDB
from schemas.observation import Observation
from tests.integration.node.baseline_life import PRODUCTION, SOURCE, Walk, make_walk

NAMED = ("posts", "users", "slides", "tagline", "plugins/shop", "wp-content/uploads")
EDITED = ("slides", "tagline", "plugins/shop")
Step = Callable[[Walk], None]

ALL_CLEAN = "clean clean unchanged unchanged unchanged clean"
WORK_TO_PROMOTE = "clean clean promoted promoted promoted clean"
LIVE_SITE_MOVED = "drifted drifted kept kept kept drifted"


@pytest.fixture
def walk(mariadb: MariaDB, admin: Any, database: Login, tmp_path: Path) -> Iterator[Walk]:
    with make_walk(mariadb, admin, database.user, tmp_path) as made:
        yield made


def tell(observation: Observation) -> str:
    """Say of each named resource what a person would read about it."""
    outcomes = {item.resource.name: str(item.outcome) for item in decide_merge(observation)}
    verdicts = {
        found.name: str(decide_verdict(found, has_baseline=observation.baseline is not None))
        for found in observation.resources
    }
    return " ".join(outcomes.get(name) or verdicts[name] for name in NAMED)


def refresh_full(walk: Walk) -> None:
    walk.refresh("full")


def refresh_protected(walk: Walk) -> None:
    walk.refresh("protected")


def work(walk: Walk) -> None:
    """People change everything on the source that may go up."""
    for name in EDITED:
        walk.edit(SOURCE, name, 1)


def live(walk: Walk) -> None:
    """Everything changes on production."""
    for name in NAMED:
        walk.edit(PRODUCTION, name, 2)


def sell(walk: Walk) -> None:
    """Visitors write to production's protected and preserved data."""
    for name in set(NAMED) - set(EDITED):
        walk.edit(PRODUCTION, name, 2)


def undo_sale(walk: Walk) -> None:
    """And what they wrote is taken back to the byte."""
    for name in set(NAMED) - set(EDITED):
        walk.edit(PRODUCTION, name, 0)


def promote(walk: Walk) -> None:
    walk.promote()


def fail(walk: Walk) -> None:
    walk.promote_what_breaks()


def roll_back(walk: Walk) -> None:
    walk.roll_back()


def back_up_production(walk: Walk) -> None:
    walk.back_up(PRODUCTION)


def back_up_source(walk: Walk) -> None:
    walk.back_up(SOURCE)


def restore(walk: Walk) -> None:
    walk.restore()


CASES = [
    pytest.param([], "unknown unknown conflict conflict conflict unknown", id="never refreshed"),
    pytest.param([refresh_full], ALL_CLEAN, id="refreshed in full"),
    pytest.param([refresh_full, work], WORK_TO_PROMOTE, id="work on the source"),
    pytest.param([refresh_full, live], LIVE_SITE_MOVED, id="production edited"),
    pytest.param(
        [refresh_full, work, live],
        "drifted drifted conflict conflict conflict drifted",
        id="both edited",
    ),
    pytest.param([refresh_full, live, refresh_full], ALL_CLEAN, id="edited, then refreshed in full"),
    pytest.param(
        [refresh_full, live, refresh_protected],
        "clean clean kept kept kept clean",
        id="edited, then refreshed: code and settings keep their baseline",
    ),
    pytest.param(
        [refresh_full, work, sell, refresh_protected],
        WORK_TO_PROMOTE,
        id="sold, then refreshed: the source's work is kept",
    ),
    pytest.param(
        [refresh_full, sell, undo_sale], ALL_CLEAN, id="changed and changed back to the byte is no drift"
    ),
    pytest.param([refresh_full, work, promote], ALL_CLEAN, id="promoted"),
    pytest.param([refresh_full, work, promote, live], LIVE_SITE_MOVED, id="promoted, then production edited"),
    pytest.param(
        [refresh_full, work, sell, promote],
        "drifted drifted promoted promoted promoted drifted",
        id="sold: the promotion is refused and moves no baseline",
    ),
    pytest.param([refresh_full, work, fail], WORK_TO_PROMOTE, id="failed promotion rolled back by itself"),
    pytest.param(
        [refresh_full, work, fail, live],
        "drifted drifted conflict conflict conflict drifted",
        id="failed promotion, then production edited",
    ),
    pytest.param([refresh_full, work, fail, promote], ALL_CLEAN, id="failed promotion, mended and promoted"),
    pytest.param([refresh_full, work, promote, roll_back], WORK_TO_PROMOTE, id="rolled back"),
    pytest.param(
        [refresh_full, work, promote, roll_back, live],
        "drifted drifted conflict conflict conflict drifted",
        id="rolled back, then production edited",
    ),
    pytest.param(
        [refresh_full, work, promote, sell, roll_back],
        "drifted drifted promoted promoted promoted drifted",
        id="promoted, sold, rolled back: what was sold stays, and gates",
    ),
    pytest.param(
        [refresh_full, work, promote, sell, refresh_protected, roll_back],
        WORK_TO_PROMOTE,
        id="promoted, sold, refreshed, rolled back: the refresh is not undone",
    ),
    pytest.param(
        [refresh_full, work, promote, live, roll_back],
        LIVE_SITE_MOVED,
        id="promoted, edited: the rollback is refused and moves no baseline",
    ),
    pytest.param(
        [refresh_full, work, promote, refresh_full, roll_back],
        WORK_TO_PROMOTE,
        id="promoted, refreshed in full, rolled back: the copy has what production went back on",
    ),
    pytest.param(
        [refresh_full, work, promote, roll_back, promote], ALL_CLEAN, id="rolled back, then promoted again"
    ),
    pytest.param(
        [refresh_full, work, promote, roll_back, refresh_full],
        ALL_CLEAN,
        id="rolled back, then refreshed in full",
    ),
    pytest.param(
        [refresh_full, back_up_production, live, restore],
        ALL_CLEAN,
        id="production edited and restored: it is again what was copied",
    ),
    pytest.param(
        [refresh_full, back_up_production, sell, refresh_protected, restore],
        "drifted drifted unchanged unchanged unchanged drifted",
        id="production restored to before the last refresh: the copy has what production lost",
    ),
    pytest.param(
        [refresh_full, back_up_production, work, promote, restore],
        "clean clean kept kept kept clean",
        id="production restored to before a promotion: what it has now stays",
    ),
    pytest.param(
        [refresh_full, work, back_up_source, refresh_full, restore],
        WORK_TO_PROMOTE,
        id="source restored: with the baseline that it had then",
    ),
]


@pytest.mark.parametrize(("steps", "expected"), CASES)
def test_each_kind_of_resource_is_told_rightly_after(walk: Walk, steps: list[Step], expected: str) -> None:
    for step in steps:
        step(walk)
    assert tell(walk.compare()) == expected
