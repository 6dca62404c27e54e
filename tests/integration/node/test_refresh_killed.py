"""kill -9 after every step of a refresh: never a baseline of data that did not arrive, and it ends well."""

import dataclasses
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import Job
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.refresh import STEPS
from ansible_collections.pressluft.wordpress.plugins.module_utils.reset import reset

from reconciler.stack.mariadb import Login, MariaDB
from tests.integration.node.refreshed_pair import Refreshing, make_refreshing

CASES = [
    pytest.param(scope, step, id=f"{scope}-{number:02}-{step.replace(' ', '-')}")
    for scope in ("full", "protected")
    for number, step in enumerate(STEPS)
]
NEW_POST = "Order 3"


@pytest.fixture
def refreshing(mariadb: MariaDB, admin: Any, database: Login, tmp_path: Path) -> Iterator[Refreshing]:
    with make_refreshing(mariadb, admin, database.user, tmp_path) as made:
        made.run_anew("full")
        made.pair.sql(
            f"INSERT INTO P.posts (post_title) VALUES ('{NEW_POST}')", "UPDATE P.slides SET width = 99"
        )
        made.pair.path("production", "wp-content/themes/leaf/style.css").write_text("body { color: red }")
        made.pair.path("production", "wp-content/uploads/2024/b.png").write_bytes(b"new")
        yield made


def _has_new_post(refreshing: Refreshing) -> bool:
    return (NEW_POST,) in refreshing.rows("posts", "post_title")


def _assert_finished(refreshing: Refreshing, scope: str) -> None:
    """The source is the copy, its baseline says so, and nothing is left lying about."""
    drifted = {
        found["name"]
        for found in refreshing.pair.observe()["resources"]
        if found["production"] != found["production_baseline"]
        and found["name"] != "mu-plugins/pressluft-quiet.php"
    }
    assert _has_new_post(refreshing)
    assert drifted == (set() if scope == "full" else {"slides", "themes/leaf"})
    assert refreshing.own_databases() == set()
    assert len(list(Path(refreshing.source.root, "releases").iterdir())) == 1


@pytest.mark.parametrize(("scope", "step"), CASES)
def test_a_kill_leaves_no_false_clean_and_the_same_job_ends_well(
    refreshing: Refreshing, scope: str, step: str
) -> None:
    known = refreshing.read_baseline()
    before = refreshing.checksum_production()
    refreshing.kill_at(step, scope)
    if refreshing.read_baseline() != known:
        assert _has_new_post(refreshing), "a baseline of data that never arrived"
    refreshing.run(scope)
    _assert_finished(refreshing, scope)
    assert refreshing.checksum_production() == before


@pytest.mark.parametrize("step", ["files copied", "prepared", "renamed", "baseline written", "recorded"])
def test_after_a_kill_another_job_can_refresh(refreshing: Refreshing, step: str) -> None:
    refreshing.kill_at(step, "protected")
    other = dataclasses.replace(refreshing, job_id=str(uuid4()))
    other.run("protected")
    _assert_finished(refreshing, "protected")


def test_a_job_that_another_one_cleaned_up_after_does_not_take_its_old_baseline(
    refreshing: Refreshing,
) -> None:
    refreshing.kill_at("prepared", "protected")
    other = dataclasses.replace(refreshing, job_id=str(uuid4()))
    other.run("protected")
    known = other.read_baseline()
    refreshing.pair.sql("INSERT INTO P.posts (post_title) VALUES ('Order 4')")
    with pytest.raises(NodeError) as caught:
        refreshing.run("protected")
    assert caught.value.code == "CLAIM_SUPERSEDED"
    assert refreshing.read_baseline() == known


def test_a_job_that_comes_back_after_another_one_starts_over(refreshing: Refreshing) -> None:
    refreshing.run_anew("protected")
    refreshing.pair.sql("CREATE TABLE P.wc_orders (id INT PRIMARY KEY)")
    refreshing.kill_at("prepared", "protected")
    dataclasses.replace(refreshing, job_id=str(uuid4())).run("protected")
    refreshing.pair.sql("INSERT INTO P.wc_orders VALUES (7)")
    # Its own new table is live by now, as if its RENAME had happened.
    dataclasses.replace(refreshing, epoch=2).run("protected")
    assert refreshing.rows("wc_orders") == [(7,)]
    _assert_finished(refreshing, "protected")


def test_a_first_set_up_that_was_killed_before_the_rename_leaves_no_baseline(
    mariadb: MariaDB, admin: Any, database: Login, tmp_path: Path
) -> None:
    with make_refreshing(mariadb, admin, database.user, tmp_path) as made:
        made.pair.admin.execute(f"DROP DATABASE {made.source.database}")
        made.pair.admin.execute(f"CREATE DATABASE {made.source.database}")
        made.kill_at("prepared", "full")
        # Whoever tidies up by hand must not make it look as if the tables had gone live.
        for name in made.own_databases():
            made.pair.admin.execute(f"DROP DATABASE {name}")
        assert made.read_baseline() is None
        made.run("full")
        assert len(made.rows("posts")) == 2
        assert made.read_baseline() is not None


@pytest.mark.parametrize(("step", "is_new"), [("prepared", False), ("renamed", True)])
def test_a_reset_serves_the_code_that_belongs_to_the_tables_of_a_killed_refresh(
    refreshing: Refreshing, step: str, *, is_new: bool
) -> None:
    before = Path(refreshing.source.root, "current").readlink()
    refreshing.kill_at(step, "full")
    call = refreshing.call("full")
    job = Job(str(uuid4()), 1, "health_check", "reset")
    with suppress(NodeError):  # nobody serves these sites, so it is not healthy
        reset(dataclasses.replace(call, job=job, environment=refreshing.source, production=None, source=None))
    after = Path(refreshing.source.root, "current").readlink()
    assert (after != before, _has_new_post(refreshing)) == (is_new, is_new)
    other = dataclasses.replace(refreshing, job_id=str(uuid4()))
    other.run("full")
    _assert_finished(other, "full")
