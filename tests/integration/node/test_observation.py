"""The whole observation of a production and its copy: what is seen, what is not noise, what is never clean."""

import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError

from reconciler.core.drift import decide_drift
from reconciler.stack.mariadb import Login, MariaDB
from schemas.observation import Observation
from schemas.state import DriftStatus
from tests.integration.node.observed_pair import (
    JOB,
    PROTECTION,
    Pair,
    find,
    find_differing,
    make_pair,
    remove_code,
)


@pytest.fixture
def pair(mariadb: MariaDB, admin: Any, database: Login, tmp_path: Path) -> Iterator[Pair]:
    other = f"{database.user}_s"
    mariadb.create_database(other)
    yield make_pair(mariadb, admin, tmp_path, {"production": database.user, "staging": other})
    mariadb.drop_database(other)


@pytest.fixture
def copied(pair: Pair) -> Pair:
    """The pair with a baseline of this moment."""
    pair.take_baseline()
    return pair


def decide(observation: dict[str, Any]) -> DriftStatus:
    return decide_drift(Observation.model_validate(observation))


def test_nothing_differs_right_after_the_copy(copied: Pair) -> None:
    observation = copied.observe()
    assert find_differing(observation) == set()
    assert decide(observation) is DriftStatus.CLEAN


def test_the_observation_names_every_kind_of_resource_with_its_protection(copied: Pair) -> None:
    seen = {(found["kind"], found["name"], found["protection"]) for found in copied.observe()["resources"]}
    assert seen == {
        ("table", "posts", "protected"),
        ("table", "postmeta", "protected"),
        ("table", "wc_orders", "protected"),
        ("table", "users", "preserved"),
        ("table", "slides", "mergeable"),
        ("table", "notes", "mergeable"),
        ("option", "siteurl", "preserved"),
        ("option", "home", "preserved"),
        ("option", "db_version", "preserved"),
        ("option", "blogname", "mergeable"),
        ("option", "logo", "mergeable"),
        ("path", "wp-content/uploads", "protected"),
        ("path", "wp-config.php", "preserved"),
        ("path", "robots.txt", "preserved"),
        ("component", "core", "mergeable"),
        ("component", "plugins/shop", "mergeable"),
        ("component", "plugins/hello.php", "mergeable"),
        ("component", "themes/leaf", "mergeable"),
        ("component", "mu-plugins/must.php", "mergeable"),
        ("component", "files/.htaccess", "mergeable"),
        ("component", "files/wp-content/index.php", "mergeable"),
    }


def test_without_a_baseline_nothing_is_known(pair: Pair) -> None:
    observation = pair.observe()
    assert observation["baseline"] is None
    assert decide(observation) is DriftStatus.UNKNOWN


@pytest.mark.parametrize(
    ("change", "name", "samples"),
    [
        pytest.param("INSERT INTO P.posts (post_title) VALUES ('Three')", "posts", ["3"], id="post-added"),
        pytest.param(
            "UPDATE P.posts SET post_title = 'two' WHERE ID = 2", "posts", ["2"], id="case-of-a-title"
        ),
        pytest.param("DELETE FROM P.posts WHERE ID = 1", "posts", ["1"], id="post-deleted"),
        pytest.param("ALTER TABLE P.posts ADD c INT", "posts", ["definition"], id="column-added"),
        pytest.param("DROP TABLE P.posts", "posts", [], id="table-dropped"),
        pytest.param("CREATE TABLE P.wc_orders (id INT PRIMARY KEY)", "wc_orders", [], id="table-appeared"),
    ],
)
def test_a_change_of_protected_data_on_production_is_drift(
    copied: Pair, change: str, name: str, samples: list[str]
) -> None:
    copied.sql(change)
    observation = copied.observe()
    assert find_differing(observation) == {name}
    assert find(observation, name)["samples"] == samples
    assert decide(observation) is DriftStatus.DRIFTED


def test_a_changed_upload_is_drift_though_size_and_time_are_the_same(copied: Pair) -> None:
    picture = copied.path("production", "wp-content/uploads/2024/a.png")
    before = picture.stat()
    picture.write_bytes(b"PICTURE")
    os.utime(picture, ns=(before.st_atime_ns, before.st_mtime_ns))
    observation = copied.observe()
    assert find(observation, "wp-content/uploads")["samples"] == ["wp-content/uploads/2024/a.png"]
    assert decide(observation) is DriftStatus.DRIFTED


