"""Expired backups are forgotten and their room is given back; what must stay, stays, whoever asks."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.backup import read_backups
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import connect
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import Job, open_environment
from ansible_collections.pressluft.wordpress.plugins.module_utils.retention import forget_backups

from reconciler.stack.mariadb import Login, MariaDB
from tests.integration.node.restored_site import Restoring, make_restoring


@pytest.fixture
def restoring(mariadb: MariaDB, database: Login, tmp_path: Path) -> Iterator[Restoring]:
    with make_restoring(mariadb, database.user, tmp_path) as made:
        yield made


def forget(restoring: Restoring, *snapshots: str, job_id: str = "", storage: Any = None) -> dict[str, Any]:
    """Run a cleanup as the module does."""
    job = Job(job_id or str(uuid4()), 1, "backup_cleanup", "cleanup")
    promotion = restoring.promotion
    with (
        closing(connect(promotion.pair.defaults_file)) as conn,
        open_environment(promotion.state_dir, restoring.environment, job=job, conn=conn) as state,
    ):
        return dict(forget_backups(state, storage or restoring.open_storage(), list(snapshots)))


def list_snapshots(restoring: Restoring) -> list[str]:
    return [one["id"] for one in restoring.open_storage().snapshots]


def measure(restoring: Restoring) -> int:
    """Bytes of the data that the repository holds."""
    return sum(path.stat().st_size for path in (restoring.repository / "data").rglob("*") if path.is_file())


def test_what_is_forgotten_is_gone_with_its_room_and_the_rest_can_be_restored(restoring: Restoring) -> None:
    large = restoring.root / "shared/wp-content/uploads/large.bin"
    large.write_bytes(os.urandom(3_000_000))
    old = restoring.back_up()
    large.unlink()
    photo, newest = restoring.take_photo(), restoring.anew().back_up()
    before = measure(restoring)
    answer = forget(restoring, old)
    assert answer == {"forgotten": [old], "kept": []}
    assert list_snapshots(restoring) == [newest]
    assert measure(restoring) < before - 2_500_000
    noted = read_backups(str(Path(restoring.promotion.state_dir, restoring.environment.id)))
    assert [record["snapshot_id"] for record in noted] == [newest]
    restoring.sql("DELETE FROM wp_posts")
    restoring = restoring.anew()
    restoring.restore(newest)
    assert restoring.take_photo() == photo


def test_the_newest_full_backup_and_what_is_another_environments_stay(restoring: Restoring) -> None:
    theirs = restoring.back_up()
    storage = restoring.open_storage()
    storage.run(["tag", "--set", "pressluft,environment:somebody,scope:full", theirs])
    storage.list_snapshots()
    theirs = storage.snapshots[0]["id"]
    newest = restoring.anew().back_up()
    part = restoring.anew().back_up("db")
    answer = forget(restoring, theirs, newest, part)
    assert answer["forgotten"] == [part]
    reasons = {kept["snapshot_id"]: kept["reason"] for kept in answer["kept"]}
    assert reasons == {
        theirs: "it was not taken of this environment",
        newest: "it is the newest full backup",
    }
    assert set(list_snapshots(restoring)) == {theirs, newest}


def test_a_cleanup_that_was_killed_before_it_pruned_prunes_when_it_comes_back(restoring: Restoring) -> None:
    (restoring.root / "shared/wp-content/uploads/large.bin").write_bytes(os.urandom(3_000_000))
    old = restoring.back_up()
    (restoring.root / "shared/wp-content/uploads/large.bin").unlink()
    restoring.anew().back_up()
    storage, job_id, before = restoring.open_storage(), str(uuid4()), measure(restoring)
    run = storage.run

    def die(arguments: list[str], **rest: Any) -> Any:
        if arguments[0] == "prune":
            raise KeyboardInterrupt
        return run(arguments, **rest)

    storage.run = die
    with pytest.raises(KeyboardInterrupt):
        forget(restoring, old, job_id=job_id, storage=storage)
    assert old not in list_snapshots(restoring)
    assert forget(restoring, old, job_id=job_id)["forgotten"] == [old]
    assert measure(restoring) < before - 2_500_000
