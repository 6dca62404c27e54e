"""A storage without a free byte, and one that another restic works on: what was stored stays good, and the refusal says
what is the matter. On a real file system that is really full, with restic's own words."""

import os
import re
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
from tests.s3 import S3Storage

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


def test_s3_storage_that_is_full_fails_the_backup_and_leaves_the_gate_unmet(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restic_module, "_TRIES", 3)  # a second instead of two minutes
    with mount_small(node.folder / "repository", megabytes=2), serve_s3(node):
        upload = node.root / "shared/wp-content/uploads/large.bin"
        upload.write_bytes(os.urandom(4 << 20))
        with pytest.raises(NodeError, match=r"storage does not take .*client\.PutObject: ") as refused:
            node.create()
        assert refused.value.code == "BACKUP_INVALID"
        assert "whether it is full" in refused.value.remedy
        assert not list((node.folder / "repository").glob("*/site/locks/*")), "it took its lock away"
        assert node.verify()["reason"] == "there is no completed full backup"
        grow(node.folder / "repository", megabytes=16)
        first = node.create()
        assert node.verify()["valid"] is True, "it goes on where there is room again"
        upload.write_bytes(os.urandom(20 << 20))
        with pytest.raises(NodeError, match="storage does not take"):
            node.create()
        assert node.verify()["snapshot_id"] == first["snapshot_id"]
        assert node.verify()["valid"] is True, "what was stored before is still good"
        assert not node.dump_folder.exists()


@contextmanager
def serve_s3(node: Node) -> Iterator[None]:
    """Serve the folder of the repository as S3 storage, which is what the node's configuration names."""
    folder, config = node.folder / "repository", node.folder / "config"
    with S3Storage(folder) as served:
        served.write_keys(config / "restic.env")
        text = re.sub(
            r"(?m)^repository = .*$", f"repository = {served.repository}", (config / "node.ini").read_text()
        )
        (config / "node.ini").write_text(f"{text}environment_file = {config}/restic.env\ninitialise = yes\n")
        yield


def grow(folder: Path, *, megabytes: int) -> None:
    """Let a small file system hold more."""
    subprocess.run(
        ["mount", "-o", f"remount,size={megabytes}m", str(folder)], check=True, capture_output=True
    )


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
