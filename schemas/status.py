"""What the reconciler records: jobs, environments, sites, backups and drift checks (spec.md §1, §8).

A record is flat here, as the rest of the product uses it. In its file `id` and `name` stand under `metadata`
and everything else under `spec`; `schemas/document.py` converts.
"""

from datetime import datetime
from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import Field, ValidationInfo, field_validator

from schemas.model import BlobId, Count, Digest, Id, Message, Model, Name, Timestamp, make_expectation
from schemas.state import (
    BackupScope,
    BackupStatus,
    DriftStatus,
    EnvironmentStatus,
    ErrorCode,
    IntentKind,
    JobStatus,
    JobType,
    Preset,
    Proof,
    ReleaseHealth,
    ResourceClass,
    ResourceKind,
    StorageType,
    Verdict,
)

MOST_SAMPLES = 20  # spec.md §3


class Blocked(Model):
    """Why something does not go on, and what would help."""

    code: ErrorCode
    """The code the job would end with."""
    detail: Message
    """What is the case."""
    remedy: Message
    """What to do next."""


class Record(Model):
    """What all records have."""

    kind: ClassVar[str]
    id: Id
    """The id of what the record is about; `metadata.id` in the file."""

    @property
    def record_name(self) -> str:
        """What the record's file is called; `metadata.name` in the file."""
        return str(self.id)


class JobRecord(Record):
    """`status/<site>/jobs/<yyyy-mm>/<job_id>.yaml`."""

    kind: ClassVar[str] = "JobRecord"
    status: JobStatus
    """Where the job stands."""
    job_type: JobType | None = None
    """What the job does; absent where the intent could not be read."""
    summary: Message = ""
    """One sentence for people: what it is about or how it ended."""
    site: Name
    """The folder the intent was found in."""
    site_id: Id | None = None
    """The site's id; absent where there is no such site."""
    environment_id: Id | None = None
    """The environment the job changes: a promotion's target; a drift check's or refresh's source."""
    source_environment_id: Id | None = None
    """The environment a promotion takes from."""
    node_id: Id | None = None
    """The node of `environment_id`."""
    other_node_ids: tuple[Id, ...] = ()
    """The nodes of other environments that take part, where they are other ones."""
    intent_kind: IntentKind | None = None
    """What was asked for; absent where the intent could not be read or nobody asked."""
    intent_path: Message | None = None
    """The intent's file."""
    intent_name: Message | None = None
    """The intent's `metadata.name`."""
    intent_blob_id: BlobId | None = None
    """The git blob that was admitted; later edits of the file change nothing."""
    admitted_commit: BlobId | None = None
    """The commit of intents and policy at which it was first seen; a laxer policy of later does not bind it."""
    actor: Message | None = None
    """Who asked."""
    reason: Message | None = None
    """Why they asked."""
    step: Message | None = None
    """The step it is at or ended at."""
    epoch: Count = 0
    """How often the job was claimed; a node refuses a lower one than it has seen."""
    attempt_count: Count = 0
    """How often it was started."""
    taken_over: Count = 0
    """How often in a row it was taken over since it was last started; then the node is asked first."""
    max_attempts: Count = 3
    """How often it may be started."""
    run_after: Timestamp | None = None
    """It does not start earlier."""
    locked_at: Timestamp | None = None
    """When it was claimed."""
    locked_by: Message | None = None
    """Which daemon holds it."""
    locked_instance: Id | None = None
    """Which of the daemons of that name: an id that each keeps in its `state_dir`."""
    claimed_commit: BlobId | None = None
    """The commit of intents and policy that the claim saw."""
    waiting_for: tuple[Blocked, ...] = ()
    """Why it is queued and not running."""
    notes: tuple[Message, ...] = ()
    """What else is worth knowing, such as a later edit of the intent."""
    drift_check_id: Id | None = None
    """The drift check it made or relied on."""
    backup_id: Id | None = None
    """The backup it made, relied on or restored."""
    release_id: Id | None = None
    """The release it made or went back to."""
    started_at: Timestamp | None = None
    """When it was first started."""
    finished_at: Timestamp | None = None
    """When it ended."""
    error_code: Annotated[ErrorCode | None, Field(validate_default=True)] = None
    """Why it failed, or why the last attempt did."""
    error_message: Annotated[Message | None, Field(validate_default=True)] = None
    """What happened and what to do next; at most 10 KiB."""
    created_at: Timestamp
    """When the intent was first seen."""
    updated_at: Timestamp
    """When the record last changed."""

    @field_validator("error_code", "error_message")
    @classmethod
    def check_failure_is_explained(cls, value: str | None, info: ValidationInfo) -> str | None:
        """A failed job always says why (spec.md §5)."""
        if info.data.get("status") is JobStatus.FAILED and not value:
            raise make_expectation("a failed job to have error_code and error_message")
        return value


