"""Object stores stay small: the mirror always, a repository of somebody's only if its owner says so."""

from __future__ import annotations

import gc
import threading
import tracemalloc
from pathlib import Path

import pytest

from reconciler.adapters import watcher
from reconciler.adapters.git_command import Access, Git, write_git_home
from reconciler.adapters.git_repo import GitFleetRepo
from reconciler.adapters.git_upkeep import maintain
from reconciler.adapters.watcher import Watcher
from reconciler.ports import Branch
from tests.integration.git.opening import SAID, OpenFleet
from tests.integration.git.people import Person, git, make_bare_repo

COMMITS = 60
LOOKS = 500
FEW = 128
"""Git estimates how many loose objects there are from one of 256 folders."""


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A fleet repo with a commit, which packs nothing by itself."""
    repo = make_bare_repo(tmp_path / "fleet.git")
    git(repo, "config", "gc.auto", "0")
    Person(repo, tmp_path / "clone").commit({"README": b"fleet"})
    return repo


def write_much(repo: GitFleetRepo) -> None:
    """Commit many small changes."""
    tip = repo.fetch().status
    for number in range(COMMITS):
        path = f"status/acme/jobs/2026-11/{number}.yaml"
        tip = repo.push_changes(Branch.STATUS, expected=tip, changes={path: b"%d" % number}, message=SAID)


def count_loose(folder: Path) -> int:
    """Count the loose objects of a repository."""
    return int(git(folder, "count-objects").split()[0])


def open_git(folder: Path, tmp_path: Path) -> Git:
    """Make a git command on a repository."""
    write_git_home(tmp_path / "home")
    return Git(folder, tmp_path / "home", Access())


def test_many_small_commits_leave_a_small_mirror(bare: Path, tmp_path: Path, fleet: OpenFleet) -> None:
    repo = fleet(f"file://{bare}")
    write_much(repo)
    (mirror,) = (tmp_path / "state").rglob("mirror.git")
    assert count_loose(mirror) > COMMITS * 5
    maintain(open_git(mirror, tmp_path), most_loose=FEW)
    assert count_loose(mirror) < FEW
    assert len(list(mirror.glob("objects/pack/*.pack"))) <= 2
    tip = repo.fetch().status
    assert tip == git(bare, "rev-parse", "main")
    assert repo.push_changes(Branch.STATUS, expected=tip, changes={"status/last": b"1"}, message=SAID)
    assert repo.read_folder(tip or "", "status/acme/jobs/2026-11") is not None
    git(mirror, "fsck", "--strict")


@pytest.mark.parametrize("url", ["file://{}", "{}"], ids=["mirror", "in place"])
def test_packs_that_upkeep_replaced_are_let_go_of(
    url: str, bare: Path, tmp_path: Path, fleet: OpenFleet
) -> None:
    repo = fleet(url.format(bare))
    for number in range(3):
        tip = repo.fetch().status
        changes = {f"status/acme/{number}.yaml": b"%d" % number}
        commit = repo.push_changes(Branch.STATUS, expected=tip, changes=changes, message=SAID)
        git(next((tmp_path / "state").rglob("mirror.git"), bare), "repack", "-adq")
        repo.fetch()
        assert repo.read_folder(commit, "status/acme") is not None
    held = [place for place in list_open() if str(tmp_path) in place and place.endswith("(deleted)")]
    assert held == []


def test_looking_again_and_again_leaves_nothing_in_memory(bare: Path, fleet: OpenFleet) -> None:
    repo = fleet(bare)
    commit = repo.push_changes(
        Branch.STATUS, expected=repo.fetch().status, changes={"status/acme/site.yaml": b"1"}, message=SAID
    )
    repo.read_folder(commit, "status/acme")
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(LOOKS):
            repo.read_folder(commit, "status/acme")
        gc.collect()
        kept = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert kept < LOOKS  # a string that stays is 50 bytes and more


def list_open() -> list[str]:
    """List the files that this process has open."""
    return [str(file.readlink()) for file in Path("/proc/self/fd").iterdir() if file.is_symlink()]


def test_what_is_small_is_left_as_it_is(bare: Path, tmp_path: Path, fleet: OpenFleet) -> None:
    repo = fleet(f"file://{bare}")
    repo.fetch()
    (mirror,) = (tmp_path / "state").rglob("mirror.git")
    before = count_loose(mirror)
    maintain(open_git(mirror, tmp_path))
    assert count_loose(mirror) == before > 0


@pytest.mark.parametrize(("consent", "is_packed"), [(None, False), ("false", False), ("true", True)])
def test_a_repository_of_somebodys_is_only_kept_up_with_consent(  # noqa: PLR0917 - pytest passes by name
    consent: str | None, is_packed: bool, bare: Path, fleet: OpenFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.adapters.git_local.maintain", lambda git: maintain(git, most_loose=FEW))
    repo = fleet(bare)
    write_much(repo)
    if consent:
        git(bare, "config", "pressluft.maintenance", consent)
    before = count_loose(bare)
    repo._origin.maintain()
    assert (count_loose(bare) < before) is is_packed


def test_a_checkout_is_never_kept_up(tmp_path: Path, bare: Path, fleet: OpenFleet) -> None:
    clone = tmp_path / "clone"
    git(clone, "config", "pressluft.maintenance", "true")
    before = sorted(path for path in (clone / ".git").rglob("*"))
    fleet(clone)._origin.maintain()
    assert sorted(path for path in (clone / ".git").rglob("*")) == before


def test_a_watcher_keeps_up_from_time_to_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher, "EVERY_SECONDS", 0.01)
    done = threading.Event()
    with Watcher(lambda: None, folder=None, read_tips=lambda: 1, interval=3600, maintain=done.set):
        assert done.wait(60)


def test_upkeep_under_way_does_not_hold_up_the_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher, "EVERY_SECONDS", 0.01)
    monkeypatch.setattr(watcher, "UPKEEP_SECONDS", 0.01)
    begun, finish = threading.Event(), threading.Event()

    def maintain_for_long() -> None:
        begun.set()
        finish.wait(60)

    with Watcher(lambda: None, folder=None, read_tips=lambda: 1, interval=3600, maintain=maintain_for_long):
        assert begun.wait(60)
    assert not finish.is_set()
    finish.set()


def test_upkeep_that_fails_stops_nobody(tmp_path: Path) -> None:
    maintain(open_git(tmp_path / "gone", tmp_path))