def test_a_pipe_in_the_uploads_is_drift_and_hangs_nothing(copied: Pair) -> None:
    os.mkfifo(copied.path("production", "wp-content/uploads/pipe"))
    assert copied.find("wp-content/uploads")["samples"] == ["wp-content/uploads/pipe"]


def test_uploads_that_vanished_with_their_storage_are_unreadable_and_never_clean(copied: Pair) -> None:
    target = copied.path("production", "wp-content/uploads").resolve()
    target.rename(target.with_name("elsewhere"))
    observation = copied.observe()
    assert "production" in find(observation, "wp-content/uploads")["unreadable"]
    assert decide(observation) is DriftStatus.UNKNOWN


def test_a_table_that_is_locked_is_unreadable_and_never_clean(copied: Pair, mariadb: MariaDB) -> None:
    with mariadb.connect(copied.production.database) as other:
        other.execute("LOCK TABLES wp_posts WRITE")
        observation = copied.observe()
    assert "Lock wait timeout" in find(observation, "posts")["unreadable"]
    assert decide(observation) is DriftStatus.UNKNOWN
    assert find_differing(observation) == {"posts"}


def test_a_wrong_prefix_is_unreadable_and_no_site_without_data(copied: Pair) -> None:
    copied.sql("RENAME TABLE P.options TO P.options_gone")
    observation = copied.observe()
    unreadable = {found["name"] for found in observation["resources"] if found["unreadable"]}
    assert {"posts", "blogname", "*"} <= unreadable
    assert decide(observation) is DriftStatus.UNKNOWN


def test_a_release_that_is_gone_is_unreadable_and_no_release_without_code(copied: Pair) -> None:
    copied.path("production", "").parent.joinpath("current").unlink()
    observation = copied.observe()
    assert "current" in find(observation, "core")["unreadable"]


def test_what_visits_change_is_no_noise(copied: Pair) -> None:
    copied.sql(
        "UPDATE P.options SET option_value = 'y' WHERE option_name = '_transient_x'",
        "INSERT INTO P.options (option_name, option_value) VALUES ('cron.lock', '1')",
        "ANALYZE TABLE P.posts",
        "DELETE FROM P.posts WHERE ID = 1",
        "INSERT INTO P.posts VALUES (1, 'One', 'https://shop.test/?p=1')",
    )
    copied.path("production", "wp-content/cache").mkdir()
    copied.path("production", "wp-content/cache/page.html").write_text("x")
    copied.path("production", "wp-content/debug.log").write_text("x")
    copied.path("production", "wp-content/plugins/shop/shop.log").write_text("x")
    for name in ("index.php", "wp-content/uploads/2024/a.png"):
        os.utime(copied.path("production", name))
    copied.path("production", "index.php").chmod(0o600)
    assert find_differing(copied.observe()) == set()


def test_a_changed_preserved_file_is_reported_and_does_not_gate(copied: Pair) -> None:
    copied.path("production", "wp-config.php").resolve().write_text("<?php // another password")
    copied.path("production", "robots.txt").write_text("User-agent: *")
    observation = copied.observe()
    assert find_differing(observation) == {"wp-config.php", "robots.txt"}
    assert find(observation, "wp-config.php")["samples"] == ["wp-config.php"]
    assert find(observation, "robots.txt")["production_baseline"] is None
    assert decide(observation) is DriftStatus.CLEAN


def test_code_is_told_apart_by_component(copied: Pair) -> None:
    copied.path("staging", "wp-content/plugins/shop/shop.php").write_text("<?php /* shop 1.1 */")
    copied.path("staging", "wp-content/themes/leaf/new.css").write_text("")
    copied.path("staging", "wp-content/index.php").chmod(0o755)
    copied.path("production", "index.php").write_text("<?php // hacked")
    remove_code(copied, "production", "wp-content/plugins/hello.php")
    observation = copied.observe()
    assert find_differing(observation) == {
        "plugins/shop",
        "themes/leaf",
        "files/wp-content/index.php",
        "core",
        "plugins/hello.php",
    }
    assert find(observation, "plugins/hello.php")["production"] is None
    assert find(observation, "core")["source"] == find(observation, "core")["source_baseline"]
    assert decide(observation) is DriftStatus.CLEAN