class EnvironmentRecord(Record):
    """`status/<site>/environments/<env>.yaml`."""

    kind: ClassVar[str] = "EnvironmentRecord"
    name: Name
    """The environment's name; `metadata.name` in the file."""
    site_id: Id
    """Its site."""
    status: EnvironmentStatus = EnvironmentStatus.ACTIVE
    """Where it stands."""
    drift_status: DriftStatus = DriftStatus.UNKNOWN
    """What the last drift check with this environment as its source said."""
    drift_checked_at: Timestamp | None = None
    """When."""
    last_drift_check_id: Id | None = None
    """In which record."""
    baseline_id: Digest | None = None
    """The baseline that the last job which advanced it left on the node; any other one there is refused."""
    current_release_id: Id | None = None
    """The release that is served."""
    previous_release_id: Id | None = None
    """The release that a rollback would go back to."""
    release_health: ReleaseHealth = ReleaseHealth.UNKNOWN
    """What the last health check found."""
    last_change_at: Timestamp | None = None
    """When Pressluft last changed the environment; a backup must have begun later to count."""
    notes: tuple[Message, ...] = ()
    """What else is worth knowing, such as a forged status file that was put right."""
    created_at: Timestamp
    """When it was first seen."""
    updated_at: Timestamp
    """When the record last changed."""
    state_version: Count = 0
    """Goes up by one with each change."""

    @property
    def record_name(self) -> str:
        """What the record's file is called."""
        return self.name


class SiteRecord(Record):
    """`status/<site>/site.yaml`."""

    kind: ClassVar[str] = "SiteRecord"
    name: Name
    """The site's name; `metadata.name` in the file."""
    status: EnvironmentStatus = EnvironmentStatus.ACTIVE
    """The most severe status of its environments."""
    primary_environment_id: Id | None = None
    """Its production."""
    notes: tuple[Message, ...] = ()
    """What else is worth knowing."""
    created_at: Timestamp
    """When it was first seen."""
    updated_at: Timestamp
    """When the record last changed."""
    state_version: Count = 0
    """Goes up by one with each change."""

    @property
    def record_name(self) -> str:
        """What the record's file is called."""
        return self.name


class BackupRecord(Record):
    """`status/<site>/backups/<yyyy-mm>/<id>.yaml`."""

    kind: ClassVar[str] = "BackupRecord"
    status: BackupStatus
    """Where it stands; `completed` only after its data was read back."""
    site_id: Id
    """The site of the environment."""
    environment_id: Id
    """The environment it was taken of."""
    job_id: Id
    """The job that took it."""
    backup_scope: BackupScope = BackupScope.FULL
    """What it holds."""
    storage_type: StorageType = StorageType.LOCAL
    """Where it is kept."""
    storage_path: Message | None = None
    """The repository, without credentials."""
    checksum: Digest | None = None
    """The snapshot's id in the repository."""
    size_bytes: Count | None = None
    """How much data the snapshot holds, in bytes."""
    retention_until: Timestamp | None = None
    """When it may be forgotten."""
    created_at: Timestamp
    """When it was asked for."""
    began_at: Timestamp | None = None
    """When its snapshot began; it counts only if that is after the environment's last change."""
    completed_at: Timestamp | None = None
    """When it had been read back."""


class ResourceChange(Model):
    """One thing that a promotion would touch or leave."""

    kind: ResourceKind
    """What it is."""
    name: Message
    """Its name, without the table prefix."""


class ResourceVerdict(Model):
    """What a drift check says about one resource, never with content."""

    kind: ResourceKind
    """What it is."""
    name: Message
    """Its name, without the table prefix."""
    protection: ResourceClass
    """Whether the verdict gates (`protected`) or only reports."""
    verdict: Verdict
    """What was found."""
    proof: Proof
    """How it was found."""
    before: Message | None = None
    """The baseline's digest; absent where the baseline had no such resource, and for preserved options and files:
    these may be passwords, which a digest lets one guess at."""
    after: Message | None = None
    """The digest now; absent where there is no such resource now, and for preserved options and files."""
    samples: Annotated[tuple[Message, ...], Field(max_length=MOST_SAMPLES)] = ()
    """Primary keys, paths or option names that differ; at most 20."""


