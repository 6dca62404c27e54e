"""Stand-ins at the ports, each held to the same contract suite as the real thing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from reconciler.errors import PressluftError, RepoUnusable, TipMoved
from reconciler.ports import (
    Branch,
    CommitMessage,
    Entry,
    EntryKind,
    Folder,
    LogEntry,
    Signature,
    Tampering,
    Tip,
)


@dataclass(frozen=True)
class Link:
    """Content of a symbolic link in a fake commit."""

    target: str


Files = dict[str, bytes | Link]


@dataclass(frozen=True)
class FakeCommit:
    """A commit with all its files by full path."""

    id: str
    parent: str | None
    files: Files
    entry: LogEntry


@dataclass
class FakeStore:
    """What several fake repositories share, as real ones share a remote."""

    commits: dict[str, FakeCommit] = field(default_factory=dict)
    heads: dict[str, str] = field(default_factory=dict)
    signatures: dict[str, str] = field(default_factory=dict)
    """The public key that signed a person's commit."""
    blobs: dict[str, bytes] = field(default_factory=dict)
    trees: dict[str, dict[str, Folder]] = field(default_factory=dict)
    """The folders of the commit that was read last, by path."""


class FakeFleetRepo:
    """A `FleetRepo` in memory. Blobs and folders have the ids that git would give them.

    `failure`, when set, is raised by the next `fetch` or `push_changes` and forgotten. `denial`, when set, is
    raised by every push that would otherwise have moved a branch, as a pre-receive hook does.
    """

    def __init__(
        self, store: FakeStore | None = None, *, status_branch: str = "main", trusts: bool = False
    ) -> None:
        """Start empty, or on a store that another fake uses too; people always write to `main`.

        `trusts`: it has a key, so that what others write to `status/` is found out.
        """
        self.store = store or FakeStore()
        self.failure: PressluftError | None = None
        self.denial: PressluftError | None = None
        self.trusts = trusts
        self._last_word: str | None = None
        self._names = {Branch.INTENTS: "main", Branch.STATUS: status_branch}

    def commit_as_person(
        self,
        changes: Mapping[str, bytes | Link | None],
        *,
        subject: str = "Change by hand",
        author: str = "Ada",
        signed: str | None = None,
    ) -> str:
        """Commit to `main` as somebody with a checkout would; returns the commit's id."""
        tip = self.store.heads.get("main")
        commit = self._commit("main", tip, changes, CommitMessage(subject), author=author, by_us=False)
        if signed:
            self.store.signatures[commit] = signed
        return commit

    def reset_as_person(self, commit: str | None) -> None:
        """Force `main` back to a commit, or delete it."""
        if commit is None:
            del self.store.heads["main"]
        else:
            self.store.heads["main"] = commit

    def read_file(self, commit: str, path: str) -> bytes | None:
        """Return a file of a commit, for assertions."""
        content = self.store.commits[commit].files.get(path)
        return content if isinstance(content, bytes) else None

    def fetch(self) -> Tip:
        self._fail()
        heads = self.store.heads
        return Tip(heads.get(self._names[Branch.INTENTS]), heads.get(self._names[Branch.STATUS]))

    def read_folder(self, commit: str, path: str) -> Folder | None:
        if commit not in self.store.commits:
            raise RepoUnusable(f"there is no commit {commit}")
        if commit not in self.store.trees:
            self.store.trees.clear()
            self._make_folder(self.store.commits[commit].files, "", self.store.trees.setdefault(commit, {}))
        return self.store.trees[commit].get(path)

    def read_blob(self, oid: str, *, limit: int = 65_537) -> bytes:
        if oid not in self.store.blobs:
            raise RepoUnusable(f"there is no blob {oid}")
        return self.store.blobs[oid][:limit]

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
        self._fail()
        if any({"", ".", "..", ".git"} & set(path.split("/")) for path in changes):
            raise ValueError(f"not paths inside the fleet repo: {list(changes)}")
        name = self._names[branch]
        if self.store.heads.get(name) != expected:
            raise TipMoved(f"{name} is at {self.store.heads.get(name)}")
        if self.denial:
            raise self.denial
        if status_of is not None:
            kept = {
                path: content
                for path, content in self.store.commits[status_of].files.items()
                if is_status(path)
            }
            changes = {"status": None, **kept, **changes}
        parent = expected or status_of
        commit = self._commit(name, parent, changes, message, author=author or "Pressluft", by_us=True)
        self._last_word = commit if branch is Branch.STATUS else self._last_word
        return commit

    def find_tampering(self, status: str | None) -> Tampering | None:
        if not self.trusts:
            return None
        word = self._last_word or self._find_word(status)
        line = list(self._list_line(status))
        newer = (
            next((item for item in line if item == word or self._is_word(item)), None)
            if word in line
            else word
        )
        if newer is None or (newer in line and self._status_at(newer) == self._status_at(status)):
            self._last_word = newer
            return None
        there, here = self._status_at(newer), self._status_at(status)
        paths = {path for path in there.keys() | here.keys() if there.get(path) != here.get(path)}
        sites = tuple(sorted({path.split("/")[1] for path in paths}))
        return Tampering(tip=status, trusted=newer, sites=sites, detail="a commit of somebody else")

    def find_bringers(self, commit: str, path: str, *, holds: Callable[[str | None], bool]) -> Sequence[str]:
        brought: str | None = None
        for here in self._list_line(commit):
            content = self.store.commits[here].files.get(path)
            if not holds(_hash("blob", content) if isinstance(content, bytes) else None):
                break
            brought = here
        return (brought,) if brought else ()

    def judge_signature(self, commit: str, keys: Sequence[str]) -> Signature:
        key = self.store.signatures.get(commit)
        if key is None:
            return Signature.ABSENT
        return Signature.ALLOWED if key in keys else Signature.STRANGE

    def _find_word(self, tip: str | None) -> str | None:
        return next((commit for commit in self._list_line(tip) if self._is_word(commit)), None)

    def _is_word(self, commit: str) -> bool:
        found = self.store.commits[commit]
        return found.entry.signed_by_us and self._status_at(commit) != self._status_at(found.parent)

    def _list_line(self, tip: str | None) -> Iterator[str]:
        while tip is not None:
            yield tip
            tip = self.store.commits[tip].parent

    def _status_at(self, commit: str | None) -> Files:
        files = self.store.commits[commit].files if commit else {}
        return {path: content for path, content in files.items() if is_status(path)}

    def read_log(self, branch: Branch, *, path: str = "", limit: int = 50) -> Sequence[LogEntry]:
        found: list[LogEntry] = []
        commit = self.store.commits.get(self.store.heads.get(self._names[branch], ""))
        while commit is not None and len(found) < limit:
            parent = self.store.commits.get(commit.parent or "")
            if not path or _below(commit, path) != (_below(parent, path) if parent else {}):
                found.append(commit.entry)
            commit = parent
        return found

    def _fail(self) -> None:
        failure, self.failure = self.failure, None
        if failure:
            raise failure

    def _commit(
        self,
        name: str,
        parent: str | None,
        changes: Mapping[str, bytes | Link | None],
        message: CommitMessage,
        *,
        author: str,
        by_us: bool,
    ) -> str:
        files = _apply(self.store.commits[parent].files if parent else {}, changes)
        contents = [content for content in changes.values() if isinstance(content, bytes)]
        self.store.blobs.update({_hash("blob", content): content for content in contents})
        number = len(self.store.commits)
        commit_id = _hash("commit", f"{number} {parent} {message} {author}".encode())
        at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=number)
        person = author.partition("<")[0].strip()
        entry = LogEntry(commit_id, at, person, message.subject, message.trailers, signed_by_us=by_us)
        self.store.commits[commit_id] = FakeCommit(commit_id, parent, files, entry)
        self.store.heads[name] = commit_id
        return commit_id

    def _make_folder(self, files: Files, path: str, found: dict[str, Folder]) -> Folder:
        """Make the folder at `path` and all below it; `found` takes them by path."""
        folders: dict[str, Files] = {}
        entries: list[tuple[bytes, bytes, Entry]] = []
        for below, content in files.items():
            name, slash, rest = below.partition("/")
            if slash:
                folders.setdefault(name, {})[rest] = content
            elif isinstance(content, Link):
                oid = _hash("blob", content.target.encode())
                entries.append((name.encode(), b"120000", Entry(name, oid, EntryKind.OTHER)))
            else:
                entries.append(
                    (name.encode(), b"100644", Entry(name, _hash("blob", content), EntryKind.FILE))
                )
        for name, inside in folders.items():
            oid = self._make_folder(inside, f"{path}/{name}".lstrip("/"), found).oid
            entries.append((f"{name}/".encode(), b"40000", Entry(name, oid, EntryKind.FOLDER)))
        entries.sort(key=lambda item: item[0])  # git sorts a folder as if its name ended with a slash
        raw = b"".join(mode + b" " + e.name.encode() + b"\0" + bytes.fromhex(e.oid) for _, mode, e in entries)
        found[path] = Folder(_hash("tree", raw), tuple(entry for _, _, entry in entries))
        return found[path]


def is_status(path: str) -> bool:
    """Whether a path is the reconciler's."""
    return path == "status" or path.startswith("status/")


@lru_cache(maxsize=20_000)
def _hash(kind: str, content: bytes) -> str:
    return hashlib.sha1(f"{kind} {len(content)}\0".encode() + content, usedforsecurity=False).hexdigest()


def _below(commit: FakeCommit, path: str) -> Files:
    return {name: data for name, data in commit.files.items() if name == path or name.startswith(f"{path}/")}


def _apply(files: Files, changes: Mapping[str, bytes | Link | None]) -> Files:
    """Removals come first; a file given where a folder was, or below a file, takes its place."""
    result = dict(files)
    for path in changes:
        parts = path.split("/")
        for ancestor in ("/".join(parts[:depth]) for depth in range(1, len(parts))):
            result.pop(ancestor, None)
        for name in [name for name in result if name == path or name.startswith(f"{path}/")]:
            del result[name]
    return result | {path: content for path, content in changes.items() if content is not None}