def test_options_are_told_apart_by_name_in_its_very_case(copied: Pair) -> None:
    copied.sql(
        "ALTER TABLE P.options DROP KEY option_name",
        "INSERT INTO P.options (option_name, option_value) VALUES ('Blogname', 'Other')",
        "UPDATE P.options SET autoload = 'no' WHERE option_name = 'home'",
    )
    observation = copied.observe()
    assert find_differing(observation) == {"Blogname", "home"}
    assert find(observation, "Blogname")["production_baseline"] is None


def test_both_sides_are_equal_when_they_differ_only_by_address_and_folder(copied: Pair) -> None:
    ours, theirs = copied.production.root, copied.staging.root
    copied.sql(
        "UPDATE P.options SET option_value = 'https://shop.test/new.png' WHERE option_name = 'logo'",
        "UPDATE S.options SET option_value = 'https://staging.shop.test/new.png' WHERE option_name = 'logo'",
        "UPDATE P.options SET option_value = 'Ours' WHERE option_name = 'blogname'",
        "UPDATE S.options SET option_value = 'Theirs' WHERE option_name = 'blogname'",
        f"INSERT INTO P.slides VALUES (2, '{ours}/current/b.png', NULL), (3, NULL, 1)",
        f"INSERT INTO S.slides VALUES (3, NULL, 1), (2, '{theirs}/current/b.png', NULL)",
        "INSERT INTO P.notes VALUES ('more'), ('more')",
        "INSERT INTO S.notes VALUES ('less'), ('less')",
    )
    for side in ("production", "staging"):
        copied.path(side, "wp-content/plugins/shop/shop.php").write_text("<?php /* shop 2.0 */")
        copied.path(side, "index.php").write_text(f"<?php // {side}")
    observation = copied.observe()
    equal = {name: find(observation, name)["equal"] for name in sorted(find_differing(observation))}
    assert equal == {
        "blogname": False,
        "core": False,
        "logo": True,
        "notes": False,
        "plugins/shop": True,
        "slides": True,
    }


def test_what_changed_on_one_side_only_is_not_compared(copied: Pair) -> None:
    copied.sql("UPDATE S.slides SET width = 11")
    assert copied.find("slides")["equal"] is None


def test_rows_that_only_the_source_has_are_counted_and_named(copied: Pair) -> None:
    copied.sql("INSERT INTO S.posts (ID, post_title) SELECT seq, 'draft' FROM seq_101_to_130")
    [only] = copied.observe()["source_only"]
    assert only == {"table": "posts", "count": 30, "samples": [str(number) for number in range(101, 121)]}


def test_rows_with_keys_of_any_kind_that_only_the_source_has_are_named(copied: Pair) -> None:
    for side in "PS":
        copied.sql(
            f"CREATE TABLE {side}.wc_orders (a VARCHAR(9) COLLATE utf8mb4_unicode_520_ci, b DATE, PRIMARY KEY (a, b))"
        )
    copied.sql(
        "INSERT INTO P.wc_orders VALUES ('ä', '2024-01-01')",
        "INSERT INTO S.wc_orders VALUES ('Ä', '2024-01-01'), ('é', '2024-01-02')",
    )
    [only] = copied.observe()["source_only"]
    assert only == {"table": "wc_orders", "count": 1, "samples": ["é,2024-01-02"]}


def test_uploads_that_only_the_source_has_are_named(copied: Pair) -> None:
    copied.path("staging", "wp-content/uploads/2024/new.png").write_bytes(b"new")
    copied.path("production", "wp-content/uploads/2024/a.png").unlink()
    [only] = copied.observe()["source_only"]
    path = "wp-content/uploads/2024/new.png"
    assert only == {"table": "wp-content/uploads", "count": 1, "samples": [path]}


