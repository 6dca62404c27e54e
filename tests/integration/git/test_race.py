"""Writers that race: whatever was said to be durable is on the branch, and nothing was forced."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from reconciler.errors import TipMoved
from reconciler.ports import Branch
from tests.integration.git.opening import SAID, OpenFleet
from tests.integration.git.people import Person, add_hook, git, make_bare_repo
from tests.integration.git.sshd import Sshd
from tests.integration.git.writer import write_one


@dataclass(frozen=True)
class Written:
    """What a writer was told."""

    commits: list[str]
    lost: int


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Path]:
    """A bare repository that must be sound at the end."""
    repo = make_bare_repo(tmp_path / "fleet.git")
    yield repo
    assert "error" not in git(repo, "fsck", "--strict", "--no-dangling")


def _start(
    name: str, count: int, *, location: str, folder: Path, via: Sshd | None = None
) -> subprocess.Popen[str]:
    told = {
        "name": name,
        "count": count,
        "location": location,
        "state": str(folder / f"state-{name}"),
        "key": str(via.key) if via else None,
        "known_hosts": str(via.known_hosts) if via else None,
    }
    command = [sys.executable, "-m", "tests.integration.git.writer", json.dumps(told)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _finish(process: subprocess.Popen[str]) -> Written:
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    return Written(**json.loads(output))


def _assert_all_there(bare: Path, written: list[str]) -> None:
    on_branch = git(bare, "rev-list", "--first-parent", "main").split()
    assert set(written) <= set(on_branch)
    assert len(written) == len(set(written))


def _count_files(bare: Path, folder: str) -> int:
    return len(git(bare, "ls-tree", "--name-only", f"main:{folder}").split())


def test_two_writers_with_300_commits_each_lose_none(bare: Path, tmp_path: Path) -> None:
    racing = [_start(name, 300, location=str(bare), folder=tmp_path) for name in ("a", "b")]
    first, second = (_finish(writer) for writer in racing)
    _assert_all_there(bare, first.commits + second.commits)
    assert git(bare, "rev-list", "--count", "main") == "600"
    assert (_count_files(bare, "status/a"), _count_files(bare, "status/b")) == (300, 300)
    assert first.lost + second.lost > 0, "they never met: this was no race"


def test_two_writers_through_hooks_lose_none(bare: Path, tmp_path: Path) -> None:
    add_hook(bare, "update", "exit 0")
    racing = [_start(name, 30, location=str(bare), folder=tmp_path) for name in ("a", "b")]
    first, second = (_finish(writer) for writer in racing)
    _assert_all_there(bare, first.commits + second.commits)
    assert git(bare, "rev-list", "--count", "main") == "60"
    assert first.lost + second.lost > 0, "they never met: this was no race"


def test_two_writers_over_ssh_lose_none(bare: Path, tmp_path: Path, sshd: Sshd) -> None:
    Person(bare, tmp_path / "clone").commit({"README": b"fleet"})
    location = sshd.url(bare)
    racing = [_start(name, 30, location=location, folder=tmp_path, via=sshd) for name in ("a", "b")]
    first, second = (_finish(writer) for writer in racing)
    _assert_all_there(bare, first.commits + second.commits)
    assert git(bare, "rev-list", "--count", "main") == "61"


def test_a_writer_and_a_person_with_plain_git_lose_none(bare: Path, tmp_path: Path, fleet: OpenFleet) -> None:
    person = Person(bare, tmp_path / "clone")
    person.commit({"README": b"fleet"})
    writer = _start("a", 200, location=str(bare), folder=tmp_path)
    theirs = [_push_by_hand(person, number) for number in range(12)]
    git(bare, "pack-refs", "--all")
    written = _finish(writer)
    _assert_all_there(bare, written.commits)
    assert _count_files(bare, "intents") == len(theirs)
    assert _count_files(bare, "status/a") == 200


def _push_by_hand(person: Person, number: int) -> int:
    """Commit an intent, then rebase and push until git takes it; returns how often that took."""
    (person.clone / "intents").mkdir(exist_ok=True)
    (person.clone / "intents" / f"{number}.yaml").write_text("spec")
    git(person.clone, "add", "--all")
    git(person.clone, "commit", "--quiet", "-m", f"Intent {number}")
    for attempt in range(200):
        git(person.clone, "pull", "--quiet", "--rebase", "origin", "main")
        try:
            git(person.clone, "push", "--quiet", "origin", "HEAD:main")
        except AssertionError:
            continue
        return attempt
    raise AssertionError("the person never got through")


def test_packing_refs_meanwhile_loses_none(bare: Path, tmp_path: Path, fleet: OpenFleet) -> None:
    over = threading.Event()

    def pack() -> None:
        while not over.is_set():
            subprocess.run(["git", "-C", bare, "pack-refs", "--all"], check=False, capture_output=True)

    packer = threading.Thread(target=pack)
    packer.start()
    try:
        with fleet(bare) as repo:
            commits = [write_one(repo, f"status/a/{number}")[0] for number in range(100)]
    finally:
        over.set()
        packer.join()
    _assert_all_there(bare, commits)
    assert git(bare, "rev-list", "--count", "main") == "100"


@pytest.mark.parametrize(
    "meanwhile",
    [
        pytest.param({"notes.md": b"2"}, id="elsewhere"),
        pytest.param({"status/acme/ended.txt": b"2"}, id="in the same folder"),
        pytest.param({"notes.md": None}, id="a file that is gone"),
    ],
)
def test_changes_that_lost_their_race_are_made_again_on_what_is_there(
    bare: Path, fleet: OpenFleet, tmp_path: Path, meanwhile: dict[str, bytes | None]
) -> None:
    person, changes = Person(bare, tmp_path / "clone"), {"status/acme/site.yaml": b"ours"}
    person.commit({"notes.md": b"1", "status/acme/jobs/one.yaml": b"1"})
    repo = fleet(bare)
    tip = repo.fetch().status
    person.commit(meanwhile)
    with pytest.raises(TipMoved):
        repo.push_changes(Branch.STATUS, expected=tip, changes=changes, message=SAID)
    commit = repo.push_changes(Branch.STATUS, expected=repo.fetch().status, changes=changes, message=SAID)
    there = set(git(bare, "ls-tree", "-r", "--name-only", commit).split())
    gone = {path for path, content in meanwhile.items() if content is None}
    assert there == {"notes.md", "status/acme/jobs/one.yaml", *meanwhile, *changes} - gone
    assert all(git(bare, "show", f"{commit}:{path}") == "2" for path in meanwhile if path not in gone)
