"""A storage without a free byte, and one that another restic works on: what was stored stays good, and the refusal says
what is the matter. On a real file system that is really full, with restic's own words."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils import restic as restic_module
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError

from tests.integration.node.test_backup import Node, node, repository
from tests.integration.node.test_full_disk import fill
from tests.integration.node.test_stage import mount_small

__all__ = ["node", "repository"]


def test_a_backup_that_does_not_fit_leaves_the_earlier_one_good(node: Node) -> None:
    with mount_small(node.folder / "repository", megabytes=2):
        first = node.create()
        upload = node.root / "shared/wp-content/uploads/large.bin"
        upload.write_bytes(os.urandom(4 << 20))
        with pytest.raises(NodeError, match=r"the storage is full .*no space left on device") as refused:
            node.create()
        assert (refused.value.code, refused.value.retry) == ("BACKUP_INVALID", False)
        assert node.verify()["snapshot_id"] == first["snapshot_id"]
        assert node.verify()["valid"] is True
        assert not node.dump_folder.exists()
        upload.unlink()
        assert node.create()["snapshot_id"] != first["snapshot_id"], "it goes on where there is room again"


def test_a_storage_without_a_free_byte_is_called_full_whatever_is_asked_of_it(node: Node) -> None:
    with mount_small(node.folder / "repository", megabytes=2):
        first = node.create()
        fill(str(node.folder / "repository"))
        storage = node.open_storage()
        for arguments in (["forget", first["snapshot_id"]], ["prune"], ["backup", str(node.root)]):
            with pytest.raises(NodeError, match=r"the storage is full .*no space left on device") as refused:
                storage.run(arguments)
            assert refused.value.retry is False
        assert node.verify()["valid"] is True, "what is stored can still be read"


@contextmanager
def hold_repository(node: Node) -> Iterator["subprocess.Popen[bytes]"]:
    """Another restic that is at work: a backup from a pipe that does not end."""
    environment = dict(
        os.environ,
        RESTIC_REPOSITORY=str(node.folder / "repository"),
        RESTIC_PASSWORD_FILE=str(node.folder / "config" / "restic.password"),
    )
    with subprocess.Popen(
        ["restic", "backup", "--stdin", "--json"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env=environment,
    ) as held:
        try:
            while not find_locks(node):
                assert held.poll() is None
            yield held
        finally:
            held.kill()


def find_locks(node: Node) -> set[str]:
    return {path.name for path in Path(node.folder, "repository", "locks").iterdir() if len(path.name) == 64}


def test_a_lock_of_a_restic_that_works_is_waited_for_and_never_taken_away(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restic_module, "_LOCK_PAUSE_SECONDS", 0)
    monkeypatch.setattr(restic_module, "_LOCK_ATTEMPTS", 2)
    with hold_repository(node) as other:
        locks = find_locks(node)
        with pytest.raises(NodeError, match="already locked") as refused:
            node.open_storage().run(["prune"])
        assert (refused.value.retry, find_locks(node), other.poll()) == (True, locks, None)
        assert node.create()["snapshot_id"], "backups do not keep each other out"


def test_what_a_killed_backup_left_in_the_storage_stands_in_nobodys_way(node: Node) -> None:
    with hold_repository(node) as other:
        other.kill()
        other.wait()
        assert find_locks(node)
        done = node.create()
        node.open_storage().run(["prune"])
    assert not find_locks(node)
    assert node.verify(done["snapshot_id"])["valid"] is True