class SourceOnlyData(Model):
    """Protected data that exists only on the source."""

    kind: ResourceKind
    """A table, or a path."""
    name: Message
    """Its name, without the table prefix."""
    count: Count = 0
    """How many rows or entries."""
    samples: Annotated[tuple[Message, ...], Field(max_length=MOST_SAMPLES)] = ()
    """Their primary keys or paths; at most 20."""


class SchemaDifference(Model):
    """A protected or preserved table that is not defined alike on both sides; it blocks a promotion."""

    table: Message
    """Its name, without the table prefix."""
    difference: Message
    """What is different."""


class MergePlan(Model):
    """What a promotion would do by the three-way rule (spec.md §2)."""

    promoted: tuple[ResourceChange, ...] = ()
    """Changed on the source only: goes up."""
    created: tuple[ResourceChange, ...] = ()
    """New on the source: goes up."""
    deleted: tuple[ResourceChange, ...] = ()
    """Deleted on the source and unchanged on production: files go."""
    kept: tuple[ResourceChange, ...] = ()
    """Changed or existing on production only: stays."""
    conflicts: tuple[ResourceChange, ...] = ()
    """Changed on both to different things."""
    unchanged: Count = 0
    """How many mergeable resources changed on neither side."""
    source_only_protected: tuple[SourceOnlyData, ...] = ()
    """Protected data that exists only on the source and will not go up."""


class DriftCheckRecord(Record):
    """`status/<site>/drift-checks/<yyyy-mm>/<id>.yaml`; never changed once written."""

    kind: ClassVar[str] = "DriftCheckRecord"
    status: DriftStatus
    """The verdict over all protected resources."""
    site: Name
    """The site's name."""
    job_id: Id
    """The job that checked."""
    source_environment_id: Id
    """The environment whose baseline was compared."""
    target_environment_id: Id
    """The production that was compared with it."""
    promotion_preset: Preset
    """The source's preset."""
    baseline_id: Digest | None = None
    """The baseline that was compared with; absent where there was none, or none to be believed."""
    reason: Message = ""
    """Why nothing is known, where the node refused the baseline it has."""
    protection_digest: Digest
    """`Protection.digest()` of what was compared; another protection needs another check."""
    source_fingerprint: Digest | None = None
    """What could be promoted, for `pin`; volatile things apart."""
    checked_at: Timestamp
    """When the live comparison was made."""
    pending_upgrade: Message | None = None
    """The upgrade of the database that WordPress will want after a promotion; none is ever run in one."""
    schema_differences: tuple[SchemaDifference, ...] = ()
    """What keeps the source's protected and preserved tables from fitting production's."""
    resources: tuple[ResourceVerdict, ...] = ()
    """One verdict per protected or preserved resource."""
    merge: MergePlan = MergePlan()
    """What a promotion would do."""


StatusRecord = JobRecord | EnvironmentRecord | SiteRecord | BackupRecord | DriftCheckRecord
RecordKind = Literal["JobRecord", "EnvironmentRecord", "SiteRecord", "BackupRecord", "DriftCheckRecord"]


def make_month(moment: datetime) -> str:
    """Make the name of the monthly folder that a record of this moment (UTC) lies in."""
    return f"{moment:%Y-%m}"


def make_record_path(record: StatusRecord, *, site: str) -> str:
    """Make the path of a record's file; a job's and a backup's month is that of their creation."""
    match record:
        case SiteRecord():
            return f"status/{site}/site.yaml"
        case EnvironmentRecord():
            return f"status/{site}/environments/{record.name}.yaml"
        case JobRecord():
            return make_monthly_path(site, "jobs", moment=record.created_at, record_id=record.id)
        case BackupRecord():
            return make_monthly_path(site, "backups", moment=record.created_at, record_id=record.id)
        case DriftCheckRecord():
            return make_monthly_path(site, "drift-checks", moment=record.checked_at, record_id=record.id)


def make_monthly_path(site: str, folder: str, *, moment: datetime, record_id: UUID) -> str:
    """Make a path such as `status/acme/jobs/2026-11/<id>.yaml`."""
    return f"status/{site}/{folder}/{make_month(moment)}/{record_id}.yaml"
