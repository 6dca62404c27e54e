"""A refresh brings production's data down, and its baseline is what drift is told by afterwards."""

import json
import os
import random
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils import refresh_copy
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.quiet import PLUGIN_PATH
from ansible_collections.pressluft.wordpress.plugins.module_utils.refresh import refresh

from reconciler.stack.mariadb import Login, MariaDB
from tests.integration.node.observed_pair import find_differing
from tests.integration.node.refreshed_pair import Refreshing, make_refreshing

OWN = {"mu-plugins/pressluft-quiet.php"}


@pytest.fixture
def refreshing(mariadb: MariaDB, admin: Any, database: Login, tmp_path: Path) -> Iterator[Refreshing]:
    with make_refreshing(mariadb, admin, database.user, tmp_path) as made:
        yield made


@pytest.fixture
def copied(refreshing: Refreshing) -> Refreshing:
    """The source is a full copy already."""
    refreshing.run_anew("full")
    return refreshing


def _empty_source(refreshing: Refreshing) -> None:
    """As a first set-up finds it: wp-config.php and an empty database."""
    root = Path(refreshing.source.root)
    shutil.rmtree(root / "releases")
    (root / "current").unlink()
    shutil.rmtree(root / "shared" / "wp-content")
    database = refreshing.source.database
    refreshing.pair.admin.execute(f"DROP DATABASE {database}")
    refreshing.pair.admin.execute(f"CREATE DATABASE {database}")


def test_a_full_refresh_sets_up_an_empty_source(refreshing: Refreshing) -> None:
    _empty_source(refreshing)
    before = refreshing.checksum_production()
    done = refreshing.run("full")
    assert refreshing.checksum_production() == before
    assert done["refresh"]["tables"] == 5
    assert refreshing.rows("posts", "post_title, guid") == [
        ("One", "https://shop.test/?p=1"),
        ("Two", "https://shop.test/?p=2"),
    ]
    assert refreshing.rows("slides", "image") == [("https://staging.shop.test/a.png",)]
    assert refreshing.option("siteurl") == refreshing.option("home") == "https://staging.shop.test"
    assert refreshing.option("blog_public") == "0"
    current = Path(refreshing.source.current)
    assert (current / "wp-content/themes/leaf/style.css").read_text() == "body {}"
    assert (current / "wp-content/uploads/2024/a.png").read_bytes() == b"picture"
    assert (current / "wp-config.php").read_text() == "<?php // of this place alone"
    assert (current / "wp-config.php").is_symlink()
    assert current.resolve().name == refreshing.job_id


def test_after_a_full_refresh_nothing_differs_but_what_makes_the_source_itself(copied: Refreshing) -> None:
    observation = copied.pair.observe()
    assert find_differing(observation) - OWN == set()
    assert observation["baseline"]["id"] == copied.read_baseline()["id"]
    assert copied.own_databases() == set()


def test_the_sources_own_options_and_files_survive_a_full_refresh(refreshing: Refreshing) -> None:
    refreshing.pair.sql(
        "UPDATE S.options SET option_value = 'https://staging.shop.test/wp' WHERE option_name = 'siteurl'"
    )
    own = refreshing.pair.path("staging", "robots.txt")
    own.write_text("Disallow: /")
    refreshing.pair.path("production", "robots.txt").write_text("Allow: /")
    refreshing.run("full")
    assert refreshing.option("siteurl") == "https://staging.shop.test/wp"
    assert refreshing.pair.path("staging", "robots.txt").read_text() == "Disallow: /"
    assert refreshing.option("blogname") == "Shop"
    assert [path.name for path in Path(refreshing.source.root, "releases").iterdir()] == [refreshing.job_id]


def test_what_only_the_source_had_is_gone_after_a_full_refresh(refreshing: Refreshing) -> None:
    refreshing.pair.sql("CREATE TABLE S.extra (id INT PRIMARY KEY)")
    refreshing.pair.path("staging", "wp-content/plugins/extra.php").write_text("<?php")
    refreshing.run("full")
    refreshing.pair.admin.execute(f"SHOW TABLES FROM {refreshing.source.database} LIKE '%extra'")
    assert refreshing.pair.admin.fetchall() == ()
    assert not refreshing.pair.path("staging", "wp-content/plugins/extra.php").exists()


