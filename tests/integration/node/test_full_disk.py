"""A disk that runs full at any moment: production is one thing or the other, and whoever reads the error knows."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils import reserve
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError

from reconciler.stack.mariadb import Login, MariaDB
from tests.integration.node.plain_site import BROKEN, THEME, Promotion, change_staging, make_promotion
from tests.integration.node.test_stage import mount_small


@pytest.fixture
def promotion(mariadb: MariaDB, admin: Any, database: Login, tmp_path: Path) -> Iterator[Promotion]:
    with make_promotion(mariadb, admin, database.user, tmp_path) as made:
        change_staging(made)
        yield made


def fill(folder: str) -> None:
    """Leave not a byte."""
    with contextlib.suppress(OSError), Path(folder, "filler").open("ab", buffering=0) as stream:
        while True:
            stream.write(os.urandom(65536))
    with contextlib.suppress(OSError), Path(folder, "filler").open("ab", buffering=0) as stream:
        while True:
            stream.write(b"x")


@pytest.mark.parametrize("step", ["started", "prepared", "renamed", "switched", "judged"])
def test_the_nodes_disk_runs_full_in_the_middle_of_a_cut_over(promotion: Promotion, step: str) -> None:
    before, code = promotion.tables(), promotion.code()
    promotion.stage()
    with mount_small(Path(promotion.state_dir), megabytes=12):
        start_program(promotion, step)
        state = promotion.read_state()
        assert state["status"] == "active"
        if promotion.release() == promotion.job_id:
            assert promotion.option("blogname") == "Better shop"
            assert promotion.job_id in Path(promotion.job_folder.parents[1], "finished.txt").read_text()
        else:
            assert (promotion.tables(), promotion.code()) == (before, code)
            assert (promotion.own_databases(), promotion.releases()) == (set(), {"first"})


def start_program(promotion: Promotion, step: str) -> None:
    folder = promotion.job_folder.parents[1]
    reserve.set_aside(str(folder))
    promotion.run_program(on_step=lambda name: fill(promotion.state_dir) if name == step else None)


def test_an_unhealthy_release_is_taken_back_on_a_full_disk(promotion: Promotion) -> None:
    before, code = promotion.tables(), promotion.code()
    promotion.pair.path("staging", THEME).write_text(BROKEN)
    promotion.stage()
    with mount_small(Path(promotion.state_dir), megabytes=12):
        start_program(promotion, "renamed")
        assert (promotion.tables(), promotion.code()) == (before, code)
        with pytest.raises(NodeError) as failed:
            promotion.cut_over()
        assert failed.value.code == "HEALTH_CHECK_FAILED"


def test_rows_that_cannot_be_set_aside_stay_where_they_are_and_the_environment_goes_on(
    promotion: Promotion,
) -> None:
    before = promotion.tables()
    promotion.pair.path("staging", THEME).write_text(BROKEN)
    promotion.stage()
    large = os.urandom(3 << 20).hex()

    def write(step: str) -> None:
        if step == "switched":
            promotion.pair.sql("INSERT INTO P.fresh (link) VALUES ('visitor')")
            promotion.admin.execute(
                f"ALTER TABLE {promotion.production.database}.wp_fresh MODIFY link LONGTEXT"
            )
            promotion.pair.sql(f"INSERT INTO P.fresh (link) VALUES ('{large}')")
        if step == "judged":
            fill(promotion.state_dir)

    with mount_small(Path(promotion.state_dir), megabytes=12):
        reserve.set_aside(str(promotion.job_folder.parents[1]))
        promotion.run_program(on_step=write)
        with pytest.raises(NodeError, match="not healthy") as failed:
            promotion.cut_over()
        [shadow] = promotion.own_databases()
        assert (failed.value.code, shadow in failed.value.remedy) == ("HEALTH_CHECK_FAILED", True)
        assert (promotion.tables(), promotion.release()) == (before, "first")
        assert (promotion.read_state()["status"], promotion.releases()) == ("active", {"first"})
        promotion.admin.execute(f"SELECT COUNT(*) FROM {shadow}.wp_fresh")
        assert promotion.admin.fetchone()[0] >= 3


def test_without_room_for_a_journal_nothing_is_begun(promotion: Promotion) -> None:
    before = promotion.tables()
    promotion.stage()
    with mount_small(Path(promotion.state_dir), megabytes=12):
        fill(promotion.state_dir)
        with pytest.raises(NodeError, match="not enough disk space") as refused:
            promotion.cut_over(keep_old_release=None)
        assert refused.value.code == "ANSIBLE_HOST_FAILED"
        assert "Nothing live was changed" in refused.value.remedy
        assert (promotion.tables(), promotion.release()) == (before, "first")