def test_a_changed_option_or_component_is_named(copied: Pair) -> None:
    copied.sql("UPDATE P.options SET option_value = 'New' WHERE option_name = 'blogname'")
    copied.path("production", "wp-content/plugins/shop/shop.php").write_text("<?php /* shop 3 */")
    observation = copied.observe()
    assert find(observation, "blogname")["samples"] == ["blogname"]
    assert find(observation, "plugins/shop")["samples"] == ["plugins/shop"]
    assert find(observation, "logo")["samples"] == []


def test_a_baseline_of_another_production_says_nothing(copied: Pair) -> None:
    other = replace(copied.production, id=JOB)
    observation = replace(copied, production=other).observe()
    assert observation["baseline"] is None
    assert decide(observation) is DriftStatus.UNKNOWN


def test_a_post_deleted_on_production_is_no_work_of_the_source(copied: Pair) -> None:
    copied.sql("DELETE FROM P.posts WHERE ID = 1")
    assert copied.observe()["source_only"] == []


def test_schemas_of_protected_and_preserved_tables_are_compared(copied: Pair) -> None:
    copied.sql(
        "ALTER TABLE S.users ADD nickname INT",
        "ALTER TABLE S.posts MODIFY post_title VARCHAR(9)",
        "ALTER TABLE S.slides ADD c INT",
    )
    found = {item["table"]: item["difference"] for item in copied.observe()["schema_differences"]}
    assert set(found) == {"users", "posts"}
    assert found["users"] == "only on the source: `nickname` int(11) DEFAULT NULL"


def test_the_fingerprint_follows_what_the_source_could_promote_and_nothing_else(copied: Pair) -> None:
    first = copied.observe()["source_fingerprint"]
    copied.sql(
        "UPDATE P.slides SET width = 12",
        "INSERT INTO S.posts (post_title) VALUES ('draft')",
        "UPDATE S.options SET option_value = 'z' WHERE option_name = '_transient_x'",
        "UPDATE S.options SET option_value = 'z' WHERE option_name = 'home'",
    )
    assert copied.observe()["source_fingerprint"] == first
    copied.sql("UPDATE S.slides SET width = 12")
    assert copied.observe()["source_fingerprint"] != first


def test_a_pending_upgrade_of_the_database_is_told(copied: Pair) -> None:
    assert copied.observe()["pending_upgrade"] is None
    copied.path("staging", "wp-includes/version.php").write_text("<?php\n$wp_db_version = 60999;\n")
    assert "60999" in copied.observe()["pending_upgrade"]


def test_a_baseline_that_was_edited_is_refused(copied: Pair) -> None:
    path = Path(copied.state_dir) / copied.staging.id / "baseline.json"
    path.write_text(path.read_text().replace('"production": "sha256:', '"production": "sha256:f', 1))
    with pytest.raises(NodeError, match="cannot be trusted") as caught:
        copied.observe()
    assert caught.value.code == "DRIFT_CHECK_FAILED"


def test_a_network_of_sites_is_refused(pair: Pair) -> None:
    pair.sql("CREATE TABLE P.blogs (id INT)", "CREATE TABLE P.site (id INT)")
    with pytest.raises(NodeError, match="network") as caught:
        pair.observe()
    assert caught.value.code == "SCHEMA_UNSUPPORTED"


def test_protection_that_grows_gates_what_the_baseline_never_saw(pair: Pair) -> None:
    pair.take_baseline(dict(PROTECTION, protected_paths=[]))
    observation = pair.observe()
    assert find(observation, "wp-content/uploads")["production_baseline"] is None
    assert decide(observation) is DriftStatus.DRIFTED


def test_the_id_covers_all_that_was_seen(copied: Pair) -> None:
    first = copied.observe()
    copied.sql("UPDATE P.slides SET width = 12")
    assert copied.observe()["id"] != first["id"]


def test_writers_do_not_make_a_check_fail(copied: Pair, mariadb: MariaDB) -> None:
    stop, written = threading.Event(), threading.Event()

    def write() -> None:
        with mariadb.connect(copied.production.database) as cursor:
            while not stop.is_set():
                cursor.execute("UPDATE wp_posts SET post_title = RAND() WHERE ID = 1")
                written.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert written.wait(timeout=30)
        observation = copied.observe()
    finally:
        stop.set()
        writer.join()
    assert find_differing(observation) == {"posts"}
    assert find(observation, "posts")["unreadable"] == ""
