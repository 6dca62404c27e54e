"""A restore brings back all that a backup held, to the byte, or leaves everything as it was."""

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils import place, restore
from ansible_collections.pressluft.wordpress.plugins.module_utils.baseline import read_baseline
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError

from reconciler.stack.mariadb import MariaDB
from tests.integration.node.plain_site import BROKEN, THEME
from tests.integration.node.restored_site import Restoring, make_restoring
from tests.integration.node.storage import find_pack


@pytest.fixture
def restoring(mariadb: MariaDB, database: object, tmp_path: Path) -> Iterator[Restoring]:
    with make_restoring(mariadb, database.user, tmp_path) as made:  # type: ignore[attr-defined]
        yield made


def damage(restoring: Restoring) -> None:
    """What people and plugins do between a backup and the wish to have it back."""
    restoring.sql(
        "DELETE FROM wp_posts WHERE ID = 1",
        "UPDATE wp_options SET option_value = 'Hacked' WHERE option_name = 'blogname'",
        "DROP TABLE wp_slides",
        "CREATE TABLE wp_junk (id INT PRIMARY KEY)",
        "ALTER TABLE wp_users ADD COLUMN backdoor TEXT",
    )
    uploads = restoring.root / "shared/wp-content/uploads"
    (uploads / "2024/a.png").unlink()
    (uploads / "shell.php").write_text("<?php system($_GET['x']);")
    (restoring.root / "current/wp-content/plugins/hello.php").write_text("<?php /* infected */")


def test_everything_comes_back_to_the_byte_and_nothing_is_left_behind(restoring: Restoring) -> None:
    before = restoring.take_photo()
    snapshot = restoring.back_up()
    damage(restoring)
    restoring = restoring.anew()
    result = restoring.restore(snapshot)
    assert result["health"]["healthy"] is True
    assert restoring.take_photo() == before
    assert restoring.find_leftovers() == set()
    state = restoring.read_state()
    assert (state["status"], state["current_release"], state["kept"]) == ("active", restoring.job_id, None)
    assert not (restoring.job_folder / "saved").exists()


def test_a_wiped_site_comes_back(restoring: Restoring) -> None:
    before = restoring.take_photo()
    snapshot = restoring.back_up()
    restoring.promotion.admin.execute(f"DROP DATABASE {restoring.environment.database}")
    restoring.promotion.admin.execute(f"CREATE DATABASE {restoring.environment.database}")
    shutil.rmtree(restoring.root)
    restoring = restoring.anew()
    assert restoring.restore(snapshot)["health"]["healthy"] is True
    assert restoring.take_photo() == before
    assert restoring.find_leftovers() == set()


def test_a_backup_that_is_not_healthy_goes_back(restoring: Restoring) -> None:
    theme = restoring.root / "current" / THEME
    healthy = theme.read_text()
    theme.write_text(BROKEN)
    snapshot = restoring.back_up()
    theme.write_text(healthy)
    restoring.sql("INSERT INTO wp_posts (post_title) VALUES ('Three')")
    before = restoring.take_photo()
    restoring = restoring.anew()
    with pytest.raises(NodeError, match="not healthy") as failed:
        restoring.restore(snapshot)
    assert failed.value.code == "HEALTH_CHECK_FAILED"
    assert restoring.take_photo() == before
    assert restoring.find_leftovers() == set()
    assert restoring.read_state()["status"] == "active"


def test_what_is_written_after_the_last_backup_is_kept_beside_the_job(restoring: Restoring) -> None:
    snapshot = restoring.back_up()
    restoring = restoring.anew()
    restoring.verify(snapshot)
    restoring.back_up()
    restoring.stage(snapshot)
    restoring.sql("INSERT INTO wp_posts (post_title) VALUES ('An order in the last second')")
    (restoring.root / "shared/wp-content/uploads/late.jpg").write_bytes(b"late")
    result = restoring.cut_over()
    late = str(restoring.root / "shared/wp-content/uploads/late.jpg")
    assert result["cut_over"]["saved"] == ["table:posts", f"path:{late}"]
    assert (restoring.job_folder / "saved/wp_posts.jsonl.gz").exists()
    [kept] = (restoring.job_folder / "saved").rglob("late.jpg")
    assert kept.read_bytes() == b"late"


def test_a_folder_outside_of_the_root_comes_back_and_another_sites_does_not(restoring: Restoring) -> None:
    storage = restoring.root.parent / "storage" / "shop"
    storage.parent.mkdir()
    uploads = restoring.root / "shared/wp-content/uploads"
    shutil.move(uploads, storage)
    link = restoring.root / "current/wp-content/uploads"
    link.unlink()
    link.symlink_to(storage)
    snapshot = restoring.back_up()
    (storage / "2024/a.png").write_bytes(b"another picture")
    (storage.parent / "other").write_text("of somebody else")
    restoring = restoring.anew()
    restoring.restore(snapshot)
    assert (storage / "2024/a.png").read_bytes() == b"picture"
    assert sorted(path.name for path in storage.parent.iterdir()) == ["other", "shop"]


def test_what_else_lies_in_the_root_stays_and_is_put_back_only_where_it_is_missing(
    restoring: Restoring,
) -> None:
    for name in ("logs", "private"):
        (restoring.root / name).mkdir()
        (restoring.root / name / "file").write_text("then")
    snapshot = restoring.back_up()
    (restoring.root / "logs/file").write_text("now")
    shutil.rmtree(restoring.root / "private")
    restoring = restoring.anew()
    restoring.restore(snapshot)
    assert (restoring.root / "logs/file").read_text() == "now"
    assert (restoring.root / "private/file").read_text() == "then"


