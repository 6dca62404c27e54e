"""kill -9 of the program after every one of its steps: production is always entirely old or entirely new."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.cut import (
    TO_GIVEN_UP,
    TO_HEALTHY,
    TO_REVERSED,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.cut_over import resume_cut, run_cut
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError

from reconciler.stack.mariadb import Login, MariaDB
from tests.integration.node.plain_site import BROKEN, THEME, Promotion, change_staging, make_promotion


def name_steps(steps: tuple[str, ...]) -> list[Any]:
    return [
        pytest.param(number, id=f"{number}-{step.replace(' ', '-')}") for number, step in enumerate(steps)
    ]


@pytest.fixture
def promotion(mariadb: MariaDB, admin: Any, database: Login, tmp_path: Path) -> Iterator[Promotion]:
    with make_promotion(mariadb, admin, database.user, tmp_path) as made:
        change_staging(made)
        yield made


class Before:
    """Production as it was, and whether it is so again."""

    def __init__(self, promotion: Promotion) -> None:
        self._promotion = promotion
        self._tables, self._code = promotion.tables(), promotion.code()

    def assert_old(self) -> None:
        promotion = self._promotion
        assert (promotion.tables(), promotion.code()) == (self._tables, self._code)
        assert promotion.release() == "first"
        assert (promotion.own_databases(), promotion.releases()) == (set(), {"first"})
        assert promotion.read_state()["status"] == "active"

    def assert_new(self) -> None:
        promotion = self._promotion
        tables = promotion.tables()
        assert {name for name in tables if tables[name] != self._tables.get(name)} == {
            "wp_options",
            "wp_slides",
            "wp_fresh",
        }
        assert (promotion.option("blogname"), len(promotion.rows("slides"))) == ("Better shop", 2)
        assert promotion.option("siteurl") == "https://shop.test"
        assert promotion.code()[THEME] == b"body { color: green }"
        assert promotion.release() == promotion.job_id
        assert promotion.releases() == {"first", promotion.job_id}
        [kept] = promotion.own_databases()
        assert "_old_" in kept
        assert promotion.read_state()["status"] == "active"


def test_the_steps_forward_are_those_that_are_listed(promotion: Promotion) -> None:
    seen: list[str] = []
    promotion.stage()
    promotion.run_program(on_step=seen.append)
    assert tuple(seen) == TO_HEALTHY


def test_the_steps_back_are_those_that_are_listed(promotion: Promotion) -> None:
    seen: list[str] = []
    promotion.pair.path("staging", THEME).write_text(BROKEN)
    promotion.stage()
    promotion.run_program(on_step=seen.append)
    assert tuple(seen) == TO_REVERSED


@pytest.mark.parametrize("number", name_steps(TO_HEALTHY))
def test_a_program_killed_on_its_way_forward_is_finished_by_the_next(
    promotion: Promotion, number: int
) -> None:
    before = Before(promotion)
    promotion.stage()
    promotion.kill_program_at(number)
    promotion.epoch = 2
    promotion.run_program(run_cut)
    before.assert_new()
    assert promotion.cut_over()["health"]["healthy"] is True


@pytest.mark.parametrize("number", name_steps(TO_REVERSED))
def test_a_program_killed_on_its_way_back_is_finished_by_the_next(promotion: Promotion, number: int) -> None:
    before = Before(promotion)
    promotion.pair.path("staging", THEME).write_text(BROKEN)
    promotion.stage()
    promotion.kill_program_at(number)
    promotion.run_program(run_cut)
    before.assert_old()
    with pytest.raises(NodeError) as failed:
        promotion.cut_over()
    assert failed.value.code == "HEALTH_CHECK_FAILED"


@pytest.mark.parametrize("number", name_steps(TO_GIVEN_UP))
def test_a_program_killed_while_it_gives_up_leaves_everything_old(promotion: Promotion, number: int) -> None:
    promotion.stage()
    promotion.pair.sql("UPDATE P.slides SET width = 5")
    before = Before(promotion)
    promotion.kill_program_at(number)
    with suppress(NodeError):
        promotion.cut_over()
    before.assert_old()


def test_a_program_killed_again_and_again_still_ends(promotion: Promotion) -> None:
    before = Before(promotion)
    promotion.stage()
    for number in (0, 1, 2, 3, 0, 1, 2, 3):
        promotion.kill_program_at(number)
    promotion.run_program()
    before.assert_new()


def test_a_rename_that_outlives_its_program_cannot_happen_behind_the_next_one(
    promotion: Promotion, mariadb: MariaDB
) -> None:
    before = Before(promotion)
    promotion.stage()
    with mariadb.connect(promotion.production.database) as visitor:
        visitor.execute("START TRANSACTION")
        visitor.execute("SELECT * FROM wp_slides")
        child = os.fork()
        if child == 0:
            try:
                promotion.run_program()
            finally:
                os._exit(0)
        wait_until(lambda: is_renaming(promotion))
        os.kill(child, 9)
        os.waitpid(child, 0)  # the server still waits for the visitor, to rename on behalf of nobody

        def let_it_through(step: str) -> None:
            if step == "giving up":  # decided, since nothing was renamed
                visitor.execute("COMMIT")
                wait_until(lambda: not is_renaming(promotion))

        promotion.run_program(resume_cut, let_it_through)
    before.assert_old()


def is_renaming(promotion: Promotion) -> bool:
    promotion.admin.execute("SHOW PROCESSLIST")
    return any(str(row[7]).startswith("RENAME TABLE") for row in promotion.admin.fetchall())


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)
