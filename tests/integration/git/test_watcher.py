"""Who changes a branch wakes the daemon, soon; nothing else does."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.adapters.watcher import Watcher
from reconciler.errors import Transient
from tests.integration.git.opening import OpenFleet
from tests.integration.git.people import Person, git, make_bare_repo

NEVER = 3600.0
"""Seconds between comparisons of tips where the kernel's events alone are tested."""


class Bell:
    """Counts wake-ups and remembers when the last one came."""

    def __init__(self) -> None:
        self._rung = threading.Event()
        self.count = 0
        self.at = 0.0

    def ring(self) -> None:
        self.count += 1
        self.at = time.monotonic()
        self._rung.set()

    def wait(self, seconds: float = 10.0) -> bool:
        """Wait for a ring since the last `clear`."""
        return self._rung.wait(seconds)

    def clear(self) -> None:
        self._rung.clear()


@pytest.fixture
def bell() -> Bell:
    return Bell()


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    repo = make_bare_repo(tmp_path / "fleet.git")
    Person(repo, tmp_path / "clone").commit({"README": b"fleet"})
    return repo


@pytest.fixture
def watched(bare: Path, bell: Bell, fleet: OpenFleet) -> Iterator[Watcher]:
    """A running watcher by events alone; the kernel's watches are in place."""
    with fleet(bare).make_watcher(bell.ring, interval=NEVER) as watcher:
        assert bell.wait()
        _settle(bare, bell)
        yield watcher


def _settle(bare: Path, bell: Bell) -> None:
    """Move a ref until the watcher answers, and wait until it is quiet again."""
    for number in range(200):
        bell.clear()
        git(bare, "update-ref", f"refs/heads/probe-{number}", "main")
        if bell.wait(0.2):
            break
    while bell.wait(0.3):
        bell.clear()


def test_a_push_wakes_within_50_ms(bare: Path, tmp_path: Path, bell: Bell, watched: Watcher) -> None:
    clone = tmp_path / "clone"
    delays = []
    for number in range(7):
        git(clone, "commit", "--quiet", "--allow-empty", "-m", f"{number}")
        bell.clear()
        git(clone, "push", "--quiet", "origin", "main")
        pushed = time.monotonic()
        assert bell.wait()
        delays.append(max(0.0, bell.at - pushed))
        while bell.wait(0.1):
            bell.clear()
    assert sorted(delays)[3] < 0.05, delays


def test_a_branch_in_a_new_folder_wakes(bare: Path, bell: Bell, watched: Watcher) -> None:
    bell.clear()
    git(bare, "update-ref", "refs/heads/pressluft/status", "main")
    assert bell.wait()


def test_a_packed_branch_that_is_deleted_wakes(bare: Path, bell: Bell, watched: Watcher) -> None:
    git(bare, "pack-refs", "--all")
    while bell.wait(0.3):
        bell.clear()
    git(bare, "update-ref", "-d", "refs/heads/main")
    assert bell.wait()


def test_objects_without_a_ref_do_not_wake(bare: Path, bell: Bell, watched: Watcher) -> None:
    bell.clear()
    git(bare, "hash-object", "-w", "--stdin", stdin="nothing yet")
    (bare / "refs/heads/main.lock").touch()
    (bare / "refs/heads/main.lock").unlink()
    assert not bell.wait(0.4)


def test_a_stopped_watcher_has_no_threads_and_does_not_wake(bare: Path, bell: Bell, fleet: OpenFleet) -> None:
    before = set(threading.enumerate())
    watcher = fleet(bare).make_watcher(bell.ring, interval=NEVER)
    watcher.start()
    assert bell.wait()
    begun = time.monotonic()
    watcher.stop()
    assert time.monotonic() - begun < 20
    assert set(threading.enumerate()) <= before
    bell.clear()
    git(bare, "update-ref", "refs/heads/late", "main")
    assert not bell.wait(0.2)


def test_a_remote_is_compared_by_the_timer(bare: Path, tmp_path: Path, bell: Bell, fleet: OpenFleet) -> None:
    with fleet(f"file://{bare}").make_watcher(bell.ring, interval=0.05):
        assert bell.wait()
        bell.clear()
        assert not bell.wait(0.4), "nothing changed"
        Person(bare, tmp_path / "clone").commit({"intents/acme/a.yaml": b"1"})
        assert bell.wait()


def test_an_outage_is_not_a_change_and_what_happened_meanwhile_is_seen(bell: Bell) -> None:
    answers: list[object] = ["old", Transient("down"), "old", Transient("down"), "new"]
    asked = threading.Event()

    def read_tips() -> object:
        answer = answers.pop(0) if answers else "new"
        if not answers:
            asked.set()
        if isinstance(answer, Transient):
            raise answer
        return answer

    with Watcher(bell.ring, folder=None, read_tips=read_tips, interval=0.01):
        assert asked.wait(10)
    assert bell.count == 2


def test_daemons_do_not_ask_a_remote_in_step() -> None:
    waits: list[float] = []
    enough = threading.Event()

    class Patience(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout or 0)
            if len(waits) >= 50:
                enough.set()
                return super().wait(0.01)
            return False

    watcher = Watcher(lambda: None, folder=None, read_tips=lambda: 1, interval=5)
    watcher._stopped = Patience()
    with watcher:
        assert enough.wait(60)
    assert len(set(waits)) > 25
    assert 4 <= min(waits) <= max(waits) <= 6


def test_a_folder_that_cannot_be_watched_leaves_the_timer(tmp_path: Path, bell: Bell) -> None:
    tips = iter(range(1000))
    with Watcher(bell.ring, folder=tmp_path / "gone", read_tips=lambda: next(tips), interval=0.02):
        assert bell.wait()
        bell.clear()
        assert bell.wait()