def test_a_protected_refresh_pulls_protected_data_and_leaves_the_rest(copied: Refreshing) -> None:
    before = copied.read_baseline()["resources"]
    copied.pair.sql(
        "INSERT INTO P.posts (post_title) VALUES ('Order 3 at https://shop.test/x')",
        "INSERT INTO P.users (user_login) VALUES ('bob')",
        "UPDATE P.options SET option_value = 'Renamed' WHERE option_name = 'blogname'",
        "UPDATE P.slides SET width = 99",
        "UPDATE S.slides SET width = 11",
        "INSERT INTO S.posts (post_title) VALUES ('only on the source')",
    )
    copied.pair.path("production", "wp-content/uploads/2024/b.png").write_bytes(b"new")
    copied.pair.path("staging", "wp-content/themes/leaf/style.css").write_text("body { color: red }")
    done = copied.run("protected")
    assert copied.rows("posts", "post_title") == [
        ("One",),
        ("Order 3 at https://staging.shop.test/x",),
        ("Two",),
    ]
    assert copied.rows("users", "user_login") == [("ann",), ("bob",)]
    assert copied.rows("slides", "width") == [(11,)]
    assert copied.option("blogname") == "Shop"
    assert (
        copied.pair.path("staging", "wp-content/themes/leaf/style.css").read_text() == "body { color: red }"
    )
    assert copied.pair.path("staging", "wp-content/uploads/2024/b.png").read_bytes() == b"new"
    after = copied.read_baseline()["resources"]
    advanced = {key for key in after if after[key] != before.get(key)}
    assert advanced == {"table:posts", "table:users", "path:wp-content/uploads"}
    assert done["refresh"]["baseline_id"] == copied.read_baseline()["id"]
    assert find_differing(copied.pair.observe()) - OWN == {"blogname", "slides", "themes/leaf"}


