"""The cut-over: atomic, exact about options, reversed when the site is not healthy."""

import gzip
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils import exchange
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError

from reconciler.stack.mariadb import Login, MariaDB
from tests.integration.node.observed_pair import find_differing
from tests.integration.node.plain_site import BROKEN, THEME, Promotion, change_staging, make_promotion


@pytest.fixture
def promotion(mariadb: MariaDB, admin: Any, database: Login, tmp_path: Path) -> Iterator[Promotion]:
    with make_promotion(mariadb, admin, database.user, tmp_path) as made:
        change_staging(made)
        yield made


def test_a_promotion_brings_exactly_what_the_source_changed(promotion: Promotion) -> None:
    before = promotion.tables()
    promotion.stage()
    result = promotion.cut_over()
    assert result["health"]["healthy"] is True
    assert promotion.release() == promotion.job_id
    assert promotion.option("blogname") == "Better shop"
    assert promotion.option("logo") == "https://shop.test/new.png"
    assert promotion.option("siteurl") == "https://shop.test"
    assert [row[1] for row in promotion.rows("slides")] == [
        "https://shop.test/a.png",
        "https://shop.test/b.png",
    ]
    assert promotion.rows("fresh") == [(1, "https://shop.test/fresh")]
    assert promotion.code()[THEME] == b"body { color: green }"
    assert "wp-content/plugins/hello.php" not in promotion.code()
    after = promotion.tables()
    for name in ("wp_posts", "wp_users", "wp_notes"):
        assert after[name] == before[name]


def test_everything_else_of_production_stays_to_the_byte(promotion: Promotion) -> None:
    before, code = promotion.tables(), promotion.code()
    promotion.stage()
    promotion.cut_over()
    changed = {name for name, content in promotion.tables().items() if before.get(name) != content}
    assert changed == {"wp_options", "wp_slides", "wp_fresh"}
    assert {name for name, content in promotion.code().items() if code[name] != content} == {THEME}


def test_staging_changes_nothing_live(promotion: Promotion) -> None:
    before, code = promotion.tables(), promotion.code()
    promotion.stage()
    assert (promotion.tables(), promotion.code(), promotion.release()) == (before, code, "first")


def test_a_healthy_cut_over_is_recorded_and_its_job_never_runs_again(promotion: Promotion) -> None:
    promotion.stage()
    result = promotion.cut_over()
    state = promotion.read_state()
    assert (state["status"], state["current_release"], state["previous_release"]) == (
        "active",
        promotion.job_id,
        "first",
    )
    assert state["last_change_at"] is not None
    with pytest.raises(NodeError) as refused:
        promotion.check()
    assert refused.value.code == "JOB_FINISHED"
    assert promotion.cut_over()["cut_over"] == result["cut_over"]  # but how it ended can be asked again


def test_the_baseline_of_what_was_promoted_is_what_was_installed(promotion: Promotion) -> None:
    promotion.stage()
    promotion.cut_over()
    observation = promotion.next_job().check()
    assert find_differing(observation) == set()


def test_the_old_tables_and_release_are_kept_until_the_next_promotion(promotion: Promotion) -> None:
    promotion.stage()
    promotion.cut_over()
    kept = promotion.own_databases()
    assert len(kept) == 1
    assert promotion.releases() == {"first", promotion.job_id}
    second = promotion.next_job()
    promotion.pair.sql("UPDATE S.slides SET width = 99")
    second.stage()
    second.cut_over()
    assert second.releases() == {promotion.job_id, second.job_id}
    assert len(second.own_databases()) == 1
    assert second.own_databases() != kept


def test_an_unhealthy_site_gets_every_table_and_file_back_to_the_byte(promotion: Promotion) -> None:
    before, code = promotion.tables(), promotion.code()
    promotion.pair.path("staging", THEME).write_text(BROKEN)
    promotion.stage()
    with pytest.raises(NodeError) as failed:
        promotion.cut_over()
    assert failed.value.code == "HEALTH_CHECK_FAILED"
    assert "HTTP 500" in failed.value.message
    assert (promotion.tables(), promotion.code(), promotion.release()) == (before, code, "first")
    assert (promotion.own_databases(), promotion.releases()) == (set(), {"first"})
    assert promotion.read_state()["status"] == "active"


