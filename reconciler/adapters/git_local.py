"""A fleet repo on this machine, worked on in place: objects written, then the ref moved by compare-and-swap."""

from __future__ import annotations

import os
import random
import time
from contextlib import suppress
from pathlib import Path

import pygit2

from reconciler.adapters.git_command import Git
from reconciler.adapters.git_ref import (
    Refs,
    make_ref,
    push_commit,
    read_ref,
    refuse_shallow,
    settle_refused_push,
)
from reconciler.adapters.git_state import StateFolder
from reconciler.adapters.git_upkeep import maintain
from reconciler.errors import RepoUnusable, TipMoved, Transient
from reconciler.ports import Tip

_SERVER_HOOKS = (
    "pre-receive",
    "update",
    "proc-receive",
    "post-receive",
    "post-update",
    "reference-transaction",
)
_LOCK_ATTEMPTS = 25
_LOCK_PAUSE = (0.004, 0.03)
"""Seconds between attempts at a locked ref: git holds such a lock for a few milliseconds."""


class LocalOrigin:
    """The repository at a path. One thread at a time."""

    def __init__(self, repo: pygit2.Repository, *, refs: Refs, git: Git, state: StateFolder) -> None:
        """Work on `repo` in place; `state` keeps the note of a ref being moved."""
        self.repo = repo
        self._refs = refs
        self.git = git
        self._state = state
        self._path = Path(repo.path)

    def refs(self) -> Refs:
        """Return the branches' refs."""
        return self._refs

    def look(self) -> Tip:
        """Read the refs. Raises `Transient` when the folder is gone (unmounted), `RepoUnusable` if shallow."""
        if not (self._path / "HEAD").exists():
            raise Transient(f"the fleet repo {self._path} is not there", retry_after=15.0)
        refuse_shallow(self.repo, str(self._path))
        return Tip(read_ref(self.repo, self._refs.intents), read_ref(self.repo, self._refs.status))

    def move(self, ref: str, *, expected: str | None, new: str) -> None:
        """Move the branch by compare-and-swap, or by `git push` where hooks or a work tree must take part."""
        if self._is_checked_out(ref):
            self._refuse_stale_work_tree(ref)
            self._push(ref, expected=expected, new=new)
        elif has_server_hooks(self.repo):
            self._push(ref, expected=expected, new=new)
        else:
            self._swap(ref, expected=expected, new=new)

    def maintain(self) -> None:
        """Keep a bare repository small whose owner wants us to: `git config pressluft.maintenance true`."""
        if self.repo.is_bare and _read_setting(self.repo, "pressluft.maintenance").lower() == "true":
            maintain(self.git)

    def rehearse(self, ref: str) -> None:
        """Find out whether we may write the branch."""
        if self._is_checked_out(ref):
            self._refuse_stale_work_tree(ref)
        for name in ("objects", "refs"):
            if not os.access(self._path / name, os.W_OK | os.X_OK):
                raise RepoUnusable(f"{self._path / name} cannot be written by this user; run as its owner")

    def _swap(self, ref: str, *, expected: str | None, new: str) -> None:
        """Compare under git's own lock file, so git, libgit2 and we exclude each other; creation included."""
        error: Exception | None = None
        for _attempt in range(_LOCK_ATTEMPTS):
            try:
                with self._state.moving(ref), self.repo.transaction() as transaction:
                    transaction.lock_ref(ref)
                    self._compare(ref, expected)
                    transaction.set_target(ref, new, message="pressluft")
            except (pygit2.GitError, OSError) as caught:
                error = caught
            else:
                return
            if read_ref(self.repo, ref) == new:
                return
            self._compare(ref, expected)
            self._remove_own_leftover(ref)
            time.sleep(random.uniform(*_LOCK_PAUSE))  # noqa: S311 - only spreads the attempts
        raise Transient(
            f"{ref} cannot be moved now: {error}; a lock file of a dead git must be removed by hand"
        )

    def _compare(self, ref: str, expected: str | None) -> None:
        tip = read_ref(self.repo, ref)
        if tip != expected:
            raise TipMoved(f"somebody else moved {ref} to {(tip or 'nothing')[:12]}")

    def _push(self, ref: str, *, expected: str | None, new: str) -> None:
        done = push_commit(self.git, str(self._path), ref=ref, expected=expected, new=new)
        if done.code != 0:
            settle_refused_push(self.repo, done, tip=read_ref(self.repo, ref), expected=expected, new=new)

    def _is_checked_out(self, ref: str) -> bool:
        if not self.repo.is_bare and self.repo.references["HEAD"].target == ref:
            return True
        branch = self.repo.branches.local.get(ref.removeprefix("refs/heads/"))
        return branch is not None and branch.is_checked_out()

    def _refuse_stale_work_tree(self, ref: str) -> None:
        if _read_setting(self.repo, "receive.denyCurrentBranch").lower() == "updateinstead":
            return
        name = ref.removeprefix("refs/heads/")
        raise RepoUnusable(
            f"{name} is checked out in {self._path.parent}: writing to it would leave those files behind. Use a "
            "bare repository, set status_branch to another branch, or run "
            f"`git -C {self._path.parent} config receive.denyCurrentBranch updateInstead`"
        )

    def _remove_own_leftover(self, ref: str) -> None:
        """Remove the lock file of a killed process of ours; a person's is recognised by its time and left."""
        lock = self._path / f"{ref}.lock"
        for leftover in self._state.find_leftovers():
            with suppress(FileNotFoundError):
                found = lock.stat()
                is_ours = leftover.ref == ref and found.st_uid == os.geteuid()
                if is_ours and 0 <= found.st_mtime - leftover.since + 0.1 < 2 < time.time() - found.st_mtime:
                    lock.unlink()


