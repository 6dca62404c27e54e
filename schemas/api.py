"""What the REST facade answers and takes (spec.md §8): every field of the contract."""

from __future__ import annotations

from pydantic import Field

from schemas.model import Digest, Duration, Id, Line, Model, Text, Timestamp
from schemas.state import (
    BackupScope,
    BackupStatus,
    DriftStatus,
    EnvironmentStatus,
    EnvironmentType,
    ErrorCode,
    JobStatus,
    JobType,
    Preset,
    RefreshScope,
    StorageType,
)
from schemas.status import MergePlan, ResourceVerdict


class Problem(Model):
    """Every failure, and nothing else."""

    code: str
    message: str
    details: list[dict[str, str]] | None = None


class Login(Model):
    """The admin's password."""

    password: str = Field(min_length=1, max_length=1024)


class JobCreated(Model):
    """The answer 202: the intent's commit is durable."""

    job_id: Id


class SiteView(Model):
    """A site."""

    id: Id
    name: str
    slug: str
    status: EnvironmentStatus
    primary_environment_id: Id | None
    created_at: Timestamp | None
    updated_at: Timestamp | None
    state_version: int


class EnvironmentView(Model):
    """An environment."""

    id: Id
    site_id: Id
    name: str
    slug: str
    environment_type: EnvironmentType
    status: EnvironmentStatus
    node_id: Id | None
    source_environment_id: Id | None
    promotion_preset: Preset
    preview_url: str
    primary_domain_id: Id | None
    current_release_id: Id | None
    drift_status: DriftStatus
    drift_checked_at: Timestamp | None
    last_drift_check_id: Id | None
    fastcgi_cache_enabled: bool
    redis_cache_enabled: bool
    created_at: Timestamp | None
    updated_at: Timestamp | None
    state_version: int


class BackupView(Model):
    """A backup."""

    id: Id
    environment_id: Id
    backup_scope: BackupScope
    status: BackupStatus
    storage_type: StorageType
    storage_path: str | None
    retention_until: Timestamp | None
    checksum: str | None
    size_bytes: int | None
    created_at: Timestamp
    completed_at: Timestamp | None


class JobView(Model):
    """A job."""

    id: Id
    job_type: JobType | None
    status: JobStatus
    site_id: Id | None
    environment_id: Id | None
    node_id: Id | None
    attempt_count: int
    max_attempts: int
    run_after: Timestamp | None
    locked_at: Timestamp | None
    locked_by: str | None
    started_at: Timestamp | None
    finished_at: Timestamp | None
    error_code: ErrorCode | None
    error_message: str | None
    created_at: Timestamp
    updated_at: Timestamp


class DriftCheckView(Model):
    """A drift check with its verdicts and proofs."""

    id: Id
    environment_id: Id
    promotion_preset: Preset
    status: DriftStatus
    db_checksums: list[ResourceVerdict]
    file_checksums: list[ResourceVerdict]
    merge: MergePlan
    checked_at: Timestamp


class PromoteRequest(Model):
    """The body of `POST /environments/{id}/promote`."""

    target_environment_id: Id
    reason: Text | None = None
    pin: Digest | None = None
    not_before: Timestamp | None = None
    wait: Duration | None = None
    backup: str | None = Field(default=None, pattern="^create$")
    refresh: str | None = Field(default=None, pattern="^protected$")


class BackupRequest(Model):
    """The body of `POST /environments/{id}/backups`."""

    backup_scope: BackupScope = BackupScope.FULL
    reason: Line | None = None


class RefreshRequest(Model):
    """The body of `POST /environments/{id}/refresh`."""

    scope: RefreshScope = RefreshScope.PROTECTED
    reason: Line | None = None


class RollbackRequest(Model):
    """The body of `POST /environments/{id}/rollback`."""

    overwrite: list[Line] = []
    reason: Line | None = None