def test_a_row_written_while_production_is_copied_is_drift_afterwards(
    copied: Refreshing, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_table = refresh_copy.copy_table

    def write_then_copy(*places: Any, **options: Any) -> Any:
        copied.pair.sql("INSERT INTO P.posts (post_title) VALUES ('while it is copied')")
        return copy_table(*places, **options)

    copied.pair.sql("INSERT INTO P.posts (post_title) VALUES ('before')")
    monkeypatch.setattr(refresh_copy, "copy_table", write_then_copy)
    copied.run("protected")
    assert ("while it is copied",) not in copied.rows("posts", "post_title")
    assert ("before",) in copied.rows("posts", "post_title")
    found = copied.pair.find("posts")
    assert found["production"] != found["production_baseline"]
    assert found["source"] == found["source_baseline"]


def test_an_upload_that_comes_right_after_it_was_copied_is_drift_afterwards(
    copied: Refreshing, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_folder = refresh_copy.copy_folder

    def copy_then_upload(origin: str, place: str, **options: Any) -> Any:
        done = copy_folder(origin, place, **options)
        copied.pair.path("production", "wp-content/uploads/late.png").write_bytes(b"late")
        return done

    monkeypatch.setattr(refresh_copy, "copy_folder", copy_then_upload)
    copied.run("protected")
    found = copied.pair.find("wp-content/uploads")
    assert found["production"] != found["production_baseline"]


def test_a_second_refresh_copies_only_the_tables_that_changed(copied: Refreshing) -> None:
    assert copied.run_anew("protected")["refresh"]["tables"] == 0
    copied.pair.sql("INSERT INTO P.users (user_login) VALUES ('bob')")
    done = copied.run_anew("protected")["refresh"]
    assert (done["tables"], done["rows"], done["files"]) == (1, 2, 0)
    copied.pair.sql("INSERT INTO S.posts (post_title) VALUES ('only on the source')")
    assert copied.run_anew("protected")["refresh"]["tables"] == 1
    assert len(copied.rows("posts")) == 2


def test_a_second_refresh_pulls_only_the_chunks_that_changed(copied: Refreshing) -> None:
    copied.pair.sql(
        "INSERT INTO P.posts (ID, post_title) SELECT seq, CONCAT('post ', seq) FROM seq_100_to_60000",
        "UPDATE P.posts SET post_title = 'https://shop.test/one' WHERE ID = 30000",
    )
    assert copied.run_anew("protected")["refresh"]["rows"] > 50_000
    copied.pair.sql("UPDATE P.posts SET post_title = 'https://shop.test/two' WHERE ID = 200")
    done = copied.run_anew("protected")["refresh"]
    assert (done["tables"], done["files"]) == (1, 0)
    assert done["rows"] < 20_000
    assert_same_posts(copied)
    found = copied.pair.find("posts")
    assert (found["production"], found["source"]) == (found["production_baseline"], found["source_baseline"])


def test_a_copy_that_somebody_wrote_to_becomes_productions_again_by_chunks(copied: Refreshing) -> None:
    chance = random.Random(4)
    copied.pair.sql(
        "INSERT INTO P.posts (ID, post_title) SELECT seq, CONCAT('post ', seq) FROM seq_100_to_60000"
    )
    copied.run_anew("protected")
    for _round in range(3):
        for side in "PS":
            copied.pair.sql(*(make_change(side, chance) for _change in range(4)))
        copied.run_anew("protected")
        assert_same_posts(copied)
        found = copied.pair.find("posts")
        assert (found["production"], found["source"]) == (
            found["production_baseline"],
            found["source_baseline"],
        )


def make_change(side: str, chance: random.Random) -> str:
    """One change of posts: a new row, one that goes, another text, another key."""
    number = chance.randrange(100, 60_000)
    return chance.choice(
        [
            f"INSERT INTO {side}.posts (post_title) VALUES ('https://shop.test/{number}')",
            f"DELETE FROM {side}.posts WHERE ID = {number}",
            f"UPDATE {side}.posts SET post_title = '{side} https://shop.test/{number}' WHERE ID = {number}",
            f"UPDATE IGNORE {side}.posts SET ID = ID + {chance.randrange(70_000)} WHERE ID = {number}",
        ]
    )


def assert_same_posts(copied: Refreshing) -> None:
    """The copy's posts are production's but for the address, row by row."""
    copied.pair.sql("SELECT ID, post_title FROM P.posts ORDER BY 1")
    ours, theirs = copied.pair.production.url, copied.source.url
    wanted = [(number, title.replace(ours, theirs)) for number, title in copied.pair.admin.fetchall()]
    assert copied.rows("posts", "ID, post_title") == wanted


def test_a_source_with_another_address_is_rewritten_again_though_no_table_changed(copied: Refreshing) -> None:
    copied.pair.sql("UPDATE P.posts SET post_title = 'https://shop.test/a' WHERE ID = 1")
    copied.run_anew("protected")
    moved = copied.call("protected")
    object.__setattr__(moved.source, "url", "https://new.shop.test")
    copied.run_anew("protected")
    assert ("https://new.shop.test/a",) in copied.rows("posts", "post_title")


def test_a_table_that_production_dropped_leaves_the_source_and_the_baseline(copied: Refreshing) -> None:
    copied.pair.sql("CREATE TABLE P.wc_orders (id INT PRIMARY KEY)")
    copied.run_anew("protected")
    assert "table:wc_orders" in copied.read_baseline()["resources"]
    copied.pair.sql("DROP TABLE P.wc_orders")
    copied.run_anew("protected")
    assert "table:wc_orders" not in copied.read_baseline()["resources"]
    copied.pair.admin.execute(f"SHOW TABLES FROM {copied.source.database} LIKE '%orders'")
    assert copied.pair.admin.fetchall() == ()


def test_rights_of_users_follow_the_sources_table_prefix(refreshing: Refreshing) -> None:
    refreshing.pair.sql(
        "CREATE TABLE P.usermeta (umeta_id INT PRIMARY KEY, meta_key VARCHAR(255), meta_value LONGTEXT)",
        "INSERT INTO P.usermeta VALUES (1, 'wp_capabilities', 'x'), (2, 'nickname', 'wp_'), (3, 'WP_x', 'y')",
        "INSERT INTO P.options (option_name, option_value) VALUES ('wp_user_roles', 'roles')",
    )
    refreshing.run("full")
    assert [key for _, key, _ in refreshing.rows("usermeta")] == ["stg_capabilities", "nickname", "WP_x"]
    assert refreshing.option("stg_user_roles") == "roles"
    assert refreshing.option("wp_user_roles") is None


def test_the_copy_keeps_quiet_and_every_refresh_sees_to_it(copied: Refreshing) -> None:
    plugin = copied.pair.path("staging", PLUGIN_PATH)
    assert "pre_wp_mail" in plugin.read_text()
    plugin.unlink()
    copied.pair.sql("UPDATE S.options SET option_value = '1' WHERE option_name = 'blog_public'")
    copied.run_anew("protected")
    assert plugin.exists()
    assert copied.option("blog_public") == "0"


def test_what_keeps_the_copy_quiet_is_neither_drift_nor_code(copied: Refreshing) -> None:
    names = {found["name"] for found in copied.pair.observe()["resources"]}
    assert "mu-plugins/must.php" in names
    assert not names & OWN


def test_the_owners_script_runs_on_the_shadow_and_its_result_is_the_baseline(refreshing: Refreshing) -> None:
    script = refreshing.config_dir / "anonymise"
    script.write_text(
        '#!/bin/sh\nmariadb --defaults-file="$PRESSLUFT_DEFAULTS_FILE" "$PRESSLUFT_DATABASE" '
        "-e \"UPDATE ${PRESSLUFT_TABLE_PREFIX}users SET user_login = CONCAT('user', ID)\"\n"
    )
    script.chmod(0o700)
    refreshing.run("full")
    assert refreshing.rows("users", "user_login") == [("user1",)]
    assert "users" not in find_differing(refreshing.pair.observe())


def test_a_script_that_fails_leaves_the_source_as_it_was(copied: Refreshing) -> None:
    script = copied.config_dir / "anonymise"
    script.write_text("#!/bin/sh\necho no such table >&2\nexit 3\n")
    script.chmod(0o700)
    copied.pair.sql("INSERT INTO P.posts (post_title) VALUES ('new')")
    known = copied.read_baseline()
    with pytest.raises(NodeError, match="ended with 3: no such table"):
        copied.run("protected")
    assert len(copied.rows("posts")) == 2
    assert copied.read_baseline() == known
    assert copied.own_databases() == set()


def test_a_script_that_others_may_change_is_not_run(copied: Refreshing) -> None:
    script = copied.config_dir / "anonymise"
    script.write_text("#!/bin/sh\nexit 0\n")
    script.chmod(0o777)
    copied.pair.sql("INSERT INTO P.posts (post_title) VALUES ('new')")
    with pytest.raises(NodeError, match="changed by others"):
        copied.run("protected")


def test_a_refresh_that_asks_for_the_script_is_refused_without_it(copied: Refreshing) -> None:
    with pytest.raises(NodeError, match="is not there"):
        refresh(copied.call("protected", anonymise=True))


def test_a_protected_refresh_without_a_baseline_is_refused(refreshing: Refreshing) -> None:
    with pytest.raises(NodeError, match="no baseline") as caught:
        refreshing.run("protected")
    assert "scope full" in caught.value.remedy


def test_uploads_that_are_productions_own_are_refused(copied: Refreshing) -> None:
    theirs = Path(copied.pair.production.root, "shared/wp-content/uploads")
    shutil.rmtree(Path(copied.source.root, "shared/wp-content/uploads"))
    Path(copied.source.root, "shared/wp-content/uploads").symlink_to(theirs)
    with pytest.raises(NodeError, match=r"leads to .*/production/shared") as caught:
        copied.run("protected")
    assert caught.value.code == "IDENTITY_MISMATCH"
    assert (theirs / "2024/a.png").exists()


@pytest.mark.parametrize(
    "aim",
    [
        pytest.param("{folder}", id="above production"),
        pytest.param("{folder}/staging", id="the source's own root"),
        pytest.param("{folder}/staging/shared", id="all that is shared"),
        pytest.param("{folder}/staging/releases", id="the releases"),
        pytest.param("{folder}/state", id="the node's own files"),
        pytest.param("{folder}/another/shared", id="another environment's root"),
    ],
)
def test_uploads_that_lead_to_anything_else_are_refused_and_nothing_is_deleted(
    copied: Refreshing, aim: str
) -> None:
    folder = Path(copied.source.root).parent
    (folder / "another" / "shared").mkdir(parents=True)
    (folder / "another" / "shared" / "kept").write_text("kept")
    register = Path(copied.pair.state_dir, "identities.json")
    bound = json.loads(register.read_text())
    root = {"root": str(folder / "another"), "server": "x", "database": "x", "table_prefix": "x"}
    register.write_text(json.dumps({**bound, "another": root}))
    uploads = Path(copied.source.current, "wp-content/uploads")
    uploads.unlink()
    uploads.symlink_to(aim.format(folder=folder))
    copied.pair.path("production", "wp-content/uploads/2024/b.png").write_bytes(b"new")
    ignored = {"state", "aside"}
    before = {path for path in folder.rglob("*") if path.relative_to(folder).parts[0] not in ignored}
    with pytest.raises(NodeError) as caught:
        copied.run("protected")
    assert caught.value.code in {"IDENTITY_MISMATCH", "SCHEMA_UNSUPPORTED"}
    assert {path for path in folder.rglob("*") if path.relative_to(folder).parts[0] not in ignored} == before


def test_production_uploads_that_lead_to_what_is_not_the_sites_are_not_copied(copied: Refreshing) -> None:
    secret = Path(copied.source.root).parent / "secret"
    secret.mkdir()
    (secret / "key").write_text("root's")
    uploads = copied.pair.path("production", "wp-content/uploads")
    uploads.unlink()
    uploads.symlink_to(secret)
    os.chown(uploads, 7001, 7001, follow_symlinks=False)
    with pytest.raises(NodeError, match="does not belong") as caught:
        copied.run("protected")
    assert caught.value.code == "SCHEMA_UNSUPPORTED"
    assert not list(Path(copied.source.root).rglob("key"))


def test_a_copy_for_another_user_is_that_users_and_can_be_refreshed_again(refreshing: Refreshing) -> None:
    production, source = Path(refreshing.pair.production.root), Path(refreshing.source.root)
    for root, uid in ((production, 7001), (source, 7002)):
        for path in (root, *root.rglob("*")):
            os.chown(path, uid, uid, follow_symlinks=False)
    before = {path: path.lstat().st_uid for path in production.rglob("*")}
    refreshing.run_anew("full")
    code = [path for path in Path(refreshing.source.current).resolve().rglob("*") if not path.is_symlink()]
    assert {path.lstat().st_uid for path in code} == {7002}
    assert {path.stat().st_uid for path in (source / "shared").rglob("*")} == {7002}
    refreshing.run_anew("protected")
    refreshing.run_anew("full")
    assert {path: path.lstat().st_uid for path in production.rglob("*")} == before


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        pytest.param("CREATE TABLE P.old (a INT) ENGINE=MyISAM", "MyISAM", id="engine"),
        pytest.param("CREATE VIEW P.seen AS SELECT 1 AS a", "is a view", id="view"),
        pytest.param("CREATE TABLE P.blogs (a INT); CREATE TABLE P.site (a INT)", "network", id="multisite"),
    ],
)
def test_what_cannot_be_copied_is_refused_before_anything_changes(
    refreshing: Refreshing, statement: str, reason: str
) -> None:
    refreshing.pair.sql(*statement.split("; "))
    with pytest.raises(NodeError, match=reason) as caught:
        refreshing.run("full")
    assert caught.value.code == "SCHEMA_UNSUPPORTED"
    assert refreshing.own_databases() == set()
    assert refreshing.read_baseline() is None


