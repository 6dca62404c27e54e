"""The effects the reconciler may have, as protocols; adapters implement them, tests may fake them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol
from uuid import UUID

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


class Clock(Protocol):
    """The controller's time: the only one gates are judged by (spec §4)."""

    def now(self) -> datetime:
        """Return the current time, aware, in UTC."""


class EntryKind(StrEnum):
    """What a tree entry is. Symlinks and submodules are `OTHER`: they are refused, never followed."""

    FILE = "file"
    FOLDER = "folder"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a folder of a commit; `oid` is the hex id of the blob or the subtree."""

    name: str
    oid: str
    kind: EntryKind


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of a commit. Equal `oid` means equal content below, so parsed folders can be cached by it."""

    oid: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Tip:
    """Where the two branches stand: hex commit ids, `None` for a branch that does not exist (yet)."""

    intents: str | None
    status: str | None


@dataclass(frozen=True, slots=True)
class CommitMessage:
    """Subject in plain words, an optional body, and trailers (`Pressluft-Job: <id>` ...), in order."""

    subject: str
    body: str = ""
    trailers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One commit as a status reader sees it."""

    commit: str
    at: datetime
    author: str
    subject: str
    trailers: tuple[tuple[str, str], ...]
    signed_by_us: bool


class Branch(StrEnum):
    """Where people write, and where the reconciler writes; the same branch by default."""

    INTENTS = "intents"
    STATUS = "status"


@dataclass(frozen=True, slots=True)
class Tampering:
    """`status/` is not what a trusted daemon wrote there last.

    `tip` is the commit it was found at (None: the branch is gone), `trusted` the commit whose `status/` is to be put
    back, `sites` the folders of `status/` that differ, `detail` who changed them or what else happened, `signed`
    whether that one signs commits, with a key that is not trusted.
    """

    tip: str | None
    trusted: str
    sites: tuple[str, ...]
    detail: str
    signed: bool = False


class Signature(StrEnum):
    """Who signed a commit, as far as some keys tell."""

    ABSENT = "absent"
    STRANGE = "strange"
    """By none of the keys; a signature that is no SSH signature is one of these."""
    ALLOWED = "allowed"


class FleetRepo(Protocol):
    """The git repository that is the only source of truth. One thread at a time."""

    def fetch(self) -> Tip:
        """Look where the branches stand now. Raises `Transient` (unreachable) or `RepoUnusable`."""

    def read_folder(self, commit: str, path: str) -> Folder | None:
        """Return the folder at `path` (`""` is the root) of a commit, `None` if there is none."""

    def read_blob(self, oid: str, *, limit: int = 65_537) -> bytes:
        """Return at most `limit` bytes of a blob; a huge one is never loaded whole."""

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
        """Commit `changes` (path to content, `None` deletes) on top of `expected` and make it durable.

        With `status_of`, `status/` is first made what it is at that commit, which is also the new commit's parent
        where the branch is gone. Returns the new commit id. Raises `TipMoved` when the branch is not at `expected`
        any more (nothing was written; look again), `Transient` when the repository cannot be reached or refused for
        a while.
        """

    def find_tampering(self, status: str | None) -> Tampering | None:
        """Say how `status/` at the tip of the status branch differs from the last word of a trusted daemon.

        `None` where it does not, or where no key is configured. Raises `RepoUnusable` where nothing there was ever
        written by a trusted daemon.
        """

    def find_bringers(self, commit: str, path: str, *, holds: Callable[[str | None], bool]) -> Sequence[str]:
        """Return the commits that brought what `path` holds at `commit`: `holds` it, but for none of its parents.

        `holds` is asked with the id of what is at the path, `None` for nothing. Lines of history that were merged are
        followed, so there may be several.
        """

    def judge_signature(self, commit: str, keys: Sequence[str]) -> Signature:
        """Say whether a commit was signed by one of these public SSH keys."""

    def read_log(self, branch: Branch, *, path: str = "", limit: int = 50) -> Sequence[LogEntry]:
        """Return the newest commits first, only those that touch `path` if one is given."""


class RunState(StrEnum):
    """Where a run of a playbook stands. `lost` is not an end: only the node knows what became of it."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """How a node is reached. `host == "localhost"` without a port is the local connection."""

    name: str
    host: str
    port: int | None
    user: str
    python_interpreter: str


@dataclass(frozen=True, slots=True)
class RunSpec:
    """One step of a job at an epoch, as one playbook run. `variables`: ids and decisions, no secrets."""

    job_id: UUID
    epoch: int
    step: str
    playbook: str
    node: NodeAddress
    variables: Mapping[str, Json]
    timeout: timedelta
    dry_run: bool = False
    """Ansible's check mode: nothing is changed, and what would be is told."""
    tag: str = ""
    """Only tasks of this tag are looked at; all where it is empty."""

    @property
    def key(self) -> str:
        """The name under which a run is found again: starting it twice is starting it once."""
        return f"{self.job_id}.{self.epoch}.{self.step}"


@dataclass(frozen=True, slots=True)
class RunEvent:
    """A line of progress, numbered from 1 without gaps within a run."""

    number: int
    at: datetime
    text: str


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """What became of a run.

    `result` is what the playbook's modules returned under `pressluft` (merged in task order). A `FAILED` one
    always carries `code` and `retry`: the failing module's own, else those of Ansible's exit code (spec.md §5).
    """

    state: RunState
    result: Mapping[str, Json] = field(default_factory=dict)
    rc: int | None = None
    code: str | None = None
    message: str = ""
    retry: bool | None = None
    timed_out: bool = False


class PlaybookRunner(Protocol):
    """Runs playbooks, each in a supervisor process of its own. Trusted with nothing but running them."""

    def start(self, spec: RunSpec) -> str:
        """Start the run, or find it if `spec.key` is known; returns its key at once."""

    def find(self, job_id: UUID, epoch: int) -> Sequence[str]:
        """Return the keys of all runs of this job and epoch that this machine knows."""

    def outcome(self, key: str) -> RunOutcome:
        """Return where the run stands. Never blocks. Unknown keys are `LOST`."""

    def events(self, key: str, *, after: int = 0) -> Sequence[RunEvent]:
        """Return the progress lines numbered above `after`."""

    def cancel(self, key: str) -> None:
        """Ask the run to stop; `outcome` says when it has. Everything it started is killed first."""

    def forget(self, key: str) -> None:
        """Remove what is kept of an ended run."""
