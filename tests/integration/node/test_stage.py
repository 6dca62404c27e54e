"""Staging: what the plan says and the observation allows, and nothing left behind when it fails."""

import dataclasses
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils import free_space
from ansible_collections.pressluft.wordpress.plugins.module_utils.baseline import (
    advance_baseline,
    name_refresh_within,
    read_baseline,
    write_baseline,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.stage import discard, stage

from reconciler.stack.mariadb import Login, MariaDB
from tests.integration.node.plain_site import THEME, Promotion, change_staging, make_promotion


@pytest.fixture
def promotion(mariadb: MariaDB, admin: Any, database: Login, tmp_path: Path) -> Iterator[Promotion]:
    with make_promotion(mariadb, admin, database.user, tmp_path) as made:
        change_staging(made)
        yield made


def refuse(promotion: Promotion, code: str, observation: dict[str, Any] | None = None, **plan: Any) -> str:
    """Stage, and see it refused with this code while nothing is left of it; returns the message."""
    before, served = promotion.tables(), promotion.code()
    with pytest.raises(NodeError) as refused:
        promotion.stage(observation, **plan)
    assert refused.value.code == code, refused.value.message
    assert (promotion.tables(), promotion.code()) == (before, served)
    assert (promotion.own_databases(), promotion.releases()) == (set(), {"first"})
    return str(refused.value.message)


def test_staging_says_what_it_staged(promotion: Promotion) -> None:
    staged = promotion.stage()
    assert (staged["tables"], staged["rows"], staged["options"], staged["components"]) == (2, 3, 2, 2)
    assert (staged["release"], list(staged["left_alone"])) == (promotion.job_id, [])


def test_a_second_run_finds_the_work_of_the_first(promotion: Promotion) -> None:
    observation = promotion.check()
    first = promotion.stage(observation)
    inode = Path(promotion.production.release(promotion.job_id)).stat().st_ino
    assert {**promotion.stage(observation), "left_alone": ()} == {**first, "left_alone": ()}
    assert Path(promotion.production.release(promotion.job_id)).stat().st_ino == inode


def test_what_an_interrupted_run_left_is_replaced(promotion: Promotion) -> None:
    shadow = f"{promotion.production.database}__pressluft_{promotion.job_id[:8]}"
    promotion.admin.execute(f"CREATE DATABASE {shadow}")
    promotion.admin.execute(f"CREATE TABLE {shadow}.wp_slides (nonsense INT)")
    release = Path(promotion.production.release(promotion.job_id))
    (release / "wp-content").mkdir(parents=True)
    (release / "wp-content" / "half.php").write_text("<?php")
    promotion.stage()
    assert not (release / "wp-content" / "half.php").exists()
    promotion.admin.execute(f"SELECT COUNT(*) FROM {shadow}.wp_slides WHERE image LIKE 'https://shop.test/%'")
    assert promotion.admin.fetchone() == (2,)


def test_protected_paths_and_preserved_files_stay_the_links_they_were(promotion: Promotion) -> None:
    promotion.stage()
    release = Path(promotion.production.release(promotion.job_id))
    assert (release / "wp-content" / "uploads").readlink() == Path("../../../shared/wp-content/uploads")
    assert (release / "wp-config.php").readlink() == Path("../../shared/wp-config.php")


@pytest.mark.parametrize(
    "plan",
    [
        pytest.param({"tables": ["posts"]}, id="a protected table"),
        pytest.param({"tables": ["users"]}, id="a preserved table"),
        pytest.param({"tables": ["options"]}, id="the options as a whole"),
        pytest.param({"tables": ["nobody_knows"]}, id="a table that was not observed"),
        pytest.param({"options": {"take": ["siteurl"]}}, id="a preserved option"),
        pytest.param({"options": {"delete": ["wp_user_roles"]}}, id="a preserved option to be deleted"),
        pytest.param({"components": {"take": ["files/robots.txt"]}}, id="a preserved file"),
        pytest.param({"components": {"take": ["files/wp-config.php"]}}, id="the configuration"),
        pytest.param({"components": {"delete": ["files/wp-content/uploads/2024/a.png"]}}, id="an upload"),
        pytest.param({"components": {"take": ["files/../../shared"]}}, id="a way out of the release"),
    ],
)
def test_a_plan_that_names_what_is_kept_is_refused(promotion: Promotion, plan: dict[str, Any]) -> None:
    refuse(promotion, "OVERWRITE_BLOCKED", **plan)


def test_a_protection_that_arrives_empty_still_protects_what_people_wrote(promotion: Promotion) -> None:
    observation = promotion.check()
    for found in observation["resources"]:
        found["protection"] = "mergeable"
    path = promotion.job_folder / "observation.json"
    path.write_text(json.dumps(observation))
    call = promotion.call(
        "stage", observation_id=observation["id"], plan={"tables": ["posts"], "options": {}, "components": {}}
    )
    with pytest.raises(NodeError) as refused:
        stage(dataclasses.replace(call, protection={}))
    assert refused.value.code == "OVERWRITE_BLOCKED"


@pytest.mark.parametrize(
    "plan",
    [
        pytest.param({"tables": ["notes"]}, id="a table"),
        pytest.param({"options": {"take": ["template_of_nobody"]}}, id="an option that is not there"),
        pytest.param({"components": {"take": ["plugins/hello.php"]}}, id="a plugin the source deleted"),
        pytest.param({"components": {"delete": ["plugins/shop"]}}, id="a plugin the source still has"),
    ],
)
def test_a_plan_that_does_not_follow_from_the_observation_is_refused(
    promotion: Promotion, plan: dict[str, Any]
) -> None:
    with pytest.raises(NodeError) as refused:
        promotion.stage(**plan)
    assert refused.value.code in {"SOURCE_CHANGED", "OVERWRITE_BLOCKED"}
    assert promotion.own_databases() == set()


def test_an_observation_that_shows_drift_stages_nothing(promotion: Promotion) -> None:
    promotion.pair.sql("INSERT INTO P.posts (post_title) VALUES ('An order')")
    assert "posts" in refuse(promotion, "DRIFT_GATE_UNMET")


def relabel_baseline(promotion: Promotion, *, job_id: str) -> None:
    """Let the baseline be one that a refresh within this job took."""
    side = promotion.pair.staging.id
    known = read_baseline(promotion.state_dir, side)
    name = name_refresh_within(job_id)
    made = advance_baseline(known, [], job_id=name, production={}, source={})
    write_baseline(promotion.state_dir, side, made, production={})


def test_what_visitors_wrote_since_this_jobs_own_refresh_is_no_drift(promotion: Promotion) -> None:
    relabel_baseline(promotion, job_id=promotion.job_id)
    promotion.pair.sql("INSERT INTO P.posts (post_title) VALUES ('An order')")
    assert promotion.stage()["tables"] == 2


@pytest.mark.parametrize(
    ("statement", "job_id"),
    [
        pytest.param(
            "INSERT INTO P.posts (post_title) VALUES ('An order')", str(uuid4()), id="another job's"
        ),
        pytest.param("DROP TABLE P.posts", None, id="a table that went"),
    ],
)
def test_what_visitors_did_not_write_since_this_jobs_own_refresh_is_drift(
    promotion: Promotion, statement: str, job_id: str | None
) -> None:
    relabel_baseline(promotion, job_id=job_id or promotion.job_id)
    promotion.pair.sql(statement)
    assert "posts" in refuse(promotion, "DRIFT_GATE_UNMET")


def test_a_plan_for_another_observation_is_refused(promotion: Promotion) -> None:
    observation = promotion.check()
    refuse(promotion, "SOURCE_CHANGED", dict(observation, id="another"))


@pytest.mark.parametrize(
    ("write", "name"),
    [
        pytest.param("UPDATE S.slides SET width = 77", "table:slides", id="a table"),
        pytest.param(
            "UPDATE S.options SET option_value = 'x' WHERE option_name = 'blogname'", "blogname", id="a row"
        ),
        pytest.param(
            "DELETE FROM S.options WHERE option_name = 'blogname'", "blogname", id="a row that went"
        ),
        pytest.param("DROP TABLE S.fresh", "table:fresh", id="a table that went"),
        pytest.param("ALTER TABLE S.slides ADD COLUMN more INT", "table:slides", id="a definition"),
    ],
)
def test_a_source_edited_after_the_check_is_not_promoted(promotion: Promotion, write: str, name: str) -> None:
    observation = promotion.check()
    promotion.pair.sql(write)
    assert name in refuse(promotion, "SOURCE_CHANGED", observation)


def test_a_theme_edited_after_the_check_is_not_promoted(promotion: Promotion) -> None:
    observation = promotion.check()
    promotion.pair.path("staging", THEME).write_text("body { color: red }")
    assert "themes/leaf" in refuse(promotion, "SOURCE_CHANGED", observation)


UNSUPPORTED = [
    pytest.param(
        "ALTER TABLE P.slides ADD FOREIGN KEY (id) REFERENCES P.posts (id)",
        "wp_slides",
        id="a foreign key to a table that stays",
    ),
    pytest.param(
        "CREATE TRIGGER tell AFTER INSERT ON P.slides FOR EACH ROW SET @x = 1",
        "tell",
        id="a trigger on production",
    ),
    pytest.param(
        "CREATE TRIGGER tell AFTER INSERT ON S.slides FOR EACH ROW SET @x = 1",
        "tell",
        id="a trigger on the source",
    ),
    pytest.param("ALTER TABLE S.fresh ENGINE=MyISAM", "MyISAM", id="a table without transactions"),
    pytest.param("CREATE VIEW S.seen AS SELECT 1 AS one", "view", id="a view"),
]


@pytest.mark.parametrize(("write", "name"), UNSUPPORTED)
def test_what_cannot_be_exchanged_is_refused_by_name(promotion: Promotion, write: str, name: str) -> None:
    promotion.pair.sql(
        "ALTER TABLE P.posts MODIFY ID INT AUTO_INCREMENT", "ALTER TABLE S.posts MODIFY ID INT AUTO_INCREMENT"
    )
    promotion.pair.take_baseline()
    promotion.pair.sql("UPDATE S.slides SET width = 3", "INSERT INTO S.fresh (link) VALUES ('more')")
    use = promotion.production if " P." in write else promotion.pair.staging
    promotion.admin.execute(f"USE {use.database}")
    promotion.pair.sql(write)
    observation = promotion.check()
    assert name in refuse(promotion, "SCHEMA_UNSUPPORTED", observation, tables=find_tables(observation))


def find_tables(observation: dict[str, Any]) -> list[str]:
    """Every mergeable table that the source changed, even where production changed it too."""
    return [
        found["name"]
        for found in observation["resources"]
        if found["kind"] == "table"
        and found["protection"] == "mergeable"
        and found["source"] != found["source_baseline"]
    ]


def test_a_login_that_may_not_create_databases_is_refused_by_name(promotion: Promotion) -> None:
    observation = promotion.check()
    name = f"n_{promotion.job_id[:8]}"
    promotion.admin.execute(f"CREATE USER {name}@localhost IDENTIFIED BY 'node'")
    promotion.admin.execute(f"GRANT PROCESS, RELOAD ON *.* TO {name}@localhost")
    for database in (promotion.production.database, promotion.pair.staging.database):
        promotion.admin.execute(f"GRANT ALL ON `{database}`.* TO {name}@localhost")
    login = Path(promotion.config_dir, "mysql.cnf")
    admin = Path(promotion.pair.defaults_file).read_text().splitlines()
    socket = next(line for line in admin if line.startswith("socket"))
    login.write_text(f"[client]\nuser = {name}\npassword = node\nhost = localhost\n{socket}\n")
    ini = Path(promotion.config_dir, "node.ini")
    ini.write_text(ini.read_text().replace(promotion.pair.defaults_file, str(login)))
    refused = refuse(promotion, "SCHEMA_UNSUPPORTED", observation)
    assert f"{promotion.production.database}__pressluft_{promotion.job_id[:8]}" in refused


def test_the_roles_of_either_prefix_stay_productions(promotion: Promotion) -> None:
    promotion.pair.sql(
        "INSERT INTO P.options (option_name, option_value) VALUES ('wp_user_roles', 'production')",
        "INSERT INTO S.options (option_name, option_value) VALUES ('stg_user_roles', 'staging')",
        "INSERT INTO S.options (option_name, option_value) VALUES ('wp_user_roles', 'staging')",
    )
    promotion.stage()
    promotion.cut_over()
    assert (promotion.option("wp_user_roles"), promotion.option("stg_user_roles")) == ("production", None)


def test_foreign_keys_between_replaced_tables_survive_the_cut_over(promotion: Promotion) -> None:
    promotion.pair.sql(
        "CREATE TABLE S.albums (id INT PRIMARY KEY)",
        "CREATE TABLE S.photos (id INT PRIMARY KEY, album INT, FOREIGN KEY (album) REFERENCES S.albums (id))",
        "INSERT INTO S.albums VALUES (1)",
        "INSERT INTO S.photos VALUES (1, 1)",
    )
    promotion.stage()
    promotion.cut_over()
    second = promotion.next_job()
    promotion.pair.sql("INSERT INTO S.photos VALUES (2, 1)", "INSERT INTO S.albums VALUES (2)")
    second.stage()
    second.cut_over()
    promotion.admin.execute(
        "SELECT REFERENCED_TABLE_SCHEMA, REFERENCED_TABLE_NAME FROM information_schema.KEY_COLUMN_USAGE"
        f" WHERE TABLE_SCHEMA = '{promotion.production.database}' AND REFERENCED_TABLE_NAME IS NOT NULL"
    )
    assert promotion.admin.fetchall() == ((promotion.production.database, "wp_albums"),)


def test_production_given_the_sources_database_by_mistake_is_refused(promotion: Promotion) -> None:
    promotion.check()
    swapped = dataclasses.replace(promotion.production, database=promotion.pair.staging.database)
    promotion.production = swapped
    with pytest.raises(NodeError) as refused:
        promotion.check()
    assert refused.value.code == "IDENTITY_MISMATCH"
    assert "database" in refused.value.message


def test_two_files_that_were_swapped_are_refused(promotion: Promotion) -> None:
    promotion.stage()
    production, staging = promotion.production, promotion.pair.staging
    call = promotion.call("stage", observation_id="x", plan={})
    swapped = dataclasses.replace(
        call,
        production=dataclasses.replace(staging, id=production.id, type="production"),
        source=dataclasses.replace(production, id=staging.id, type="staging"),
    )
    with pytest.raises(NodeError) as refused:
        stage(swapped)
    assert refused.value.code == "IDENTITY_MISMATCH"


def test_a_protected_folder_inside_the_release_is_refused(promotion: Promotion) -> None:
    uploads = promotion.pair.path("production", "wp-content/uploads")
    uploads.unlink()
    uploads.mkdir()
    promotion.pair.take_baseline()
    promotion.pair.path("staging", THEME).write_text("body { color: blue }")
    with pytest.raises(NodeError) as refused:
        promotion.stage()
    assert refused.value.code == "SCHEMA_UNSUPPORTED"
    assert "wp-content/uploads" in refused.value.message


def test_too_little_space_is_refused_beforehand_with_what_it_takes(promotion: Promotion) -> None:
    with mount_small(Path(promotion.production.root, "releases"), megabytes=8):
        assert "staging takes" in refuse(promotion, "ANSIBLE_HOST_FAILED")


def test_a_disk_that_runs_full_while_staging_leaves_nothing_behind(
    promotion: Promotion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(free_space, "check_space", lambda _needs: None)
    promotion.pair.path("staging", THEME).write_bytes(os.urandom(9 << 20))
    with mount_small(Path(promotion.production.root, "releases"), megabytes=8):
        assert "not enough disk space" in refuse(promotion, "ANSIBLE_HOST_FAILED")


@contextmanager
def mount_small(folder: Path, *, megabytes: int) -> Iterator[None]:
    """Put what is in a folder on a file system of its own that holds no more than `megabytes`."""
    aside = folder.with_name("aside")
    folder.rename(aside)
    folder.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)],
        check=True,
        capture_output=True,
    )
    try:
        subprocess.run(["cp", "-a", f"{aside}/.", str(folder)], check=True)
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_what_was_staged_can_be_discarded(promotion: Promotion) -> None:
    promotion.stage()
    discard(promotion.call("discard"))
    assert (promotion.own_databases(), promotion.releases()) == (set(), {"first"})


def test_nothing_is_discarded_once_the_cut_over_has_started(promotion: Promotion) -> None:
    promotion.stage()
    promotion.kill_program_at(4)
    with pytest.raises(NodeError, match="has started"):
        discard(promotion.call("discard"))


def test_a_failed_environment_takes_no_promotion(promotion: Promotion) -> None:
    observation = promotion.check()
    path = Path(promotion.state_dir, promotion.production.id, "state.json")
    path.write_text(path.read_text().replace('"active"', '"failed"'))
    refuse(promotion, "ENVIRONMENT_NOT_ACTIVE", observation)