def test_options_written_right_up_to_the_rename_and_after_it_are_all_there(promotion: Promotion) -> None:
    promotion.stage()

    def write(step: str) -> None:
        if step == "prepared":  # the kept rows were copied: these three come too late for that copy
            promotion.pair.sql(
                "UPDATE P.options SET option_value = 'late' WHERE option_name = '_transient_x'",
                "INSERT INTO P.options (option_name, option_value) VALUES ('late_new', 'here')",
                "DELETE FROM P.options WHERE option_name = 'db_version'",
            )
        if step == "renamed":  # the new table is live, the late rows are not carried yet
            promotion.pair.sql("UPDATE P.options SET option_value = 'newest' WHERE option_name = 'home'")

    promotion.run_program(on_step=write)
    assert promotion.option("_transient_x") == "late"
    assert promotion.option("late_new") == "here"
    assert promotion.option("db_version") is None
    assert promotion.option("home") == "newest"
    assert promotion.option("blogname") == "Better shop"


def test_a_late_write_never_overwrites_what_a_visitor_wrote_into_the_new_table(promotion: Promotion) -> None:
    promotion.stage()

    def write(step: str) -> None:
        value = {"prepared": "old table", "renamed": "new table"}.get(step)
        if value:
            promotion.pair.sql(f"UPDATE P.options SET option_value = '{value}' WHERE option_name = 'home'")

    promotion.run_program(on_step=write)
    assert promotion.option("home") == "new table"


def test_options_written_while_the_new_release_was_live_survive_its_rollback(promotion: Promotion) -> None:
    promotion.pair.path("staging", THEME).write_text(BROKEN)
    promotion.stage()

    def write(step: str) -> None:
        if step == "reloaded" and promotion.release() == promotion.job_id:
            promotion.pair.sql("UPDATE P.options SET option_value = 'during' WHERE option_name = 'home'")
        if step == "prepared back":
            promotion.pair.sql(
                "UPDATE P.options SET option_value = 'back' WHERE option_name = '_transient_x'"
            )

    promotion.run_program(on_step=write)
    assert promotion.release() == "first"
    assert promotion.option("home") == "during"
    assert promotion.option("_transient_x") == "back"
    assert promotion.option("blogname") == "Shop"


def test_rows_written_to_a_promoted_table_before_the_rename_are_reported(promotion: Promotion) -> None:
    promotion.stage()

    def write(step: str) -> None:
        if step == "prepared":
            promotion.pair.sql("INSERT INTO P.slides (image, width) VALUES ('late', 1)")

    promotion.run_program(on_step=write)
    [late] = promotion.cut_over()["cut_over"]["late_writes"]
    assert (late["table"], late["rows"]) == ("slides", 1)


def test_rows_written_before_a_rollback_are_saved_aside(promotion: Promotion) -> None:
    promotion.pair.path("staging", THEME).write_text(BROKEN)
    promotion.stage()

    def write(step: str) -> None:
        if step == "switched":
            promotion.pair.sql("INSERT INTO P.slides (image, width) VALUES ('visitor', 1)")

    promotion.run_program(on_step=write)
    [saved] = read_saved(promotion, "slides")
    assert (saved["image"], saved["width"]) == ("visitor", "1")
    assert "visitor" not in [row[1] for row in promotion.rows("slides")]


def read_saved(promotion: Promotion, table: str) -> list[dict[str, Any]]:
    with gzip.open(promotion.job_folder / "saved" / f"wp_{table}.jsonl.gz", "rt") as stream:
        return [json.loads(line) for line in stream]


