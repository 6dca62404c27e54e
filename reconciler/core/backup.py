"""The life of a backup (spec.md §5): one table."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from reconciler.errors import IllegalTransition
from schemas.state import BackupStatus
from schemas.status import BackupRecord


class BackupEvent(StrEnum):
    """What happens to a backup."""

    STARTED = "started"
    READ_BACK = "read back"
    """Its data was read from the storage again and is what was written."""
    BROKE = "broke"
    EXPIRED = "expired"


TRANSITIONS: Final[Mapping[tuple[BackupStatus, BackupEvent], BackupStatus]] = MappingProxyType(
    {
        (BackupStatus.PENDING, BackupEvent.STARTED): BackupStatus.RUNNING,
        (BackupStatus.PENDING, BackupEvent.BROKE): BackupStatus.FAILED,
        (BackupStatus.RUNNING, BackupEvent.READ_BACK): BackupStatus.COMPLETED,
        (BackupStatus.RUNNING, BackupEvent.BROKE): BackupStatus.FAILED,
        (BackupStatus.COMPLETED, BackupEvent.EXPIRED): BackupStatus.EXPIRED,
    }
)


def change(record: BackupRecord, event: BackupEvent, **fields: object) -> BackupRecord:
    """Return the record after an event. Raises `IllegalTransition` for a move the table does not hold."""
    status = TRANSITIONS.get((record.status, event))
    if status is None:
        raise IllegalTransition(f"backup {record.id}: {event} is not possible while {record.status}")
    return record.model_copy(update={**fields, "status": status})
