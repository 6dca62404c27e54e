"""A fleet repo elsewhere: a private bare mirror to read from, and `git push` of single commits."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

import pygit2

from reconciler.adapters.git_command import Git
from reconciler.adapters.git_ref import (
    Refs,
    make_ref,
    make_sha256_error,
    open_repository,
    push_commit,
    read_ref,
    settle_refused_push,
)
from reconciler.adapters.git_state import StateFolder
from reconciler.adapters.git_upkeep import maintain
from reconciler.adapters.process import Finished
from reconciler.errors import RepoUnusable, Transient
from reconciler.ports import Tip

_NOT_TOLD = "pressluft-was-not-told"
_FIRST_FETCH = 900.0
"""Seconds for the fetch that fills an empty mirror."""

_LASTING = (
    (re.compile(r"host key verification failed", re.I), "check known_hosts against the server's real key"),
    (
        re.compile(r"does not appear to be a git repo|not found|not a git repo", re.I),
        "check the address of `repo`",
    ),
    (re.compile(r"shallow", re.I), "it is a shallow clone: run `git fetch --unshallow` in it"),
    (re.compile(r"transport '.*' not allowed", re.I), "use a path, ssh:// or https://"),
    (re.compile(r"authentication failed|could not read (username|password)", re.I), "check the token"),
    (
        re.compile(r"returned error: 403", re.I),
        "give the token the right to read and to write this repository",
    ),
)
"""Complaints that only a person can answer; all others are worth another try."""


class MirrorOrigin:
    """The repository at a URL (or a path we must not write into directly). One thread at a time."""

    def __init__(
        self,
        url: str,
        *,
        branch: str | None,
        status_branch: str | None,
        git: Git,
        state: StateFolder,
        refusal: str | None = None,
    ) -> None:
        """Open or create the mirror. `refusal` is the reason why nothing may be pushed, if there is one."""
        self.repo = _open_mirror(state.mirror)
        self._url = url
        self._branch = make_ref(branch, setting="branch") if branch else None
        self._status = make_ref(status_branch, setting="status_branch") if status_branch else None
        self.git = git
        self._state = state
        self._refusal = refusal

    def refs(self) -> Refs:
        """Return the branches' refs; the remote is asked for its HEAD once."""
        if self._branch is None:
            self._branch = self._find_head()
        return Refs(self._branch, self._status or self._branch)

    def look(self) -> Tip:
        """Fetch both branches. Raises `Transient` (unreachable) or `RepoUnusable`."""
        refs = self.refs()
        with self._state.alone():
            self._fetch(dict.fromkeys((refs.intents, refs.status)))
            return Tip(read_ref(self.repo, refs.intents), read_ref(self.repo, refs.status))

    def move(self, ref: str, *, expected: str | None, new: str) -> None:
        """Push the commit. What a failure means is decided by a fetch."""
        if self._refusal:
            raise RepoUnusable(self._refusal)
        with self._state.alone():
            done = push_commit(self.git, self._url, ref=ref, expected=expected, new=new)
            if done.code != 0:
                self._fetch({ref: None})
                tip = read_ref(self.repo, ref)
                settle_refused_push(self.repo, done, tip=tip, expected=expected, new=new)
                return
            self.repo.references.create(ref, new, force=True)

    def maintain(self) -> None:
        """Keep the mirror small: it is ours alone."""
        maintain(self.git)

    def rehearse(self, ref: str) -> None:
        """Let git begin a push and stop short of it: the server has let us in for writing by then."""
        if self._refusal:
            raise RepoUnusable(self._refusal)
        tip = read_ref(self.repo, ref) or read_ref(self.repo, self.refs().intents)
        if tip is not None:
            fixed = ("--dry-run", "--porcelain", "--no-verify", "--no-signed", "--recurse-submodules=no")
            done = self.git.run("push", *fixed, "--", self._url, f"{tip}:{ref}")
            if done.code != 0:
                raise _make_error(self._url, done)

    def _fetch(self, refs: dict[str, None]) -> None:
        """Make the mirror's refs what the remote's are: one exchange, three if a branch is missing there."""
        done = self._fetch_refs(list(refs))
        # Of a shallow remote git says "rejected", leaves our refs as they were, and ends with 0.
        if done.code == 0 and "rejected" not in done.complaint:
            return
        present = list_remote(self.git, self._url, *refs)
        for gone in refs.keys() - present.keys():
            if gone in self.repo.references:
                self.repo.references.delete(gone)
        remaining = [ref for ref in refs if ref in present]
        if len(remaining) == len(refs):
            raise _make_error(self._url, done)
        if remaining:
            done = self._fetch_refs(remaining)
            if done.code != 0:
                raise _make_error(self._url, done)

    def _fetch_refs(self, refs: list[str]) -> Finished:
        fixed = ("--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--force")
        timeout = {} if list(self.repo.references) else {"timeout": _FIRST_FETCH}
        return self.git.run("fetch", *fixed, "--", self._url, *(f"{ref}:{ref}" for ref in refs), **timeout)

    def _find_head(self) -> str:
        found = list_remote(self.git, self._url, "HEAD")
        if found.get("HEAD", "").startswith("refs/heads/"):
            return found["HEAD"]
        if "HEAD" in found:
            raise RepoUnusable(f"HEAD of {self._url} is detached; set `branch` to the branch people write to")
        return self._find_unborn_head()

    def _find_unborn_head(self) -> str:
        """Only a clone is told the name of a branch without commits, and only where protocol 2 gets through."""
        with tempfile.TemporaryDirectory(dir=self._state.path) as folder:
            clone = Path(folder, "clone.git")
            silent = f"init.defaultBranch={_NOT_TOLD}"
            fixed = ("--quiet", "--bare", "--depth=1")
            done = self.git.run("-c", silent, "clone", *fixed, "--", self._url, str(clone))
            if done.code != 0:
                raise _make_error(self._url, done)
            head = (clone / "HEAD").read_text().removeprefix("ref: ").strip()
        if head == f"refs/heads/{_NOT_TOLD}":
            raise RepoUnusable(
                f"{self._url} has no commits and does not say which branch its first one belongs to; set `branch`"
            )
        return head


def list_remote(git: Git, url: str, *names: str) -> dict[str, str]:
    """Return where these refs (and HEAD, if asked for, as the name of its branch) are on the remote.

    Safe to call from any thread. Raises `Transient` or `RepoUnusable`.
    """
    done = git.run("ls-remote", "--symref", "--", url, *names)
    if done.code != 0:
        raise _make_error(url, done)
    found: dict[str, str] = {}
    for line in done.text.splitlines():
        target, _, name = line.partition("\t")
        if name in names:
            found.setdefault(name, target.removeprefix("ref: "))
    if any(len(target) == 64 and "/" not in target for target in found.values()):
        raise make_sha256_error(url)
    return found


def _open_mirror(path: Path) -> pygit2.Repository:
    """Open the mirror; one that cannot be read is made anew, for nothing in it is only there."""
    if path.exists():
        try:
            return open_repository(str(path))
        except RepoUnusable:
            shutil.rmtree(path)
    return pygit2.init_repository(str(path), bare=True)


def _make_error(url: str, done: Finished) -> RepoUnusable | Transient:
    complaint = done.complaint[-500:]
    if "mismatched algorithms" in complaint or "object-format" in complaint:
        return make_sha256_error(url)
    for pattern, remedy in _LASTING:
        if pattern.search(complaint):
            return RepoUnusable(f"{url}: {complaint}; {remedy}")
    return Transient(f"{url} cannot be reached: {complaint}", retry_after=15.0)