def test_of_a_table_that_goes_only_what_was_written_is_saved(promotion: Promotion) -> None:
    promotion.pair.sql(
        "INSERT INTO S.slides (image, width) SELECT CONCAT('bulk ', seq), seq FROM seq_1_to_30000"
    )
    promotion.pair.path("staging", THEME).write_text(BROKEN)
    promotion.stage()

    def write(step: str) -> None:
        if step == "switched":
            promotion.pair.sql(
                "UPDATE P.slides SET width = 0 WHERE image = 'bulk 29999'",
                "UPDATE P.options SET option_value = 'during' WHERE option_name = 'blogname'",
                "INSERT INTO P.fresh (link) VALUES ('one'), ('two')",
                "DELETE FROM P.fresh WHERE id = 1",
            )

    promotion.run_program(on_step=write)
    # Row by row up to 20,000 rows; of a larger table the part in which something changed.
    assert len(read_saved(promotion, "slides")) < 9000
    assert "0" in [row["width"] for row in read_saved(promotion, "slides") if row["image"] == "bulk 29999"]
    fresh = read_saved(promotion, "fresh")
    assert [row["link"] for row in fresh if "link" in row] == ["one", "two"]
    assert [row["deleted"] for row in fresh if "deleted" in row] == ["1"]
    assert [row["option_value"] for row in read_saved(promotion, "options")] == ["during"]


@pytest.mark.parametrize(
    "write",
    [
        pytest.param("UPDATE P.slides SET width = 5", id="a table that is replaced"),
        pytest.param(
            "UPDATE P.options SET option_value = 'x' WHERE option_name = 'blogname'", id="an option"
        ),
    ],
)
def test_production_written_after_staging_is_not_overwritten(promotion: Promotion, write: str) -> None:
    promotion.stage()
    promotion.pair.sql(write)
    before = promotion.tables()
    with pytest.raises(NodeError) as blocked:
        promotion.cut_over()
    assert blocked.value.code == "OVERWRITE_BLOCKED"
    assert (promotion.tables(), promotion.release()) == (before, "first")
    assert (promotion.own_databases(), promotion.releases()) == (set(), {"first"})
    assert promotion.read_state()["status"] == "active"


def test_a_plugin_that_production_updated_after_staging_is_not_lost(promotion: Promotion) -> None:
    promotion.stage()
    promotion.pair.path("production", "wp-content/plugins/shop/shop.php").write_text("<?php /* shop 2.0 */")
    with pytest.raises(NodeError, match="plugins/shop"):
        promotion.cut_over()
    assert promotion.release() == "first"


def test_numbers_given_by_production_are_never_given_again(promotion: Promotion) -> None:
    promotion.pair.sql("ALTER TABLE P.slides AUTO_INCREMENT = 500")
    promotion.stage()
    promotion.cut_over()
    promotion.pair.sql("INSERT INTO P.slides (image) VALUES ('after')")
    assert promotion.rows("slides", "id")[-1][0] >= 500


def test_a_long_transaction_on_a_replaced_table_ends_in_a_refusal_that_may_be_retried(
    promotion: Promotion, mariadb: MariaDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "RENAME_ATTEMPTS", 2)
    promotion.stage()
    before = promotion.tables()
    with mariadb.connect(promotion.production.database) as cursor:
        cursor.execute("START TRANSACTION")
        cursor.execute("SELECT * FROM wp_slides")
        promotion.run_program()
    with pytest.raises(NodeError, match="long transactions") as refused:
        promotion.cut_over()
    assert refused.value.retry is True
    assert promotion.tables() == before


def test_two_programs_at_once_cut_over_once(promotion: Promotion) -> None:
    promotion.stage()
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _: promotion.cut_over(), range(2)))
    assert results[0]["cut_over"] == results[1]["cut_over"]
    assert promotion.release() == promotion.job_id


def test_a_superseded_claim_cannot_cut_over(promotion: Promotion) -> None:
    promotion.epoch = 2
    promotion.stage()
    promotion.epoch = 1
    with pytest.raises(NodeError) as refused:
        promotion.cut_over()
    assert refused.value.code == "CLAIM_SUPERSEDED"
    assert promotion.release() == "first"


def test_without_tables_only_the_release_changes(promotion: Promotion) -> None:
    before = promotion.tables()
    promotion.stage(tables=[], options={})
    promotion.cut_over()
    assert (promotion.tables(), promotion.release()) == (before, promotion.job_id)
