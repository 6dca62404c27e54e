"""What production keeps, attacked from the side: other spellings, nested folders, edits in the last moment."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError

from reconciler.stack.mariadb import Login, MariaDB
from tests.integration.node.observed_pair import PROTECTION
from tests.integration.node.plain_site import BROKEN, THEME, Promotion, change_staging, make_promotion
from tests.integration.node.test_rollback import run_rollback

DATA = "wp-content/plugins/shop/data"


@pytest.fixture
def promotion(mariadb: MariaDB, admin: Any, database: Login, tmp_path: Path) -> Iterator[Promotion]:
    with make_promotion(mariadb, admin, database.user, tmp_path) as made:
        change_staging(made)
        yield made


@pytest.mark.parametrize("spelling", ["SiteURL", "siteurl ", "sïteurl"])
def test_another_spelling_of_a_kept_option_does_not_overwrite_it(promotion: Promotion, spelling: str) -> None:
    promotion.pair.sql(
        f"UPDATE S.options SET option_name = '{spelling}', option_value = 'evil' WHERE option_name = 'siteurl'"
    )
    with pytest.raises(NodeError, match="siteurl") as refused:
        promotion.stage()
    assert refused.value.code == "OVERWRITE_BLOCKED"
    assert promotion.option("siteurl") == "https://shop.test"
    assert (promotion.own_databases(), promotion.releases()) == (set(), {"first"})


def test_an_option_that_the_source_spells_anew_is_renamed(promotion: Promotion) -> None:
    promotion.pair.sql("UPDATE S.options SET option_name = 'BlogName' WHERE option_name = 'blogname'")
    promotion.stage()
    promotion.run_program()
    promotion.admin.execute(
        f"SELECT option_name, option_value FROM {promotion.production.database}.wp_options"
        " WHERE option_name = 'blogname'"
    )
    assert promotion.admin.fetchall() == (("BlogName", "Better shop"),)


def test_a_kept_file_that_production_edits_after_staging_stays_edited(promotion: Promotion) -> None:
    robots = promotion.pair.path("production", "robots.txt")
    robots.write_text("Disallow: /old")
    promotion.stage()
    robots.write_text("Disallow: /new")
    config = promotion.pair.path("production", "wp-config.php")
    config.unlink()
    config.write_text("<?php // no longer a link")
    promotion.cut_over()
    assert promotion.release() == promotion.job_id
    assert promotion.code()["robots.txt"] == b"Disallow: /new"
    assert promotion.code()["wp-config.php"] == b"<?php // no longer a link"


def test_a_kept_file_that_production_removes_after_staging_stays_away(promotion: Promotion) -> None:
    robots = promotion.pair.path("production", "robots.txt")
    robots.write_text("Disallow: /old")
    promotion.stage()
    robots.unlink()
    promotion.cut_over()
    assert "robots.txt" not in promotion.code()


def test_a_kept_file_edited_while_the_new_release_was_live_survives_its_rollback(
    promotion: Promotion,
) -> None:
    promotion.pair.path("production", "robots.txt").write_text("before")
    promotion.pair.path("staging", THEME).write_text(BROKEN)
    promotion.stage()

    def write(step: str) -> None:
        if step == "switched" and promotion.release() == promotion.job_id:
            promotion.pair.path("production", "robots.txt").write_text("during")

    promotion.run_program(on_step=write)
    assert (promotion.release(), promotion.code()["robots.txt"]) == ("first", b"during")


def test_a_kept_file_edited_since_the_promotion_survives_a_manual_rollback(promotion: Promotion) -> None:
    promotion.pair.path("production", "robots.txt").write_text("before")
    promotion.stage()
    promotion.cut_over()
    promotion.pair.path("production", "robots.txt").write_text("since")
    run_rollback(promotion)
    assert (promotion.release(), promotion.code()["robots.txt"]) == ("first", b"since")


@pytest.fixture
def nested(promotion: Promotion) -> Promotion:
    """A plugin whose data folder is protected: a link into the shared folder, on both sides."""
    rules = dict(PROTECTION, protected_paths=[*PROTECTION["protected_paths"], DATA])
    promotion.protection = rules
    for side, root in (
        ("production", promotion.production.root),
        ("staging", promotion.pair.staging.root),
    ):
        shared = Path(root, "shared", "bookings")
        shared.mkdir()
        (shared / "list.txt").write_text(side)
        promotion.pair.path(side, DATA).symlink_to(shared)
    promotion.pair.take_baseline(rules)
    promotion.pair.path("staging", "wp-content/plugins/shop/shop.php").write_text("<?php /* shop 2.0 */")
    return promotion


def test_a_protected_folder_inside_a_promoted_plugin_stays_productions(nested: Promotion) -> None:
    nested.stage()
    nested.cut_over()
    assert nested.release() == nested.job_id
    assert nested.pair.path("production", "wp-content/plugins/shop/shop.php").read_text().find("2.0") > 0
    assert (nested.pair.path("production", DATA) / "list.txt").read_text() == "production"


def test_a_protected_folder_inside_a_deleted_plugin_stays(nested: Promotion) -> None:
    (nested.pair.path("staging", "wp-content/plugins/shop/shop.php")).unlink()
    nested.stage()
    nested.cut_over()
    assert not nested.pair.path("production", "wp-content/plugins/shop/shop.php").exists()
    assert (nested.pair.path("production", DATA) / "list.txt").read_text() == "production"


@pytest.mark.parametrize("aim", ["{source}/shared/inc.php", "../../../../../../staging/shared/inc.php"])
def test_a_promoted_link_into_the_sources_root_is_refused(promotion: Promotion, aim: str) -> None:
    source = promotion.pair.staging.root
    Path(source, "shared", "inc.php").write_text("<?php // changed on the source at any time")
    promotion.pair.path("staging", "wp-content/plugins/shop/inc.php").symlink_to(aim.format(source=source))
    assert promotion.pair.path("staging", "wp-content/plugins/shop/inc.php").exists()
    with pytest.raises(NodeError, match=r"inc\.php") as refused:
        promotion.stage()
    assert refused.value.code == "SCHEMA_UNSUPPORTED"
    assert (promotion.own_databases(), promotion.releases()) == (set(), {"first"})


@pytest.mark.parametrize("keep", [0, 3600])
def test_rows_written_in_the_last_moment_before_the_rename_are_saved_aside(
    promotion: Promotion, keep: int
) -> None:
    promotion.stage()

    def write(step: str) -> None:
        if step == "prepared":
            promotion.pair.sql(
                "INSERT INTO P.slides (image, width) VALUES ('a booking', 1)",
                "UPDATE P.options SET option_value = 'late' WHERE option_name = 'blogname'",
            )

    content = json.loads((promotion.job_folder / "cut.json").read_text())
    (promotion.job_folder / "cut.json").write_text(json.dumps(dict(content, keep_old=keep)))
    promotion.run_program(on_step=write)
    report = promotion.cut_over()["cut_over"]
    assert {late["table"] for late in report["late_writes"]} == {"slides", "options"}
    assert set(report["saved"]) == {"table:slides", "option:blogname"}
    for table, text in (("wp_slides", "a booking"), ("wp_options", "late")):
        with gzip.open(promotion.job_folder / "saved" / f"{table}.jsonl.gz", "rt") as stream:
            assert text in stream.read()
