"""Somebody who pushes to a branch all the time: `python -m tests.integration.reconciler.pusher BARE NAME SECONDS`.

A process of its own, that waits for no daemon's thread. Its commits are made in memory on whatever the branch is at
(it borrows the repository's objects, so that a fetch costs nothing) and pushed by plain git; one that is refused is
made anew. Prints `<commit> <refusals> <seconds since its first look>` for each, and ends with its standard input.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from select import select

import pygit2

from reconciler.adapters.git_tree import write_tree
from tests.integration.git.people import git

REF = "refs/heads/main"
MOST_REFUSALS = 1000
"""A push that is refused more often than this is no lost race."""


@dataclass
class Pusher:
    """A person with a repository of their own below `folder`."""

    name: str
    bare: Path
    folder: Path
    pushed: int = 0
    own: pygit2.Repository = field(init=False)
    shared: pygit2.Repository = field(init=False)

    def __post_init__(self) -> None:
        git(self.bare, "init", "--quiet", "--bare", self.folder / f"{self.name}.git")
        path = self.folder / f"{self.name}.git"
        (path / "objects" / "info" / "alternates").write_text(f"{self.bare / 'objects'}\n")
        self.own, self.shared = pygit2.Repository(str(path)), pygit2.Repository(str(self.bare))

    def push_note(self) -> tuple[str, int]:
        """Push a file that is new; returns the commit, and how often others were faster."""
        for refusals in range(MOST_REFUSALS):
            commit = self.write(f"notes/{self.name}/{self.pushed}.md")
            if self.push(commit):
                self.pushed += 1
                return commit, refusals
        raise RuntimeError(f"{self.name} cannot push")

    def write(self, path: str) -> str:
        """Write a commit on top of what the branch is at."""
        tip = self.shared.references[REF].raw_target
        assert isinstance(tip, pygit2.Oid)
        tree = pygit2.Oid(hex=write_tree(self.own, str(tip), {path: b"x\n"}))
        person = pygit2.Signature(self.name, f"{self.name}@example.org")
        return str(self.own.create_commit(None, person, person, f"note of {self.name}", tree, [tip]))

    def push(self, commit: str) -> bool:
        """Push a commit, never by force; returns whether it was taken."""
        words = ["git", "-C", self.own.path, "push", "--quiet", "--porcelain", self.bare, f"{commit}:{REF}"]
        return subprocess.run(words, capture_output=True, check=False).returncode == 0


def main(words: Sequence[str]) -> None:
    """Push every so many seconds, or as soon as the last push is done."""
    bare, name, seconds = words
    person, began = Pusher(name, Path(bare), Path(bare).parent), time.monotonic()
    due = began
    while not select([sys.stdin], [], [], max(0.0, due - time.monotonic()))[0]:
        due = max(due, time.monotonic() - float(seconds)) + float(seconds)
        commit, refusals = person.push_note()
        sys.stdout.write(f"{commit} {refusals} {time.monotonic() - began:.3f}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
