"""What the REST facade answers and takes (spec.md §8): every field of the contract.

Patterns of what is taken are exact: what they let through is never refused as malformed, so that a client can
validate a request before it sends it.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from schemas.model import (
    Digest,
    Flag,
    Id,
    Line,
    Model,
    Shape,
    Text,
    Timestamp,
    make_expectation,
    parse_timestamp,
)
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
from schemas.status import ResourceVerdict

DATE: Final = (
    "(20[0-9]{2}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)"
    "|02-(0[1-9]|1[0-9]|2[0-8]))|20([02468][048]|[13579][26])-02-29)"
)
TIME: Final = r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])"
MOMENT_PATTERN: Final = f"{DATE}T{TIME}"
WAIT_PATTERN: Final = (
    "7d|[0-6]d([0-9]h)?([0-9]{1,2}m)?([0-9]{1,2}s)?|[0-9]{1,2}h([0-9]{1,2}m)?([0-9]{1,2}s)?"
    "|[0-9]{1,4}m([0-9]{1,2}s)?|[0-9]{1,5}s"
    "|P7D|P[0-6]D(T([0-9]H)?[0-9]{1,2}M)?"
    "|PT([0-9]{1,2}H([0-9]{1,2}M)?([0-9]{1,2}S)?|[0-9]{1,4}M([0-9]{1,2}S)?|[0-9]{1,5}S)"
)
KEY_PATTERN: Final = "[!-~]{1,255}"
CURSOR_PATTERN: Final = "[0-9]{1,13}_[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"


def check_moment(value: object) -> object:
    """Take a time of this century in the one form that RFC 3339 and ISO 8601 share."""
    return parse_timestamp(MOMENT.check(value)) if isinstance(value, str) else value


MOMENT: Final = Shape(
    MOMENT_PATTERN, "a time with its zone such as 2026-01-02T03:04:05Z, of the years 2000 to 2099"
)
Moment = Annotated[
    Timestamp,
    BeforeValidator(check_moment),
    WithJsonSchema({"type": "string", "pattern": f"^(?:{MOMENT_PATTERN})$"}),
]
Wait = Annotated[str, Shape(WAIT_PATTERN, "a duration of at most 7 days such as 90s, 15m, 2h or PT2H")]
IdempotencyKey = Annotated[str, Shape(KEY_PATTERN, "1 to 255 visible ASCII characters")]
Cursor = Annotated[str, Shape(CURSOR_PATTERN, "the `after` of a Link header")]


def check_characters(value: str) -> str:
    """Refuse halves of surrogate pairs, which JSON can spell and nobody can store."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise make_expectation("whole characters") from error
    return value


WHOLE: Final = AfterValidator(check_characters)
AskedText = Annotated[Text, WHOLE]
AskedLine = Annotated[Line, WHOLE]


class Detail(Model):
    """One reason of a failure."""

    code: str | None = None
    """The gate that is shut."""
    field: str | None = None
    """The field that is not as it has to be."""
    message: str
    """What is the case."""
    remedy: str | None = None
    """What to do next."""


class Problem(Model):
    """Every failure, and nothing else."""

    code: str
    """What went wrong, for programs."""
    message: str
    """What went wrong, for people."""
    details: list[Detail] | None = None
    """Every reason, where there may be several."""


class Login(Model):
    """The admin's password."""

    password: Annotated[str, Field(min_length=1, max_length=1024), WHOLE]
    """As it was set by the operator."""


class JobCreated(Model):
    """The answer 202: the intent's commit is durable."""

    job_id: Id
    """The job that the intent becomes."""


class CancelOutcome(Model):
    """The answer to a cancellation."""

    success: bool
    """Whether the job is cancelled."""
    status: JobStatus
    """The state it has now."""


class ResetOutcome(Model):
    """The answer to a reset."""

    success: bool
    """Whether it is active again."""
    status: EnvironmentStatus
    """The state it has now."""


class Totals(Model):
    """How much there is and goes on."""

    jobs_running: int
    jobs_queued: int
    nodes_active: int
    """Nodes that environments are on."""
    sites_total: int


class Health(Model):
    """Whether the facade lives, or can do its work."""

    status: Literal["ok"]


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
    checked_at: Timestamp


class Asked(Model):
    """The body of requests that need none."""

    reason: AskedText | None = None
    """Why; kept with the job."""


class PromoteRequest(Model):
    """The body of `POST /environments/{id}/promote`."""

    target_environment_id: Id
    """The site's production."""
    reason: AskedText | None = None
    """Why; kept with the job."""
    pin: Digest | None = None
    """Fingerprint of the source as it was reviewed."""
    not_before: Moment | None = None
    """The job does not start earlier."""
    wait: Wait | None = None
    """How long the job stays queued while a gate is unmet, instead of being refused."""
    backup: Literal["create"] | None = None
    """`create`: the job takes the fresh full backup first."""
    refresh: Literal["protected"] | None = None
    """`protected`: the job refreshes the source right before its live check."""


class BackupRequest(Model):
    """The body of `POST /environments/{id}/backups`."""

    backup_scope: BackupScope = BackupScope.FULL
    """What to back up; the backup gate asks for `full`."""
    reason: AskedText | None = None
    """Why; kept with the job."""


class RefreshRequest(Model):
    """The body of `POST /environments/{id}/refresh`."""

    scope: RefreshScope = RefreshScope.PROTECTED
    """`protected` data only, or a `full` fresh copy."""
    anonymise: Flag = False
    """Run the node's anonymise script before the copy serves a request."""
    reason: AskedText | None = None
    """Why; kept with the job."""


class RollbackRequest(Model):
    """The body of `POST /environments/{id}/rollback`."""

    overwrite: Annotated[tuple[AskedLine, ...], Field(max_length=100)] = ()
    """Promoted resources that production wrote to since and that may be lost, by name."""
    reason: AskedText | None = None
    """Why; kept with the job."""


class RestoreRequest(Model):
    """The body of `POST /environments/{id}/restore`."""

    backup_id: Id
    """One of the environment's own backups."""
    reason: AskedText | None = None
    """Why; kept with the job."""


class ProgressLine(Model):
    """The data of `event: progress`."""

    at: Timestamp
    """When it was reported."""
    text: str
    """What is being done."""


class JobEvent(Model):
    """One event of `GET /jobs/{id}/events`."""

    event: Literal["job", "progress"]
    """`job`: the job as it now is; `progress`: a line of what its run does."""
    data: str
    """JSON on one line: a `JobView`, or a `ProgressLine`."""
