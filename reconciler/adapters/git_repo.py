"""The fleet repo over git: chooses how a location is worked on and implements the port `FleetRepo`."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Self

from reconciler.adapters.git_command import Access, Git, Secret
from reconciler.adapters.git_commit import (
    CommitWriter,
    Draft,
    Identity,
    find_signer,
    is_signed,
    make_moment,
    parse_trailers,
)
from reconciler.adapters.git_history import Holds, find_bringers
from reconciler.adapters.git_local import LocalOrigin, find_reason_not_to_write, find_refs, is_ours_alone
from reconciler.adapters.git_mirror import MirrorOrigin, list_remote
from reconciler.adapters.git_ref import Origin, open_repository, read_ref
from reconciler.adapters.git_state import StateFolder
from reconciler.adapters.git_tree import (
    find_folder_id,
    graft_folder,
    read_blob_size,
    read_folder_at,
    translate_git_errors,
    write_tree,
)
from reconciler.adapters.git_trust import STATUS, StatusTrust
from reconciler.adapters.signing import make_allowed_signer, make_signer_line, sign_payload, verify_payload
from reconciler.adapters.watcher import Watcher
from reconciler.errors import RepoUnusable, SettingsInvalid
from reconciler.ports import Branch, CommitMessage, Folder, LogEntry, Signature, Tampering, Tip

__all__ = ["GitFleetRepo", "Identity", "TrustSettings", "open_fleet_repo"]

_SCP_LIKE = re.compile(r"[^/:]+:(?!//).+")
_PASSWORD = re.compile(r"[^/]*//[^/@]*:[^/@]*@")
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_SCHEMES = frozenset({"ssh", "https", "file"})
_LOG_FORMAT = "%H%x00%ct%x00%an%x00%s%x00%(trailers:only,unfold)%x00"
_LOG_FIELDS = 5


@dataclass(frozen=True, slots=True)
class TrustSettings:
    """Whose word `status/` is: a file of ALLOWED SIGNERS (ssh-keygen(1)), our own key alone where there is none.

    `root` is a commit whose `status/` counts although nobody signed it.
    """

    keys: Path | None = None
    root: str | None = None


@dataclass(frozen=True, slots=True)
class Drafted:
    """The last changes of `status/` that were written: on what it was before, and the tree that holds them."""

    changes: Mapping[str, bytes | None]
    before: str | None
    tree: str


class GitFleetRepo:
    """A `FleetRepo` on a real repository. One thread at a time; `close` it, or use `with`."""

    def __init__(
        self,
        origin: Origin,
        *,
        url: str,
        watched: bool,
        writer: CommitWriter,
        state: StateFolder,
        trust: TrustSettings,
    ) -> None:
        """Made by `open_fleet_repo`. `watched`: `url` is a git dir on this machine."""
        self._origin = origin
        self._url = url
        self._watched_folder = Path(url) if watched else None
        self._writer = writer
        self._git = origin.git
        self._state = state
        self._trust_settings = trust
        self._packs_changed_at = 0
        self._drafted: Drafted | None = None
        self._is_signed_by_us = lru_cache(maxsize=4096)(self._verify_own_signature)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of files and locks."""
        self._origin.repo.free()
        self._state.close()

    def fetch(self) -> Tip:
        """See `FleetRepo.fetch`."""
        self._let_go_of_old_packs()
        return self._origin.look()

    def read_folder(self, commit: str, path: str) -> Folder | None:
        """See `FleetRepo.read_folder`. Names that cannot be printed come escaped and as `OTHER`."""
        return read_folder_at(self._origin.repo, commit, path)

    def read_blob(self, oid: str, *, limit: int = 65_537) -> bytes:
        """See `FleetRepo.read_blob`."""
        if read_blob_size(self._origin.repo, oid) > limit:
            return self._git.read_blob_start(oid, limit)
        with translate_git_errors(f"cannot read blob {oid[:12]}"):
            return self._origin.repo.odb.read(oid)[1]

    def push_changes(
        self,
        branch: Branch,
        *,
        expected: str | None,
        changes: Mapping[str, bytes | None],
        message: CommitMessage,
        author: str | None = None,
        status_of: str | None = None,
    ) -> str:
        """See `FleetRepo.push_changes`. After `Transient` it is not known whether the commit arrived: look again.

        `None` removes a file or a whole folder. Also raises `RepoUnusable`, e.g. for a checked-out branch, and
        `SettingsInvalid` when the key cannot sign.
        """
        ref, repo = self._origin.refs().of(branch), self._origin.repo
        base = graft_folder(repo, expected, name=STATUS, source=status_of) if status_of else expected
        tree = self._write_tree(base, changes)
        commit = self._writer.write(repo, tree, Draft(expected or status_of, author, message))
        self._origin.move(ref, expected=expected, new=commit)
        if self._trust is not None and branch is Branch.STATUS:
            self._trust.remember(commit)
        return commit

    def _write_tree(self, base: str | None, changes: Mapping[str, bytes | None]) -> str:
        """Write the tree of a commit; the same changes on the same `status/` are not written a second time.

        Who lost a race makes the same commit anew on a tip that differs elsewhere, and is the more likely to lose it
        again the longer that takes.
        """
        repo, before = self._origin.repo, find_folder_id(self._origin.repo, base, STATUS)
        drafted = self._drafted
        if drafted is not None and drafted.changes is changes and drafted.before == before:
            return graft_folder(repo, base, name=STATUS, source=drafted.tree)
        tree = write_tree(repo, base, changes)
        is_all = all(path.startswith(f"{STATUS}/") for path in changes)
        self._drafted = Drafted(changes, before, tree) if is_all else None
        return tree

    def rehearse_push(self, branch: Branch) -> None:
        """Find out whether we may write a branch, and write nothing. Raises `Transient` or `RepoUnusable`."""
        self._origin.rehearse(self._origin.refs().of(branch))

    def find_tampering(self, status: str | None) -> Tampering | None:
        """See `FleetRepo.find_tampering`. Costs nothing while the tip is one that was looked at before."""
        found = self._trust.look(status) if self._trust is not None else None
        if found is not None:
            self.check_own_key()  # else a broken file of keys would make everybody's word a forged one
        return found

    def read_log(self, branch: Branch, *, path: str = "", limit: int = 50) -> Sequence[LogEntry]:
        """See `FleetRepo.read_log`; as of the last `fetch` of a remote."""
        tip = read_ref(self._origin.repo, self._origin.refs().of(branch))
        if tip is None:
            return ()
        count = f"--max-count={limit}"
        done = self._git.run(
            "rev-list", count, f"--format=tformat:{_LOG_FORMAT}", tip, "--", *([path] if path else [])
        )
        if done.code != 0:
            raise RepoUnusable(f"cannot read the log: {done.complaint}")
        fields = done.text.split("\0")[:-1]
        return [self._make_entry(fields[at : at + _LOG_FIELDS]) for at in range(0, len(fields), _LOG_FIELDS)]

    def find_bringers(self, commit: str, path: str, *, holds: Holds) -> Sequence[str]:
        """See `FleetRepo.find_bringers`."""
        return find_bringers(self._origin.repo, commit, path, holds=holds)

    def judge_signature(self, commit: str, keys: Sequence[str]) -> Signature:
        """See `FleetRepo.judge_signature`."""
        if not is_signed(self._origin.repo, commit):
            return Signature.ABSENT
        with tempfile.NamedTemporaryFile("w", prefix="signers-", dir=self._state.path) as file:
            file.writelines(make_signer_line(key, "allowed") for key in keys)
            file.flush()
            signer = find_signer(self._origin.repo, commit, Path(file.name))
        return Signature.ALLOWED if signer else Signature.STRANGE

    def check_own_key(self) -> None:
        """Raise `SettingsInvalid` unless what this daemon signs is trusted by itself."""
        key = self._writer.signing_key
        if self._signers is None:
            return
        if key is None:
            raise SettingsInvalid(
                "trusted_keys is set but signing_key is not: this daemon's own word would not count"
            )
        if verify_payload(b"own", sign_payload(b"own", key).encode(), allowed_signers=self._signers) is None:
            raise SettingsInvalid(
                f"signing_key {key} is not among the keys of {self._signers} that are valid now: add its public key "
                "there, and to the trusted_keys of every other daemon of this fleet"
            )

    @cached_property
    def _signers(self) -> Path | None:
        """The file of keys whose word counts; None where there is no key to tell by."""
        return self._trust_settings.keys or (self._own_signer if self._writer.signing_key else None)

    @cached_property
    def _trust(self) -> StatusTrust | None:
        """Who may write `status/`."""
        if self._signers is None:
            return None
        digest = hashlib.sha256(self._origin.refs().status.encode()).hexdigest()
        note = self._state.path / f"last-word.{digest[:16]}"
        return StatusTrust(
            self._origin.repo, signers=self._signers, note=note, root=self._trust_settings.root
        )

    def make_watcher(self, wake: Callable[[], None], *, interval: float = 5.0) -> Watcher:
        """Return a watcher of this repository; `wake` is called from its threads, at least once per change."""
        return Watcher(
            wake,
            folder=self._watched_folder,
            read_tips=self._read_tips,
            interval=interval,
            maintain=self.maintain,
        )

    def maintain(self) -> None:
        """Keep the object store small, where that is for us to do. Safe to call from any thread."""
        self._origin.maintain()

    def _let_go_of_old_packs(self) -> None:
        """Close all packs once some came or went: libgit2 holds on to deleted ones, their space and a file each."""
        repo = self._origin.repo
        try:
            changed_at = Path(repo.path, "objects", "pack").stat().st_mtime_ns
        except FileNotFoundError:
            return  # the folder is gone or not made yet; the look says what that means
        if changed_at != self._packs_changed_at:
            repo.free()
            self._packs_changed_at = changed_at

    def _read_tips(self) -> Mapping[str, str]:
        refs = self._origin.refs()
        return list_remote(self._git, self._url, *dict.fromkeys((refs.intents, refs.status)))

    def _make_entry(self, fields: Sequence[str]) -> LogEntry:
        commit, seconds, author, subject, trailers = fields
        commit = commit.split()[-1]  # `commit <id>` comes before each
        return LogEntry(
            commit=commit,
            at=make_moment(int(seconds or 0)),
            author=author,
            subject=subject,
            trailers=tuple(parse_trailers(trailers)),
            signed_by_us=self._is_signed_by_us(commit),
        )

    def _verify_own_signature(self, commit: str) -> bool:
        if self._writer.signing_key is None:
            return False
        return find_signer(self._origin.repo, commit, self._own_signer) is not None

    @cached_property
    def _own_signer(self) -> Path:
        """A file that trusts our key alone."""
        key = self._writer.signing_key
        path = self._state.path / f"own-signer.{os.getpid()}"
        path.write_text(make_allowed_signer(key, "pressluft") if key else "")
        return path


