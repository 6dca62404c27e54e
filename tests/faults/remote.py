"""The repo that daemons and people share: in memory for many short days, with real git for a long one."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pygit2

from reconciler.adapters.git_repo import GitFleetRepo, TrustSettings
from reconciler.adapters.git_trust import StatusTrust
from reconciler.ports import Branch, CommitMessage, FleetRepo
from tests.fakes import FakeFleetRepo, FakeStore
from tests.integration.git.opening import make_opener
from tests.integration.git.people import make_bare_repo
from tests.integration.git.sshd import make_key

BY_HAND = CommitMessage("Change by hand")


class Remote(Protocol):
    """What a fleet needs of the repo that all share."""

    @property
    def people(self) -> FleetRepo:
        """The repo as people see it."""

    def open_daemon(self, worker: str) -> FleetRepo:
        """Open it as a daemon of that name does when it starts; what it had open before is closed, as at its death."""

    def commit(self, changes: Mapping[str, bytes | None]) -> None:
        """Commit as a person."""

    def read_file(self, commit: str, path: str) -> bytes | None:
        """Read a file of a commit."""

    def list_paths(self, commit: str) -> list[str]:
        """List all files of a commit."""

    def find_word(self) -> str | None:
        """Find the newest commit by a daemon: what anybody else wrote to `status/` since then is not true."""


@dataclass
class ModelRemote:
    """A repo in memory."""

    store: FakeStore = field(default_factory=FakeStore)

    def __post_init__(self) -> None:
        self.people = FakeFleetRepo(self.store)

    def open_daemon(self, worker: str) -> FleetRepo:
        """Open it anew."""
        return FakeFleetRepo(self.store, trusts=True)

    def commit(self, changes: Mapping[str, bytes | None]) -> None:
        """Commit as a person."""
        self.people.commit_as_person(changes)

    def read_file(self, commit: str, path: str) -> bytes | None:
        """Read a file of a commit."""
        return self.people.read_file(commit, path)

    def list_paths(self, commit: str) -> list[str]:
        """List all files of a commit."""
        return list(self.store.commits[commit].files)

    def find_word(self) -> str | None:
        """Find the newest commit by a daemon."""
        commit = self.people.fetch().status
        while commit is not None and not self.store.commits[commit].entry.signed_by_us:
            commit = self.store.commits[commit].parent
        return commit


class GitRemote:
    """A bare repository with a branch that people push to as well; each daemon has a key and a mirror of its own."""

    def __init__(self, folder: Path, workers: tuple[str, ...], opened: ExitStack) -> None:
        """Make the repository and the keys below `folder`; what is opened is closed with `opened`."""
        self.bare = make_bare_repo(folder / "fleet.git")
        self._folder, self._opened = folder, opened
        self._keys = {name: make_key(folder / f"{name}.key") for name in workers}
        self._trusted = folder / "trusted"
        self._trusted.write_text(
            "".join(f"{name} {(folder / f'{name}.key.pub').read_text()}" for name in workers)
        )
        self.daemons: dict[str, GitFleetRepo] = {}
        self._trust = TrustSettings(self._trusted)
        self._judge = StatusTrust(
            pygit2.Repository(str(self.bare)), signers=self._trusted, note=folder / "last-word"
        )
        self.people: GitFleetRepo = make_opener(folder, opened)(self.bare, state="people")

    def open_daemon(self, worker: str) -> GitFleetRepo:
        """Open it as a daemon does: over a URL, through a mirror in its own folder, with its own key."""
        if worker in self.daemons:
            self.daemons[worker].close()
        with ExitStack() as kept:
            url, key = f"file://{self.bare}", self._keys[worker]
            repo = make_opener(self._folder, kept)(url, state=worker, signing_key=key, trust=self._trust)
            kept.pop_all()
        self.daemons[worker] = repo
        return repo

    def close(self) -> None:
        """Close what daemons have open."""
        for repo in self.daemons.values():
            repo.close()

    def commit(self, changes: Mapping[str, bytes | None]) -> None:
        """Commit as a person: unsigned, and on whatever is there."""
        tip = self.people.fetch().intents
        self.people.push_changes(Branch.INTENTS, expected=tip, changes=changes, message=BY_HAND, author="Ada")

    def read_file(self, commit: str, path: str) -> bytes | None:
        """Read a file of a commit."""
        tree = pygit2.Repository(str(self.bare))[commit].peel(pygit2.Tree)
        try:
            found = tree[path]
        except KeyError:
            return None
        return found.data if isinstance(found, pygit2.Blob) else None

    def list_paths(self, commit: str) -> list[str]:
        """List all files of a commit."""
        index = pygit2.Index()
        index.read_tree(pygit2.Repository(str(self.bare))[commit].peel(pygit2.Tree))
        return [entry.path for entry in index]

    def find_word(self) -> str | None:
        """Find the newest commit by a daemon, as a daemon that just started finds it."""
        tip = self.people.fetch()
        tampering = self._judge.look(tip.status)
        self._judge.repo.free()  # what it has read: this process is measured
        return tampering.trusted if tampering else tip.status

    def count_open(self) -> int:
        """Count the files that this process has open, but for those of the people's own repository."""
        places = (file.readlink() for file in Path("/proc/self/fd").iterdir() if file.is_symlink())
        return sum(not place.is_relative_to(self.bare) for place in places)

    def find_mirror(self, worker: str) -> Path:
        """Find a daemon's mirror."""
        [mirror] = (self._folder / worker / "git").glob("*/mirror.git")
        return mirror