def test_a_production_that_is_half_cut_over_is_not_copied(copied: Refreshing) -> None:
    state = Path(copied.pair.state_dir, copied.pair.production.id, "state.json")
    state.write_text(state.read_text().replace('"active"', '"deploying"'))
    with pytest.raises(NodeError, match="deploying") as caught:
        copied.run("protected")
    assert caught.value.code == "ENVIRONMENT_NOT_ACTIVE"


def test_within_a_promotion_a_refresh_can_be_repeated_by_the_same_job(copied: Refreshing) -> None:
    copied.job_type = "env_promote"
    for count in (3, 4):
        copied.pair.sql("INSERT INTO P.posts (post_title) VALUES ('one more')")
        copied.run("protected")
        assert len(copied.rows("posts")) == count
    # The cut-over of that job tells by its own id whether it has advanced the baseline.
    assert copied.read_baseline()["job_id"] != copied.job_id


def test_check_mode_changes_nothing(copied: Refreshing) -> None:
    copied.pair.sql("INSERT INTO P.posts (post_title) VALUES ('one more')")
    known = copied.read_baseline()
    assert refresh(copied.call("protected", check_mode=True))["refresh"] is None
    assert len(copied.rows("posts")) == 2
    assert copied.read_baseline() == known


def test_files_of_the_copy_are_none_of_productions_inodes(copied: Refreshing) -> None:
    for name in ("wp-content/uploads/2024/a.png", "index.php"):
        ours, theirs = (copied.pair.path(side, name).stat() for side in ("production", "staging"))
        assert ours.st_ino != theirs.st_ino
        assert ours.st_nlink == 1
        assert stat.S_ISREG(theirs.st_mode)
