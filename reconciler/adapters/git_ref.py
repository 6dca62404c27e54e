"""What both kinds of origin share: branches, tips, and a push that can only ever add one commit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import pygit2
from pygit2.enums import ConfigLevel, Option, ReferenceType, RepositoryOpenFlag

from reconciler.adapters.git_command import Git
from reconciler.adapters.git_tree import translate_git_errors
from reconciler.adapters.process import Finished
from reconciler.errors import RepoUnusable, SettingsInvalid, TipMoved, Transient
from reconciler.ports import Branch, Tip

# A commit must survive a power cut before anybody acts on it (1.6 ms more for a commit, measured).
pygit2.option(Option.ENABLE_FSYNC_GITDIR, True)  # noqa: FBT003 - the signature is libgit2's
# What libgit2 keeps of commits and trees it has read, of all repositories together: its own bound is 256 MiB.
pygit2.option(Option.SET_CACHE_MAX_SIZE, 16 * 2**20)
# The operator named the repository in the settings; who owns it is checked where it matters, before writing.
pygit2.option(Option.SET_OWNER_VALIDATION, False)  # noqa: FBT003 - the signature is libgit2's

# Configuration of the user and the machine must not decide how a repository is written.
for _level in (ConfigLevel.SYSTEM, ConfigLevel.XDG, ConfigLevel.GLOBAL):
    pygit2.option(Option.SET_SEARCH_PATH, _level, "")


@dataclass(frozen=True, slots=True)
class Refs:
    """The full names (`refs/heads/...`) of the two branches."""

    intents: str
    status: str

    def of(self, branch: Branch) -> str:
        """Return the ref of a branch."""
        return self.intents if branch is Branch.INTENTS else self.status


class Origin(Protocol):
    """Where the fleet repo really is, with a local object store to read from and write into."""

    @property
    def repo(self) -> pygit2.Repository:
        """The object store."""

    @property
    def git(self) -> Git:
        """The command line on that object store."""

    def refs(self) -> Refs:
        """Return the branches' refs. May ask the remote the first time; raises like `look`."""

    def look(self) -> Tip:
        """Bring the object store up to date. Raises `Transient` or `RepoUnusable`."""

    def move(self, ref: str, *, expected: str | None, new: str) -> None:
        """Move a branch from `expected` to the commit `new`. Raises `TipMoved`, `Transient`, `RepoUnusable`."""

    def maintain(self) -> None:
        """Keep the object store small, where that is for us to do. Safe to call from any thread."""

    def rehearse(self, ref: str) -> None:
        """Find out whether we may write a branch, and write nothing; hooks are not asked. Raises like `move`."""


def open_repository(path: str) -> pygit2.Repository:
    """Open the repository that is exactly at `path`. Raises `RepoUnusable` with a remedy."""
    try:
        repo = pygit2.Repository(path, RepositoryOpenFlag.NO_SEARCH)
    except (pygit2.GitError, KeyError, ValueError, OSError) as error:
        if "object format" in str(error):
            raise make_sha256_error(path) from error
        raise RepoUnusable(
            f"{path} cannot be opened as a git repository ({error}); create one with `git init --bare {path}`"
        ) from error
    refuse_shallow(repo, path)
    return repo


def refuse_shallow(repo: pygit2.Repository, location: str) -> None:
    """Raise `RepoUnusable` for a shallow clone."""
    if repo.is_shallow:
        raise RepoUnusable(
            f"{location} is a shallow clone: history is missing; run `git fetch --unshallow` in it"
        )


def make_sha256_error(location: str) -> RepoUnusable:
    """Return the error for a repository with SHA-256 object names."""
    return RepoUnusable(
        f"{location} uses SHA-256 object names, which libgit2 cannot read; create the fleet repo with "
        "`git init --bare --object-format=sha1`"
    )


def make_ref(branch: str, *, setting: str) -> str:
    """Return the full ref of a branch name. Raises `SettingsInvalid` for what git does not take as one."""
    ref = f"refs/heads/{branch.removeprefix('refs/heads/')}"
    if branch.startswith("-") or not pygit2.reference_is_valid_name(ref):
        raise SettingsInvalid(f"{setting}: {branch!r} is not the name of a branch")
    return ref


def read_ref(repo: pygit2.Repository, ref: str) -> str | None:
    """Return the commit a branch points at, None if there is no such branch. Raises `RepoUnusable`."""
    with translate_git_errors(f"cannot read {ref}"):
        found = repo.references.get(ref)
    if found is None:
        return None
    if found.type != ReferenceType.DIRECT:
        raise RepoUnusable(f"{ref} is an alias of {found.target}; name that branch in the settings")
    return str(found.target)


def push_commit(git: Git, url: str, *, ref: str, expected: str | None, new: str) -> Finished:
    """Run `git push` of one commit whose parent is `expected`.

    The lease only ever forbids: as the parent is what the lease asks for, a push that passes it is a fast-forward.
    Without it, a branch that was reset to an older commit would be wound forward again.
    """
    lease = f"--force-with-lease={ref}:{expected or ''}"
    fixed = ("--porcelain", "--no-verify", "--no-signed", "--no-follow-tags", "--recurse-submodules=no")
    try:
        return git.run("push", *fixed, lease, "--", url, f"{new}:{ref}")
    except Transient as error:
        # It may have arrived all the same; only a look at the branch can tell.
        return Finished(code=-1, stdout=b"", stderr=str(error).encode())


def settle_refused_push(
    repo: pygit2.Repository, done: Finished, *, tip: str | None, expected: str | None, new: str
) -> None:
    """Decide what a failed push means from where the branch is now, not from what was said about it.

    Returns if the commit has arrived all the same (the answer was lost). Raises `TipMoved` or `Transient`.
    """
    if tip is not None and _contains(repo, tip, new):
        return
    if tip != expected:
        raise TipMoved(f"somebody else moved the branch to {(tip or 'nothing')[:12]}")
    raise Transient(f"the push was refused: {_quote_refusal(done)}", retry_after=15.0)


def _contains(repo: pygit2.Repository, tip: str, commit: str) -> bool:
    with translate_git_errors("cannot compare commits"):
        return tip == commit or repo.descendant_of(tip, commit)


def _quote_refusal(done: Finished) -> str:
    """Return what the other side's hook said, else what git said."""
    said = [line.removeprefix("remote:").strip() for line in done.complaint.splitlines() if "remote:" in line]
    told = " / ".join(line for line in said if line)
    refused = " ".join(line[1:].strip() for line in done.text.splitlines() if line.startswith("!"))
    return "; ".join(part for part in (told, refused) if part) or done.complaint[-500:]
