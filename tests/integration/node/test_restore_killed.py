"""kill -9 after every step of a restore: what is served is entirely the old or entirely the backup, and it ends.

The steps are those that a run reports, so that none can be forgotten. A few of them are tried by default;
`make faults-restore` tries all.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.cut_over import resume_cut, run_cut
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.restore import STEPS as STAGING

from reconciler.stack.mariadb import MariaDB
from tests.integration.node.plain_site import BROKEN, THEME
from tests.integration.node.restored_site import Photo, Restoring, kill_at, make_restoring

TO_THE_VERDICT = (
    "started",
    "verified",
    "prepared",
    "renamed",
    "place exchanged",
    "switched",
    "reloaded",
    "carried",
    "purged",
    "judged",
)
RESUMED = ("place exchanged",)  # whoever judges looks at the places again
HEALTHY = (
    *TO_THE_VERDICT[:5],
    *RESUMED,
    *TO_THE_VERDICT[5:],
    "baseline advanced",
    "release recorded",
    "replaced dropped",
    "end recorded",
)
UNHEALTHY = (
    *TO_THE_VERDICT[:5],
    *RESUMED,
    *TO_THE_VERDICT[5:],
    "prepared back",
    "renamed back",
    "place put back",
    "switched back",
    "reloaded",
    "carried",
    "purged",
    "writes saved",
    "staged dropped",
    "end recorded",
)
FIRST_LIVE_STEP = HEALTHY.index("renamed")
TRIED = frozenset(
    {"renamed", "place exchanged", "judged", "replaced dropped", "place put back", "staged dropped"}
)
ALL = os.environ.get("PRESSLUFT_FAULTS") == "all"


def name_steps(steps: tuple[str, ...], *, tried: frozenset[str] = TRIED) -> list[object]:
    return [
        pytest.param(number, id=f"{number}-{step.replace(' ', '-')}")
        for number, step in enumerate(steps)
        if ALL or (step in tried and steps.index(step) == number)
    ]


class Case:
    """One site and its two backups, a healthy and a broken one; each test damages it and restores one of them."""

    def __init__(self, restoring: Restoring) -> None:
        self.first = restoring
        theme = restoring.root / "current" / THEME
        self.backup = restoring.take_photo()
        self.healthy = restoring.back_up()
        text = theme.read_text()
        theme.write_text(BROKEN)
        self.broken = restoring.anew().back_up()
        theme.write_text(text)

    def damage(self) -> tuple[Restoring, Photo]:
        """A new restore, and the site as it is before it."""
        uploads = self.first.root / "shared/wp-content/uploads"
        self.first.sql("INSERT INTO wp_posts (post_title) VALUES ('Since')")
        (uploads / "since.txt").write_text(os.urandom(4).hex())
        return self.first.anew(), self.first.take_photo()


@pytest.fixture(scope="module")
def case(mariadb: MariaDB, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    name = f"killed_{os.urandom(4).hex()}"
    mariadb.create_database(name)
    with make_restoring(mariadb, name, tmp_path_factory.mktemp("killed")) as restoring:
        yield Case(restoring)
    mariadb.drop_database(name)


def assert_is(restoring: Restoring, photo: Photo) -> None:
    """The site is the one of the photo, and nothing else is left of any restore."""
    assert restoring.take_photo() == photo
    assert restoring.find_leftovers() == set()
    assert restoring.read_state()["status"] == "active"


def test_the_steps_below_are_all_there_are(case: Case) -> None:
    restoring, _ = case.damage()
    staged: list[str] = []
    restoring.stage(case.healthy, staged.append)
    assert tuple(staged) == STAGING
    seen: list[str] = []
    restoring.run_program(on_step=seen.append)
    assert tuple(seen) == HEALTHY
    assert_is(restoring, case.backup)


def test_the_steps_back_below_are_all_there_are(case: Case) -> None:
    restoring, damaged = case.damage()
    restoring.stage(case.broken)
    seen: list[str] = []
    restoring.run_program(on_step=seen.append)
    assert tuple(seen) == UNHEALTHY
    assert_is(restoring, damaged)


@pytest.mark.parametrize("number", name_steps(STAGING, tried=frozenset({"tables loaded", "files restored"})))
def test_a_restore_that_is_killed_while_it_is_put_together_begins_anew(case: Case, number: int) -> None:
    restoring, damaged = case.damage()
    kill_at(lambda die: restoring.stage(case.healthy, die), number)
    assert restoring.take_photo() == damaged
    restoring.epoch = 2
    restoring.stage(case.healthy)
    restoring.cut_over()
    assert_is(restoring, case.backup)


@pytest.mark.parametrize("number", name_steps(HEALTHY))
def test_a_restore_killed_on_its_way_forward_is_finished_by_the_next(case: Case, number: int) -> None:
    restoring, _ = case.damage()
    restoring.stage(case.healthy)
    kill_at(lambda die: restoring.run_program(run_cut, die), number)
    restoring.epoch = 2
    restoring.run_program(run_cut)
    assert_is(restoring, case.backup)
    assert restoring.cut_over()["health"]["healthy"] is True


@pytest.mark.parametrize("number", name_steps(UNHEALTHY))
def test_a_restore_killed_on_its_way_back_is_finished_by_the_next(case: Case, number: int) -> None:
    restoring, damaged = case.damage()
    restoring.stage(case.broken)
    kill_at(lambda die: restoring.run_program(run_cut, die), number)
    restoring.run_program(run_cut)
    assert_is(restoring, damaged)
    with pytest.raises(NodeError) as failed:
        restoring.cut_over()
    assert failed.value.code == "HEALTH_CHECK_FAILED"


@pytest.mark.parametrize("number", name_steps(HEALTHY, tried=frozenset({"started", "renamed"})))
def test_a_recovery_without_a_controller_ends_a_killed_restore(case: Case, number: int) -> None:
    restoring, damaged = case.damage()
    restoring.stage(case.healthy)
    kill_at(lambda die: restoring.run_program(run_cut, die), number)
    with suppress(NodeError):
        restoring.run_program(resume_cut)
    assert_is(restoring, damaged if number < FIRST_LIVE_STEP else case.backup)


def test_the_place_of_uploads_is_never_empty_while_it_is_exchanged(case: Case) -> None:
    restoring, _ = case.damage()
    restoring.stage(case.healthy)
    shared, seen = restoring.root / "shared" / "wp-config.php", []
    restoring.run_program(on_step=lambda _: seen.append(Path(shared).exists()))
    assert all(seen)
