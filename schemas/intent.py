"""What people ask for: one document under `intents/` is one intent (spec.md §1, §3, §4, §6, §7)."""

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Annotated, Final, Literal
from uuid import UUID, uuid5

from pydantic import Field, ValidationInfo, field_validator

from schemas.model import (
    API_VERSION,
    Digest,
    Duration,
    Flag,
    Id,
    Line,
    Metadata,
    Model,
    Name,
    Text,
    Timestamp,
    limit_duration,
    make_expectation,
)
from schemas.state import BackupScope, IntentKind, JobType, RefreshScope

LONGEST_WAIT: Final = timedelta(days=7)
INVALID_INTENT_NAMESPACE: Final = UUID("6f7a1c54-58b8-5b5e-9a53-0d8c9a7d2c41")

JOB_TYPES: Final[Mapping[IntentKind, JobType | None]] = MappingProxyType(
    {
        IntentKind.PROMOTION: JobType.ENV_PROMOTE,
        IntentKind.DRIFT_CHECK: JobType.DRIFT_CHECK,
        IntentKind.BACKUP: JobType.BACKUP_CREATE,
        IntentKind.REFRESH: JobType.ENV_REFRESH,
        IntentKind.ROLLBACK: JobType.RELEASE_ROLLBACK,
        IntentKind.RESTORE: JobType.ENV_RESTORE,
        IntentKind.RESET: JobType.HEALTH_CHECK,
        IntentKind.CANCEL: None,
    }
)
"""The job that an intent becomes; a Cancel becomes none, it acts on another job."""


class Asked(Model):
    """What every intent may say about who asks and why."""

    reason: Text | None = None
    """Why; kept with the job."""
    actor: Line | None = None
    """Who asked, where the commit's author is only the messenger (the REST facade)."""


class Scheduled(Asked):
    """What an intent that becomes a job may say about when."""

    not_before: Timestamp | None = None
    """The job does not start earlier."""
    wait: Annotated[Duration, limit_duration(LONGEST_WAIT)] | None = None
    """How long, from first sight, to stay queued while a gate is unmet; at most 7 days."""


class PromotionSpec(Scheduled):
    """Put what changed on the source onto the site's production."""

    source: Name
    """The environment to promote from."""
    target: Name
    """The site's production."""
    pin: Digest | None = None
    """Fingerprint of the source as `pressluft plan` printed it; another source ends `SOURCE_CHANGED`."""
    backup: Literal["create"] | None = None
    """`create`: take the fresh full backup first."""
    refresh: Literal["protected"] | None = None
    """`protected`: refresh the source right before the live check, up to three times."""

    @field_validator("target")
    @classmethod
    def check_target(cls, value: str, info: ValidationInfo) -> str:
        """A promotion has two ends."""
        if value == info.data.get("source"):
            raise make_expectation("an environment other than the source")
        return value


class DriftCheckSpec(Scheduled):
    """Compare production's protected data with the source's baseline."""

    environment: Name
    """The source whose baseline is compared."""


class BackupSpec(Scheduled):
    """Back an environment up and read the backup back."""

    environment: Name
    """The environment to back up."""
    scope: BackupScope = BackupScope.FULL
    """What to back up; the backup gate asks for `full`."""


class RefreshSpec(Scheduled):
    """Pull production's data down into a non-production environment and take the new baseline."""

    environment: Name
    """The environment to refresh from its source; never production."""
    scope: RefreshScope = RefreshScope.PROTECTED
    """`protected` data only, or a `full` fresh copy."""
    anonymise: Flag = False
    """Run the node's anonymise script before the copy serves a request."""


class RollbackSpec(Scheduled):
    """Put the previous release and its tables back."""

    environment: Name
    """The environment to roll back."""
    overwrite: tuple[Line, ...] = ()
    """Promoted resources that production wrote to since and that may be lost, by name."""


class RestoreSpec(Scheduled):
    """Put one environment back to one of its own backups."""

    environment: Name
    """The environment to restore."""
    backup_id: Id
    """One of its backups."""


class ResetSpec(Asked):
    """Bring a failed environment, or all of a site's, back to `active`."""

    environment: Name | None = None
    """The failed environment; absent: the whole site."""


class CancelSpec(Asked):
    """Stop a job."""

    job_id: Id
    """The job to stop."""


class IntentDocument(Model):
    """What every intent's document has."""

    api_version: Literal["pressluft/v1"] = Field(default=API_VERSION, alias="apiVersion")
    metadata: Metadata


class Promotion(IntentDocument):
    """Promote a source to production."""

    kind: Literal[IntentKind.PROMOTION] = IntentKind.PROMOTION
    spec: PromotionSpec


class DriftCheck(IntentDocument):
    """Check production for drift."""

    kind: Literal[IntentKind.DRIFT_CHECK] = IntentKind.DRIFT_CHECK
    spec: DriftCheckSpec


class Backup(IntentDocument):
    """Take a backup."""

    kind: Literal[IntentKind.BACKUP] = IntentKind.BACKUP
    spec: BackupSpec


class Refresh(IntentDocument):
    """Refresh a non-production environment from its source."""

    kind: Literal[IntentKind.REFRESH] = IntentKind.REFRESH
    spec: RefreshSpec


class Rollback(IntentDocument):
    """Go back to the previous release."""

    kind: Literal[IntentKind.ROLLBACK] = IntentKind.ROLLBACK
    spec: RollbackSpec


class Restore(IntentDocument):
    """Restore a backup."""

    kind: Literal[IntentKind.RESTORE] = IntentKind.RESTORE
    spec: RestoreSpec


class Reset(IntentDocument):
    """Reset a failed environment or site."""

    kind: Literal[IntentKind.RESET] = IntentKind.RESET
    spec: ResetSpec = ResetSpec()


class Cancel(IntentDocument):
    """Cancel a job."""

    kind: Literal[IntentKind.CANCEL] = IntentKind.CANCEL
    spec: CancelSpec


Intent = Annotated[
    Promotion | DriftCheck | Backup | Refresh | Rollback | Restore | Reset | Cancel,
    Field(discriminator="kind"),
]


def make_job_id(site_id: UUID, intent: IntentDocument) -> UUID:
    """Make the id of the intent's job: its own id, else UUIDv5 of the site's id and its name (spec.md §1)."""
    return intent.metadata.id or uuid5(site_id, intent.metadata.name)


def make_invalid_job_id(path: str, blob_id: str) -> UUID:
    """Make the id of the job that reports an unreadable intent; the corrected file gets another."""
    return uuid5(INVALID_INTENT_NAMESPACE, f"{path}\n{blob_id}")
