"""Every word that a field may hold out of a fixed list."""

from enum import StrEnum


class JobType(StrEnum):
    """What a job does; each has one playbook of the same name with dashes."""

    DRIFT_CHECK = "drift_check"
    ENV_PROMOTE = "env_promote"
    BACKUP_CREATE = "backup_create"
    BACKUP_CLEANUP = "backup_cleanup"
    ENV_REFRESH = "env_refresh"
    RELEASE_ROLLBACK = "release_rollback"
    ENV_RESTORE = "env_restore"
    HEALTH_CHECK = "health_check"


class JobStatus(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class EnvironmentStatus(StrEnum):
    """Where an environment stands; its site mirrors the most severe of them."""

    ACTIVE = "active"
    CLONING = "cloning"
    DEPLOYING = "deploying"
    RESTORING = "restoring"
    FAILED = "failed"


class BackupStatus(StrEnum):
    """Where a backup stands; `completed` means that its data was read back."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    EXPIRED = "expired"


class BackupScope(StrEnum):
    """What a backup holds."""

    FULL = "full"
    DB = "db"
    FILES = "files"


class StorageType(StrEnum):
    """Where a backup is kept."""

    LOCAL = "local"
    S3 = "s3"
    SFTP = "sftp"
    REST = "rest"


class RefreshScope(StrEnum):
    """What a refresh pulls down from production."""

    PROTECTED = "protected"
    FULL = "full"


class ReleaseHealth(StrEnum):
    """What the last health check of a release found."""

    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


class DriftStatus(StrEnum):
    """Whether production's protected data changed since the baseline; `unknown` is never `clean`."""

    UNKNOWN = "unknown"
    CLEAN = "clean"
    DRIFTED = "drifted"


class EnvironmentType(StrEnum):
    """What an environment is for; each site has exactly one production."""

    PRODUCTION = "production"
    STAGING = "staging"
    CLONE = "clone"


class Preset(StrEnum):
    """Which data is protected and preserved (`schemas/preset.py`)."""

    CONTENT_PROTECT = "content-protect"
    COMMERCE_PROTECT = "commerce-protect"


class OverwritePolicy(StrEnum):
    """What a conflict on mergeable data does: block the promotion, or be listed and taken from the source."""

    BLOCK = "block"
    WARN = "warn"


class IntentKind(StrEnum):
    """What a file under `intents/` may ask for."""

    PROMOTION = "Promotion"
    DRIFT_CHECK = "DriftCheck"
    BACKUP = "Backup"
    REFRESH = "Refresh"
    ROLLBACK = "Rollback"
    RESTORE = "Restore"
    RESET = "Reset"
    CANCEL = "Cancel"


class ResourceKind(StrEnum):
    """What a verdict or a planned change is about."""

    TABLE = "table"
    """A table, named without the environment's prefix."""
    OPTION = "option"
    """A row of the `options` table, named by its `option_name`."""
    COMPONENT = "component"
    """Code: the core, one plugin, one theme, or one other file."""
    PATH = "path"
    """A protected or preserved path such as `wp-content/uploads`."""


class ResourceClass(StrEnum):
    """How a promotion treats a resource (spec.md §2)."""

    PROTECTED = "protected"
    PRESERVED = "preserved"
    MERGEABLE = "mergeable"


class Verdict(StrEnum):
    """What a drift check says about one resource."""

    CLEAN = "clean"
    DRIFTED = "drifted"
    ABSENT = "absent"
    """Neither in the baseline nor now: it does not gate."""
    UNKNOWN = "unknown"
    """No baseline, or it could not be read: it gates."""


class FindingState(StrEnum):
    """What a check of a machine says about one thing that Pressluft needs."""

    OK = "ok"
    """It is there."""
    WARNING = "warning"
    """It works without, or it could not be told."""
    MISSING = "missing"
    """Pressluft does not work without it."""


class Proof(StrEnum):
    """How a verdict was reached (design.md §4)."""

    TABLESPACE = "tablespace"
    """The table's file is the one of the baseline, seen under its export lock."""
    DIGEST = "digest"
    """Every row was read and hashed."""
    MANIFEST = "manifest"
    """Every entry of the folder was compared."""
    ABSENCE = "absence"
    """The resource was looked for and is not there."""
    NONE = "none"
    """Nothing proves it; the verdict is `unknown`."""


class MergeOutcome(StrEnum):
    """What the three-way rule of spec.md §2 says about one mergeable resource."""

    PROMOTED = "promoted"
    CREATED = "created"
    KEPT = "kept"
    CONFLICT = "conflict"
    DELETED = "deleted"
    UNCHANGED = "unchanged"


class ErrorCode(StrEnum):
    """Why a job failed or waits (spec.md §5; gates: §4)."""

    ANSIBLE_PLAY_ERROR = "ANSIBLE_PLAY_ERROR"
    ANSIBLE_HOST_FAILED = "ANSIBLE_HOST_FAILED"
    ANSIBLE_HOST_UNREACHABLE = "ANSIBLE_HOST_UNREACHABLE"
    ANSIBLE_SYNTAX_ERROR = "ANSIBLE_SYNTAX_ERROR"
    ANSIBLE_UNEXPECTED_ERROR = "ANSIBLE_UNEXPECTED_ERROR"
    ANSIBLE_UNKNOWN_EXIT = "ANSIBLE_UNKNOWN_EXIT"
    ANSIBLE_TIMEOUT = "ANSIBLE_TIMEOUT"
    JOB_TIMEOUT = "JOB_TIMEOUT"
    DRIFT_CHECK_FAILED = "DRIFT_CHECK_FAILED"
    HEALTH_CHECK_FAILED = "HEALTH_CHECK_FAILED"
    ROLLBACK_FAILED = "ROLLBACK_FAILED"
    BACKUP_INVALID = "BACKUP_INVALID"
    SCHEMA_UNSUPPORTED = "SCHEMA_UNSUPPORTED"
    SOURCE_CHANGED = "SOURCE_CHANGED"
    IDENTITY_MISMATCH = "IDENTITY_MISMATCH"
    INTENT_INVALID = "INTENT_INVALID"
    DRIFT_GATE_UNMET = "DRIFT_GATE_UNMET"
    BACKUP_GATE_UNMET = "BACKUP_GATE_UNMET"
    OVERWRITE_BLOCKED = "OVERWRITE_BLOCKED"
    ENVIRONMENT_NOT_ACTIVE = "ENVIRONMENT_NOT_ACTIVE"
    FREEZE_WINDOW = "FREEZE_WINDOW"
    PROMOTIONS_DISABLED = "PROMOTIONS_DISABLED"
