"""What a node measured and reports, as the controller reads it (docs/reference/node-protocol.md)."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from schemas.model import Digest, Id, Model, Timestamp
from schemas.state import BackupScope, FindingState, Proof, ResourceClass, ResourceKind

SAMPLES = 20  # spec.md §3: up to 20 samples, never content


class Reported(Model):
    """A value that a node sent: frozen like all others, but a newer node may say more than we know."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


class ObservedResource(Reported):
    """One table, option row, code component or path: digests now and in the baseline, on both sides."""

    kind: ResourceKind
    name: str
    protection: ResourceClass
    production: str | None = None
    production_baseline: str | None = None
    source: str | None = None
    source_baseline: str | None = None
    equal: bool | None = None
    """Whether both sides are the same after rewriting; only known where both changed."""
    proof: Proof = Proof.DIGEST
    unreadable: str = ""
    """Why it could not be read; then nothing is known about it."""
    samples: Annotated[tuple[str, ...], Field(max_length=SAMPLES)] = ()


class BaselineReference(Reported):
    """Which baseline the observation was compared with."""

    id: str
    taken_at: Timestamp


class SchemaDifference(Reported):
    """A protected or preserved table whose definition is not the same on both sides."""

    table: str
    difference: str


class SourceOnly(Reported):
    """Rows of a protected table that exist only on the source and will not go up."""

    table: str
    count: int
    samples: tuple[str, ...] = ()


class Observation(Reported):
    """All that a live look at source and production found; the node keeps it under the same id."""

    id: str
    taken_at: Timestamp
    baseline: BaselineReference | None = None
    baseline_refused: str = ""
    """Why the baseline on the node was not compared with; empty where it was, or where there is none."""
    source_fingerprint: str
    pending_upgrade: str | None = None
    schema_differences: tuple[SchemaDifference, ...] = ()
    source_only: tuple[SourceOnly, ...] = ()
    resources: tuple[ObservedResource, ...] = ()


class NodeReport(Reported):
    """How an environment stands by the node's own word."""

    status: str
    epoch: int = 0
    last_change_at: Timestamp | None = None
    now: Timestamp | None = None
    previous_release: str | None = None
    """The release that a rollback would go back to."""
    cut: str | None = None
    """Where the cut-over of the asking job stands; none before it started."""
    finished: bool = False
    """Whether the asking job ended here."""
    result: dict[str, object] | None = None
    """How the asking job ended here."""


class RefreshMade(Reported):
    """What a refresh left behind."""

    baseline_id: Digest


class AdvancedBaseline(Reported):
    """Which baseline a cut-over advanced; no id where there was none to advance."""

    source_id: Id
    id: Digest | None = None


class CutOverMade(Reported):
    """What a cut-over left behind; no baseline where it was taken back."""

    baseline: AdvancedBaseline | None = None


class BackupWord(Reported):
    """What the node says about the backup that the gate would rely on."""

    snapshot_id: str | None = None
    began_at: Timestamp | None = None
    ended_at: Timestamp | None = None
    last_change_at: Timestamp | None = None
    valid: bool
    reason: str = ""


class BackupMade(Reported):
    """A backup that was taken and read back."""

    snapshot_id: str
    began_at: Timestamp
    ended_at: Timestamp
    size_bytes: int = 0
    repository: str = ""
    scope: BackupScope = BackupScope.FULL


class CleanupMade(Reported):
    """Which snapshots are in the storage no more."""

    forgotten: tuple[str, ...] = ()


class Finding(Reported):
    """What a check of a machine says about one thing that Pressluft needs, and how to get it."""

    name: str
    state: FindingState
    detail: str = ""
    remedy: str = ""


class Examination(Reported):
    """What a node says about itself (`pressluft doctor`)."""

    findings: tuple[Finding, ...]


class AdoptionAction(Reported):
    """One thing that adopting a docroot does, did, or leaves alone."""

    do: str
    """`make`, `move`, `link`, `remove` or `leave`."""
    path: str
    to: str = ""
    files: int | None = None
    """How many are moved; unknown where an earlier run was gone on with."""
    bytes: int | None = None
    why: str = ""


class AdoptionRefusal(Reported):
    """Why a docroot is not adopted as it is, and what to do about it."""

    what: str
    remedy: str = ""


class AdoptionReport(Reported):
    """What a node says of adopting a plain docroot (`pressluft adopt`)."""

    state: str
    docroot: str
    root: str
    release: str
    is_done: bool = False
    """Nothing was left to do."""
    actions: tuple[AdoptionAction, ...] = ()
    refused: tuple[AdoptionRefusal, ...] = ()
    notes: tuple[str, ...] = ()
    exchange_ms: float | None = None
    """How long the one system call took that exchanged the docroot."""
