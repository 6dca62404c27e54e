"""What a promotion replaced goes when its time is over, and not a moment before; nothing is left lying about."""

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import Job
from ansible_collections.pressluft.wordpress.plugins.module_utils.health_check import report_health
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.rollback import roll_back

from reconciler.stack.mariadb import Login, MariaDB
from tests.integration.node.plain_site import BROKEN, THEME, Promotion, change_staging, make_promotion
from tests.integration.node.test_rollback import make_call, run_rollback

PAST, FUTURE = "2020-01-01T00:00:00Z", "2100-01-01T00:00:00Z"


@pytest.fixture
def promotion(mariadb: MariaDB, admin: Any, database: Login, tmp_path: Path) -> Iterator[Promotion]:
    with make_promotion(mariadb, admin, database.user, tmp_path) as made:
        change_staging(made)
        yield made


@pytest.fixture
def promoted(promotion: Promotion) -> Promotion:
    promotion.stage()
    promotion.cut_over()
    return promotion


def set_state(promotion: Promotion, **fields: Any) -> None:
    path = Path(promotion.state_dir, promotion.production.id, "state.json")
    path.write_text(json.dumps({**promotion.read_state(), **fields}))


def expire(promotion: Promotion, until: str = PAST) -> None:
    set_state(promotion, kept={**promotion.read_state()["kept"], "until": until})


def look_at_health(promotion: Promotion) -> None:
    call = promotion.call("health")
    job = Job(str(uuid4()), 1, "health_check", "health")
    report_health(dataclasses.replace(call, job=job, environment=promotion.production, production=None))


def stage_next(promotion: Promotion) -> None:
    promotion.pair.sql("UPDATE S.slides SET width = 99")
    promotion.next_job().stage()


@pytest.mark.parametrize("step", [look_at_health, stage_next])
def test_the_first_step_after_its_time_drops_what_was_kept(
    promoted: Promotion, step: Callable[[Promotion], None]
) -> None:
    before, kept = promoted.tables(), promoted.own_databases()
    expire(promoted)
    step(promoted)
    assert not kept & promoted.own_databases()
    assert "first" not in promoted.releases()
    assert (promoted.tables(), promoted.release()) == (before, promoted.job_id)
    assert (promoted.read_state()["kept"], promoted.read_state()["previous_release"]) == (None, None)


def test_nothing_goes_before_its_time(promoted: Promotion) -> None:
    kept = promoted.own_databases()
    expire(promoted, FUTURE)
    look_at_health(promoted)
    assert promoted.own_databases() == kept
    run_rollback(promoted)
    assert promoted.release() == "first"


def test_nothing_goes_while_something_is_half_done(promoted: Promotion) -> None:
    kept = promoted.own_databases()
    expire(promoted)
    set_state(promoted, status="deploying")
    look_at_health(promoted)
    assert promoted.own_databases() == kept


def test_after_its_time_there_is_nothing_to_roll_back_to(promoted: Promotion) -> None:
    before = promoted.tables()
    expire(promoted)
    with pytest.raises(NodeError, match="nothing to roll back to") as refused:
        run_rollback(promoted)
    assert refused.value.code == "ROLLBACK_FAILED"
    assert (promoted.tables(), promoted.release()) == (before, promoted.job_id)
    assert promoted.read_state()["status"] == "active"


def test_a_rollback_killed_before_it_began_is_prepared_anew_and_refused_once_nothing_is_kept(
    promoted: Promotion, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, job_id = promoted.tables(), str(uuid4())
    with monkeypatch.context() as patched:
        patched.setattr(
            "ansible_collections.pressluft.wordpress.plugins.module_utils.rollback.run_cut_over",
            lambda *_: {},
        )
        roll_back(make_call(promoted, job_id))
    expire(promoted)
    look_at_health(promoted)
    call = make_call(promoted, job_id)
    with pytest.raises(NodeError, match="nothing to roll back to"):
        roll_back(dataclasses.replace(call, job=dataclasses.replace(call.job, epoch=2)))
    assert (promoted.tables(), promoted.read_state()["status"]) == (before, "active")


def test_a_failed_promotion_leaves_the_one_before_it_to_be_rolled_back(promoted: Promotion) -> None:
    kept, releases = promoted.own_databases(), promoted.releases()
    second = promoted.next_job()
    promoted.pair.path("staging", THEME).write_text(BROKEN)
    second.stage()
    with pytest.raises(NodeError):
        second.cut_over()
    assert (second.own_databases(), second.releases()) == (kept, releases)
    run_rollback(promoted)
    assert (promoted.own_databases(), promoted.releases()) == (set(), {"first"})


def test_of_two_promotions_only_the_last_can_be_rolled_back(promoted: Promotion) -> None:
    after_first, code = promoted.tables(), promoted.code()
    second = promoted.next_job()
    promoted.pair.sql("UPDATE S.slides SET width = 99")
    second.stage()
    second.cut_over()
    run_rollback(promoted)
    assert (promoted.tables(), promoted.code(), promoted.release()) == (after_first, code, promoted.job_id)
    assert (promoted.own_databases(), promoted.releases()) == (set(), {promoted.job_id})
    with pytest.raises(NodeError, match="nothing to roll back to"):
        run_rollback(promoted)


def test_a_job_that_would_take_the_name_of_kept_tables_is_refused(promoted: Promotion) -> None:
    kept = promoted.own_databases()
    promoted.pair.sql("UPDATE S.slides SET width = 99")
    twin = dataclasses.replace(promoted, job_id=promoted.job_id[:8] + str(uuid4())[8:])
    with pytest.raises(NodeError, match="old tables that are kept") as refused:
        twin.stage()
    assert refused.value.code == "INTENT_INVALID"
    assert promoted.own_databases() == kept
