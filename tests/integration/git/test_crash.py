"""kill -9 at every step of a push: nothing half done is ever visible, and the next daemon is not in the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reconciler.errors import Transient
from reconciler.ports import Branch
from tests.integration.git.opening import SAID, OpenFleet
from tests.integration.git.people import Person, git, make_bare_repo

_DIE = """
import os, signal, sys
from contextlib import ExitStack
from pathlib import Path
from unittest import mock
from reconciler.ports import Branch
from tests.integration.git.opening import SAID, make_opener

def die(*_args, **_keywords):
    os.kill(os.getpid(), signal.SIGKILL)

where, folder, location = sys.argv[1:]
repo = make_opener(Path(folder), ExitStack())(location)
with mock.patch(where, die):
    repo.push_changes(Branch.STATUS, expected=repo.fetch().status, changes={"a/b": b"lost"}, message=SAID)
"""

_BEFORE_THE_COMMIT = "reconciler.adapters.git_commit.CommitWriter.write"
_BEFORE_THE_LOCK = "reconciler.adapters.git_local.LocalOrigin._swap"
_UNDER_THE_LOCK = "reconciler.adapters.git_local.LocalOrigin._compare"
_BEFORE_THE_PUSH = "reconciler.adapters.git_mirror.push_commit"


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    repo = make_bare_repo(tmp_path / "fleet.git")
    Person(repo, tmp_path / "clone").commit({"README": b"fleet"})
    return repo


def _die_at(where: str, folder: Path, location: str) -> None:
    done = subprocess.run([sys.executable, "-c", _DIE, where, str(folder), location], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL


def _age(path: Path) -> None:
    """Make a file ten seconds older."""
    os.utime(path, (time.time() - 10, path.stat().st_mtime - 10))


@pytest.mark.parametrize("where", [_BEFORE_THE_COMMIT, _BEFORE_THE_LOCK, _UNDER_THE_LOCK])
def test_a_kill_before_the_ref_moves_leaves_nothing_visible(where: str, bare: Path, tmp_path: Path) -> None:
    tip = git(bare, "rev-parse", "main")
    _die_at(where, tmp_path, str(bare))
    assert git(bare, "rev-parse", "main") == tip
    assert git(bare, "ls-tree", "-r", "--name-only", "main") == "README"
    assert git(bare, "fsck", "--strict", "--no-dangling") == ""


@pytest.mark.parametrize("where", [_BEFORE_THE_COMMIT, _BEFORE_THE_PUSH])
def test_a_kill_before_the_push_leaves_nothing_visible(
    where: str, bare: Path, tmp_path: Path, fleet: OpenFleet
) -> None:
    tip = git(bare, "rev-parse", "main")
    _die_at(where, tmp_path, f"file://{bare}")
    assert git(bare, "rev-parse", "main") == tip
    repo = fleet(f"file://{bare}")
    assert repo.fetch().status == tip
    assert [entry.commit for entry in repo.read_log(Branch.STATUS)] == [tip]


def test_a_lock_we_left_behind_is_removed(bare: Path, tmp_path: Path, fleet: OpenFleet) -> None:
    _die_at(_UNDER_THE_LOCK, tmp_path, str(bare))
    lock = bare / "refs/heads/main.lock"
    (note,) = (tmp_path / "state" / "git").glob("*/moving-ref.*")
    _age(lock)
    _age(note)
    repo = fleet(bare)
    commit = repo.push_changes(Branch.STATUS, expected=repo.fetch().status, changes={"a": b"1"}, message=SAID)
    assert git(bare, "rev-parse", "main") == commit
    assert not lock.exists()
    assert not note.exists()


def test_a_lock_is_still_known_for_ours_after_another_daemon_came_and_went(
    bare: Path, tmp_path: Path, fleet: OpenFleet
) -> None:
    _die_at(_UNDER_THE_LOCK, tmp_path, str(bare))
    fleet(bare).close()
    (note,) = (tmp_path / "state" / "git").glob("*/moving-ref.*")
    for path in (bare / "refs/heads/main.lock", note):
        _age(path)
    repo = fleet(bare)
    commit = repo.push_changes(Branch.STATUS, expected=repo.fetch().status, changes={"a": b"1"}, message=SAID)
    assert git(bare, "rev-parse", "main") == commit


def test_a_lock_of_one_that_dies_beside_us_is_removed_as_well(
    bare: Path, tmp_path: Path, fleet: OpenFleet
) -> None:
    survivor = fleet(bare)
    tip = survivor.fetch().status
    _die_at(_UNDER_THE_LOCK, tmp_path, str(bare))
    _age(bare / "refs/heads/main.lock")
    (note,) = (tmp_path / "state" / "git").glob("*/moving-ref.*")
    _age(note)
    commit = survivor.push_changes(Branch.STATUS, expected=tip, changes={"a": b"1"}, message=SAID)
    assert git(bare, "rev-parse", "main") == commit


def test_a_lock_of_somebody_else_is_left_and_waited_for(bare: Path, fleet: OpenFleet) -> None:
    lock = bare / "refs/heads/main.lock"
    lock.touch()
    _age(lock)
    repo = fleet(bare)
    tip = repo.fetch().status
    with pytest.raises(Transient, match="lock"):
        repo.push_changes(Branch.STATUS, expected=tip, changes={"a": b"1"}, message=SAID)
    assert lock.exists()
    assert git(bare, "rev-parse", "main") == tip
    lock.unlink()
    repo.push_changes(Branch.STATUS, expected=tip, changes={"a": b"1"}, message=SAID)


def test_a_persons_lock_is_not_taken_for_ours(bare: Path, tmp_path: Path, fleet: OpenFleet) -> None:
    _die_at(_UNDER_THE_LOCK, tmp_path, str(bare))
    lock = bare / "refs/heads/main.lock"
    os.utime(lock, (time.time() + 4, time.time() + 4))
    repo = fleet(bare)
    with pytest.raises(Transient, match="lock"):
        repo.push_changes(Branch.STATUS, expected=repo.fetch().status, changes={"a": b"1"}, message=SAID)
    assert lock.exists()


def test_locks_in_the_mirror_are_removed_when_nobody_uses_it(
    bare: Path, tmp_path: Path, fleet: OpenFleet
) -> None:
    with fleet(f"file://{bare}") as first:
        first.fetch()
    (mirror,) = (tmp_path / "state" / "git").glob("*/mirror.git")
    locks = [mirror / "refs/heads/main.lock", mirror / "packed-refs.lock", mirror / "config.lock"]
    for lock in locks:
        lock.touch()
    newer = Person(bare, tmp_path / "clone").commit({"more": b"1"})
    assert fleet(f"file://{bare}").fetch().intents == newer
    assert not any(lock.exists() for lock in locks)


def test_locks_in_a_mirror_in_use_are_left(bare: Path, tmp_path: Path, fleet: OpenFleet) -> None:
    fleet(f"file://{bare}").fetch()
    (mirror,) = (tmp_path / "state" / "git").glob("*/mirror.git")
    (mirror / "config.lock").touch()
    fleet(f"file://{bare}")
    assert (mirror / "config.lock").exists()
