"""The life of an environment, and of the site that mirrors it (spec.md §5): one table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from reconciler.errors import IllegalTransition
from schemas.state import EnvironmentStatus, JobType
from schemas.status import EnvironmentRecord


class EnvironmentEvent(StrEnum):
    """What happens to an environment."""

    REFRESH_STARTED = "refresh started"
    DEPLOY_STARTED = "deploy started"
    RESTORE_STARTED = "restore started"
    SETTLED = "settled"
    """The job ended and the environment serves one healthy release."""
    BROKE = "broke"
    """The job ended and what is served is not known to be healthy, or not known at all."""
    RESET = "reset"


ACTIVE, FAILED = EnvironmentStatus.ACTIVE, EnvironmentStatus.FAILED
BUSY: Final = (EnvironmentStatus.CLONING, EnvironmentStatus.DEPLOYING, EnvironmentStatus.RESTORING)

TRANSITIONS: Final[Mapping[tuple[EnvironmentStatus, EnvironmentEvent], EnvironmentStatus]] = MappingProxyType(
    {
        (ACTIVE, EnvironmentEvent.REFRESH_STARTED): EnvironmentStatus.CLONING,
        (ACTIVE, EnvironmentEvent.DEPLOY_STARTED): EnvironmentStatus.DEPLOYING,
        (ACTIVE, EnvironmentEvent.RESTORE_STARTED): EnvironmentStatus.RESTORING,
        **{(busy, EnvironmentEvent.SETTLED): ACTIVE for busy in BUSY},
        **{(busy, EnvironmentEvent.BROKE): FAILED for busy in BUSY},
        (FAILED, EnvironmentEvent.RESET): ACTIVE,
    }
)

STARTS: Final[Mapping[JobType, EnvironmentEvent]] = MappingProxyType(
    {
        JobType.ENV_PROMOTE: EnvironmentEvent.DEPLOY_STARTED,
        JobType.RELEASE_ROLLBACK: EnvironmentEvent.DEPLOY_STARTED,
        JobType.ENV_REFRESH: EnvironmentEvent.REFRESH_STARTED,
        JobType.ENV_RESTORE: EnvironmentEvent.RESTORE_STARTED,
    }
)
"""What the start of a job does to its environment; other jobs leave it as it is."""

SEVERITY: Final = (
    EnvironmentStatus.ACTIVE,
    EnvironmentStatus.CLONING,
    EnvironmentStatus.DEPLOYING,
    EnvironmentStatus.RESTORING,
    EnvironmentStatus.FAILED,
)


def change(record: EnvironmentRecord, event: EnvironmentEvent, *, at: datetime) -> EnvironmentRecord:
    """Return the record after an event. Raises `IllegalTransition` for a move the table does not hold."""
    status = TRANSITIONS.get((record.status, event))
    if status is None:
        raise IllegalTransition(f"environment {record.name}: {event} is not possible while {record.status}")
    return update(record, at=at, status=status)


def update(record: EnvironmentRecord, *, at: datetime, **fields: object) -> EnvironmentRecord:
    """Return the record with other fields, its version counted up."""
    return record.model_copy(update={**fields, "updated_at": at, "state_version": record.state_version + 1})


def mirror_site_status(statuses: Iterable[EnvironmentStatus]) -> EnvironmentStatus:
    """Return the most severe of the environments' statuses."""
    return max(statuses, key=SEVERITY.index, default=ACTIVE)