def test_a_kept_promotion_ends_with_a_restore(restoring: Restoring) -> None:
    promotion = restoring.promotion
    promotion.pair.take_baseline()
    promotion.pair.path("staging", THEME).write_text("body { color: green }")
    promotion.stage()
    promotion.cut_over()
    before = restoring.take_photo()
    snapshot = restoring.back_up()
    restoring = restoring.anew()
    restoring.restore(snapshot)
    assert restoring.take_photo() == before
    assert restoring.find_leftovers() == set()


def test_restored_data_is_drift_for_a_copy_of_what_there_was(restoring: Restoring) -> None:
    snapshot = restoring.back_up()
    restoring.sql("INSERT INTO wp_posts (post_title) VALUES ('Three')")
    restoring.promotion.pair.take_baseline()
    restoring = restoring.anew()
    restoring.restore(snapshot)
    posts = restoring.promotion.pair.find("posts")
    assert posts["production"] != posts["production_baseline"]


def test_a_copy_comes_back_with_the_baseline_it_had_then(restoring: Restoring) -> None:
    promotion = restoring.promotion
    address = promotion.production.health_urls
    copy = dataclasses.replace(promotion.pair.staging, php_cli="/bin/true", health_urls=address)
    restoring = Restoring(promotion, copy)
    promotion.pair.take_baseline()
    then = read_baseline(promotion.state_dir, copy.id)
    snapshot = restoring.back_up()
    promotion.pair.sql("INSERT INTO P.posts (post_title) VALUES ('Three')", "DELETE FROM S.posts")
    promotion.pair.take_baseline()
    restoring = restoring.anew()
    result = restoring.restore(snapshot)
    assert then is not None
    assert read_baseline(promotion.state_dir, copy.id) == then
    assert result["cut_over"]["baseline"] == {"source_id": copy.id, "id": then["id"]}
    assert promotion.pair.find("posts")["source"] == promotion.pair.find("posts")["source_baseline"]


REFUSED = [
    pytest.param("full", "other", "was not taken of this environment", id="another environment's"),
    pytest.param("db", "own", "is not a full one", id="a dump alone"),
    pytest.param("full", "none", "is not in the storage", id="one that was forgotten"),
]


@pytest.mark.parametrize(("scope", "whose", "reason"), REFUSED)
def test_a_backup_that_cannot_be_restored_is_refused(
    restoring: Restoring, scope: str, whose: str, reason: str
) -> None:
    snapshot = restoring.back_up(scope)
    storage = restoring.open_storage()
    if whose == "other":
        storage.run(["tag", "--set", "pressluft,environment:somebody,scope:full"])
        storage.list_snapshots()
        snapshot = storage.snapshots[0]["id"]
    if whose == "none":
        storage.run(["forget", snapshot])
    before = restoring.take_photo()
    restoring = restoring.anew()
    for step in (restoring.verify, restoring.stage):
        with pytest.raises(NodeError, match=reason) as refused:
            step(snapshot)
        assert refused.value.code == "BACKUP_INVALID"
    assert restoring.take_photo() == before
    assert restoring.find_leftovers() == set()


def test_a_lost_pack_is_refused_before_anything_is_done(restoring: Restoring) -> None:
    snapshot = restoring.back_up()
    config = Path(restoring.promotion.config_dir)
    find_pack(restoring.repository, password=config / "restic.password", holds="data").unlink()
    with pytest.raises(NodeError) as refused:
        restoring.anew().verify(snapshot)
    assert refused.value.code == "BACKUP_INVALID"


def test_tables_that_are_not_those_that_were_stored_never_go_live(
    restoring: Restoring, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = restoring.back_up()
    before = restoring.take_photo()
    load = restore.load_dump

    def load_otherwise(stream: object, conn: object, database: str) -> None:
        load(stream, conn, database)
        restoring.promotion.admin.execute(f"UPDATE {database}.wp_places SET lat = 52.52 WHERE id = 1")

    monkeypatch.setattr(restore, "load_dump", load_otherwise)
    restoring = restoring.anew()
    with pytest.raises(NodeError, match="other tables than were stored: places"):
        restoring.stage(snapshot)
    assert restoring.take_photo() == before
    assert restoring.find_leftovers() == set()


def test_folders_that_somebody_replaced_meanwhile_are_not_exchanged(restoring: Restoring) -> None:
    snapshot = restoring.back_up()
    restoring = restoring.anew()
    restoring.stage(snapshot)
    shared = restoring.root / "shared"
    shutil.copytree(shared, restoring.root / "copy", symlinks=True)
    shutil.rmtree(shared)
    (restoring.root / "copy").rename(shared)
    before = restoring.take_photo()
    with pytest.raises(NodeError, match="somebody replaced these") as refused:
        restoring.cut_over()
    assert refused.value.code == "OVERWRITE_BLOCKED"
    assert restoring.take_photo() == before
    assert restoring.find_leftovers() == set()


def test_a_mount_point_is_refused(restoring: Restoring, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = restoring.back_up()
    monkeypatch.setattr(place, "find_mount", lambda paths: f"{paths[0]}/wp-content/uploads")
    restoring = restoring.anew()
    with pytest.raises(NodeError, match="is a mount point"):
        restoring.stage(snapshot)
    assert restoring.find_leftovers() == set()


def test_the_mounts_of_this_machine_are_found_below_the_places_they_are_in() -> None:
    assert place.find_mount(["/"]) != ""
    assert place.find_mount(["/proc"]) == "/proc"
    assert place.find_mount(["/no/such/place"]) == ""