def has_server_hooks(repo: pygit2.Repository) -> bool:
    """Say whether a push to this repository would run a hook of its owner."""
    folder = Path(_read_setting(repo, "core.hooksPath") or "hooks").expanduser()
    hooks = Path(repo.path) / folder
    return any((hooks / name).is_file() and os.access(hooks / name, os.X_OK) for name in _SERVER_HOOKS)


def is_ours_alone(repo: pygit2.Repository) -> bool:
    """Say whether objects may be written in place: others could not use files that only we may touch."""
    return Path(repo.path, "objects").stat().st_uid == os.geteuid() and not _is_shared(repo)


def find_reason_not_to_write(repo: pygit2.Repository) -> str | None:
    """Return why root must not push into somebody else's repository: it would lock the owner out."""
    owner = Path(repo.path, "objects").stat().st_uid
    if os.geteuid() != 0 or owner == 0 or _is_shared(repo):
        return None
    return (
        f"{repo.path} belongs to user {owner}, who could not touch files that root writes there; run the daemon "
        f"as that user, or `git -C {repo.path} config core.sharedRepository group`"
    )


def _is_shared(repo: pygit2.Repository) -> bool:
    shared = _read_setting(repo, "core.sharedRepository").lower()
    return shared not in {"", "umask", "false", "no", "off", "0"}


def find_refs(repo: pygit2.Repository, branch: str | None, status_branch: str | None) -> Refs:
    """Return the branches of a repository at a path; `branch` None is the one that HEAD names.

    Raises `RepoUnusable` for a detached HEAD, `SettingsInvalid` for a name git does not take.
    """
    intents = make_ref(branch, setting="branch") if branch else _read_head(repo)
    return Refs(intents, make_ref(status_branch, setting="status_branch") if status_branch else intents)


def _read_head(repo: pygit2.Repository) -> str:
    try:
        target = repo.lookup_reference("HEAD").raw_target
    except (KeyError, pygit2.GitError) as error:
        raise RepoUnusable(f"HEAD of {repo.path} cannot be read ({error}); is it still being made?") from None
    if not isinstance(target, bytes):
        raise RepoUnusable(f"HEAD of {repo.path} is detached; set `branch` to the branch people write to")
    return target.decode("utf-8", "surrogateescape")


def _read_setting(repo: pygit2.Repository, name: str) -> str:
    try:
        return repo.config[name] or ""
    except KeyError:
        return ""
