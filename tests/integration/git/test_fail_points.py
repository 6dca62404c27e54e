"""kill -9 before and after every call into C of one push: the next daemon finds it done or not, and does it once.

The points are found by running (tests/integration/boundary.py). `PRESSLUFT_FAULTS=all` tries each of them.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from reconciler.adapters.git_repo import GitFleetRepo
from reconciler.errors import TipMoved, Transient
from reconciler.ports import Branch
from tests.integration.boundary import Tally, list_moments, run_killed
from tests.integration.git.opening import SAID, make_opener
from tests.integration.git.people import Person, git, make_bare_repo

MOST = 10_000 if os.environ.get("PRESSLUFT_FAULTS") else 12
PATIENCE = 60
SAFE = "status/acme/site.yaml"


def push(location: str, folder: Path) -> str:
    """Open the repo as a daemon that starts, and say something if it was not said yet."""
    with ExitStack() as opened:
        repo = make_opener(folder, opened)(location)
        tip = repo.fetch().status
        found = repo.read_folder(tip or "", "status/acme")
        return tip or "" if found else say(repo, tip)


def say(repo: GitFleetRepo, tip: str | None) -> str:
    """Push."""
    return repo.push_changes(Branch.STATUS, expected=tip, changes={SAFE: b"once"}, message=SAID)


def go_on(location: str, folder: Path) -> str:
    """Do as a daemon does that was started again: try until it is done."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return push(location, folder)
        except (Transient, TipMoved):
            assert time.monotonic() < deadline
            time.sleep(0.1)


@pytest.mark.parametrize(("name", "way"), [("in place", "{}"), ("by a mirror", "file://{}")])
def test_a_push_that_is_killed_anywhere_is_made_once_in_the_end(name: str, way: str, tmp_path: Path) -> None:
    tally = Tally(f"a push {name}, killed")
    passed = try_one(way, tmp_path / "whole", tally, at=-1)
    assert passed > 20
    for at in list_moments(passed, most=MOST):
        try_one(way, tmp_path / str(at), tally, at=at)
    tally.tell()


def try_one(way: str, folder: Path, tally: Tally, *, at: int) -> int:
    """Kill one push, go on, and look at what there is."""
    bare = make_bare_repo(folder / "fleet.git")
    before = Person(bare, folder / "clone").commit({"README": b"fleet"})
    location = way.format(bare)
    fate = run_killed(lambda: push(location, folder), at=at)
    was_made = git(bare, "rev-parse", "main") != before
    commit = go_on(location, folder)
    tally.add(fate, "it was made" if was_made else "the next daemon made it")
    assert git(bare, "rev-parse", "main") == commit
    assert git(bare, "rev-list", f"{before}..main") == commit, f"killed at {at}"
    assert git(bare, "show", f"main:{SAFE}") == "once"
    assert git(bare, "fsck", "--strict", "--no-dangling") == ""
    assert not list((folder / "state").rglob("*.lock.lock"))
    return fate.passed