def open_fleet_repo(  # noqa: PLR0913 - one setting of the daemon each
    location: str,
    *,
    branch: str | None,
    status_branch: str | None,
    signing_key: Path | None,
    identity: Identity,
    state_dir: Path,
    ssh_key: Path | None,
    known_hosts: Path | None,
    token: Secret | None = None,
    trust: TrustSettings = TrustSettings(),
) -> GitFleetRepo:
    """Open the fleet repo at a path or URL (ssh, scp-like, https, file); a remote is first asked by `fetch`.

    `branch` None is the repository's HEAD, `status_branch` None the same branch. A repository at a path is worked
    on in place if its files are ours alone; every other through a private mirror under `state_dir`.
    Raises `RepoUnusable` (not a repository, shallow, SHA-256, detached HEAD) or `SettingsInvalid`.
    """
    repo = None if _is_remote(location) else open_repository(str(Path(location).expanduser()))
    url = location if repo is None else os.path.realpath(repo.path)
    state = _open_state(state_dir, url)
    access = Access(ssh_key=ssh_key, known_hosts=known_hosts, token=token)
    try:
        if repo is not None and is_ours_alone(repo):
            git = Git(Path(url), state.home, access)
            refs = find_refs(repo, branch, status_branch)
            origin: Origin = LocalOrigin(repo, refs=refs, git=git, state=state)
        else:
            git = Git(state.mirror, state.home, access)
            origin = MirrorOrigin(
                url,
                branch=branch,
                status_branch=status_branch,
                git=git,
                state=state,
                refusal=find_reason_not_to_write(repo) if repo is not None else None,
            )
    except BaseException:
        state.close()
        raise
    writer = CommitWriter(identity, signing_key)
    return GitFleetRepo(origin, url=url, watched=repo is not None, writer=writer, state=state, trust=trust)


def _is_remote(location: str) -> bool:
    """Tell URLs from paths, as git does. Raises `SettingsInvalid` for URLs that must not be used."""
    scheme = _URL.match(location)
    if scheme is None:
        return bool(_SCP_LIKE.fullmatch(location)) and not Path(location).exists()
    if scheme[1].lower() not in _SCHEMES:
        raise SettingsInvalid(f"repo: {scheme[0]} is not safe or not known; use a path, ssh:// or https://")
    if _PASSWORD.match(location):
        raise SettingsInvalid(
            "repo: a password in the URL would be shown in logs; use the setting for the token"
        )
    return True


def _open_state(state_dir: Path, url: str) -> StateFolder:
    try:
        return StateFolder(state_dir, url)
    except OSError as error:
        raise SettingsInvalid(f"state_dir: {error}") from error
