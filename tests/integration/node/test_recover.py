"""The recovery on the node: a killed cut-over is finished or reversed by it alone, with no controller anywhere."""

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.cut import (
    FIRST_LIVE_STEP,
    TO_GIVEN_UP,
    TO_HEALTHY,
    TO_REVERSED,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment_lock import (
    read_holder,
    take_lock,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.prepare import prepare_node

from reconciler.stack.mariadb import Login, MariaDB
from tests.integration.node.plain_site import BROKEN, THEME, Promotion, change_staging, make_promotion
from tests.integration.node.test_cut_over_killed import Before, name_steps

FIRST_STEP_BACK = TO_REVERSED.index("prepared back")
PATIENCE = 60


@pytest.fixture
def promotion(mariadb: MariaDB, admin: Any, database: Login, tmp_path: Path) -> Iterator[Promotion]:
    with make_promotion(mariadb, admin, database.user, tmp_path) as made:
        change_staging(made)
        yield made


def install(promotion: Promotion) -> list[str]:
    """Prepare the node and return the command of the recovery, as its owner would find it there."""
    done = prepare_node(promotion.state_dir, promotion.config_dir, service=False, check_mode=False)
    return list(done["recover"]["command"])


def recover(promotion: Promotion) -> None:
    """Let a real process have one look; it knows nothing but the node's own files."""
    subprocess.run([*install(promotion), "--once"], check=True, env={"PATH": os.defpath}, timeout=PATIENCE)


@contextmanager
def watch(promotion: Promotion) -> Iterator[None]:
    """Run the recovery as the unit does: all the time."""
    loop = subprocess.Popen(install(promotion), env={"PATH": os.defpath}, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        loop.kill()
        loop.wait()


def assert_nothing_is_left(promotion: Promotion) -> None:
    folder = promotion.job_folder.parents[1]
    assert read_holder(str(folder)) is None
    promotion.admin.execute("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE LIKE '%lock%'")
    assert promotion.admin.fetchone()[0] == 0


@pytest.mark.parametrize("number", name_steps(TO_HEALTHY))
def test_a_cut_over_killed_on_its_way_forward_is_ended(promotion: Promotion, number: int) -> None:
    before = Before(promotion)
    promotion.stage()
    promotion.kill_program_at(number)
    recover(promotion)
    assert_nothing_is_left(promotion)
    promotion.epoch = 2
    if number >= TO_HEALTHY.index(FIRST_LIVE_STEP):
        before.assert_new()
        assert promotion.cut_over()["health"]["healthy"] is True
        return
    before.assert_old()
    with pytest.raises(NodeError, match="interrupted before it changed anything") as told:
        promotion.cut_over()
    assert told.value.retry is True


@pytest.mark.parametrize("number", name_steps(TO_REVERSED)[FIRST_STEP_BACK:])
def test_a_cut_over_killed_on_its_way_back_is_reversed(promotion: Promotion, number: int) -> None:
    before = Before(promotion)
    promotion.pair.path("staging", THEME).write_text(BROKEN)
    promotion.stage()
    promotion.kill_program_at(number)
    recover(promotion)
    before.assert_old()
    assert_nothing_is_left(promotion)
    with pytest.raises(NodeError) as failed:
        promotion.cut_over()
    assert failed.value.code == "HEALTH_CHECK_FAILED"


@pytest.mark.parametrize("number", name_steps(TO_GIVEN_UP))
def test_a_cut_over_killed_while_it_gives_up_is_given_up(promotion: Promotion, number: int) -> None:
    promotion.stage()
    promotion.pair.sql("UPDATE P.slides SET width = 5")
    before = Before(promotion)
    promotion.kill_program_at(number)
    recover(promotion)
    before.assert_old()
    assert_nothing_is_left(promotion)


def test_the_loop_ends_a_killed_cut_over_and_survives_its_own_death(promotion: Promotion) -> None:
    before = Before(promotion)
    promotion.stage()
    with watch(promotion):
        promotion.kill_program_at(TO_HEALTHY.index("renamed"))
    with watch(promotion):
        wait_until(lambda: promotion.job_id in read_finished(promotion))
    before.assert_new()


def test_a_program_at_work_is_left_alone(promotion: Promotion) -> None:
    promotion.stage()
    reached, go_on = threading.Event(), threading.Event()

    def stop(step: str) -> None:
        if step == "renamed":
            reached.set()
            assert go_on.wait(PATIENCE)

    thread = threading.Thread(target=promotion.run_program, kwargs={"on_step": stop})
    thread.start()
    try:
        assert reached.wait(PATIENCE)
        recover(promotion)
        assert read_cut(promotion)["state"] == "started"
        assert promotion.job_id not in read_finished(promotion)
    finally:
        go_on.set()
        thread.join()
    assert promotion.read_state()["status"] == "active"


def test_a_controller_that_came_back_first_is_not_overtaken(promotion: Promotion) -> None:
    promotion.stage()
    promotion.kill_program_at(TO_HEALTHY.index("renamed"))
    folder = promotion.job_folder.parents[1]
    promotion.epoch = 2
    with take_lock(str(folder), promotion.job("cut_over"), wait=0):
        recover(promotion)
        assert promotion.job_id not in read_finished(promotion)
    assert promotion.cut_over()["health"]["healthy"] is True


def test_what_failed_for_good_waits_for_a_person(promotion: Promotion) -> None:
    promotion.stage()
    promotion.kill_program_at(TO_HEALTHY.index("renamed"))
    old = next(name for name in promotion.own_databases() if "_old_" in name)
    promotion.admin.execute(f"RENAME TABLE {old}.wp_slides TO {old}.elsewhere")
    with suppress(subprocess.CalledProcessError):
        recover(promotion)
    assert promotion.read_state()["status"] == "failed"
    journal = promotion.job_folder / "journal.json"
    before = journal.stat().st_mtime_ns
    recover(promotion)
    assert journal.stat().st_mtime_ns == before


def test_a_broken_environment_does_not_keep_the_others_waiting(promotion: Promotion) -> None:
    before = Before(promotion)
    promotion.stage()
    promotion.kill_program_at(TO_HEALTHY.index("renamed"))
    broken = Path(promotion.state_dir, "00000000-0000-4000-8000-000000000000")
    broken.mkdir()
    (broken / "identity.json").write_text("{}")
    (broken / "state.json").write_text("{torn")
    recover(promotion)
    before.assert_new()


def test_preparing_a_node_twice_changes_nothing_the_second_time(tmp_path: Path) -> None:
    def prepare(*, check_mode: bool) -> list[str]:
        done = prepare_node(str(tmp_path / "state"), str(tmp_path), service=False, check_mode=check_mode)
        return list(done["changed"])

    program = str(tmp_path / "state" / "pressluft-recover.zip")
    assert prepare(check_mode=True) == [program]
    assert not (tmp_path / "state").exists()
    assert prepare(check_mode=False) == [program]
    assert prepare(check_mode=False) == []


def read_cut(promotion: Promotion) -> dict[str, Any]:
    return dict(json.loads((promotion.job_folder / "journal.json").read_text())["cut"])


def read_finished(promotion: Promotion) -> str:
    path = promotion.job_folder.parents[1] / "finished.txt"
    return path.read_text() if path.exists() else ""


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)
