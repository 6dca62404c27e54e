"""Which backups may be forgotten: what is past its time, and nothing that anybody may still need."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.retention import find_expired, make_job_id
from schemas.state import BackupScope, BackupStatus
from schemas.status import BackupRecord, EnvironmentRecord

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
ENVIRONMENT, SITE = UUID(int=1), UUID(int=2)


def make_backup(
    days: float,
    *,
    kept: float = 30,
    scope: BackupScope = BackupScope.FULL,
    status: BackupStatus = BackupStatus.COMPLETED,
    environment_id: UUID = ENVIRONMENT,
) -> BackupRecord:
    """A backup that was taken some days ago, to be kept for some days."""
    began = NOW - timedelta(days=days)
    return BackupRecord(
        id=uuid4(),
        status=status,
        site_id=SITE,
        environment_id=environment_id,
        job_id=uuid4(),
        backup_scope=scope,
        checksum=uuid4().hex * 2,
        retention_until=began + timedelta(days=kept),
        created_at=began,
        began_at=began,
        completed_at=began,
    )


def make_environment(*, changed: float | None = None, keeps_release: bool = False) -> EnvironmentRecord:
    """An environment that Pressluft changed some days ago."""
    return EnvironmentRecord(
        id=ENVIRONMENT,
        name="production",
        site_id=SITE,
        previous_release_id=uuid4() if keeps_release else None,
        last_change_at=NOW - timedelta(days=changed) if changed is not None else None,
        created_at=NOW,
        updated_at=NOW,
    )


def find(
    *backups: BackupRecord,
    environment: EnvironmentRecord | None = None,
    relied_on: frozenset[UUID] = frozenset(),
) -> list[BackupRecord]:
    found = find_expired(backups, environment=environment or make_environment(), relied_on=relied_on, now=NOW)
    return list(found)


def test_what_is_past_its_time_goes_and_the_rest_stays() -> None:
    old, young = make_backup(31), make_backup(29)
    assert find(old, young) == [old]


def test_the_newest_full_backup_stays_however_old_it_is() -> None:
    old, newest = make_backup(400), make_backup(300)
    part = make_backup(200, scope=BackupScope.DB)
    assert find(old, newest, part) == [old, part]


@pytest.mark.parametrize(
    "status", [status for status in BackupStatus if status is not BackupStatus.COMPLETED]
)
def test_what_is_no_completed_backup_neither_goes_nor_counts_as_the_newest(status: BackupStatus) -> None:
    assert find(make_backup(400), make_backup(300, status=status)) == []


def test_another_environments_backups_are_not_looked_at() -> None:
    theirs = make_backup(300, environment_id=uuid4())
    assert find(make_backup(400), theirs) == []


def test_what_an_open_job_relies_on_stays() -> None:
    old, newest = make_backup(400), make_backup(1)
    assert find(old, newest, relied_on=frozenset({old.id})) == []


def test_the_backup_behind_a_release_that_is_kept_stays() -> None:
    older, behind, newest = make_backup(60), make_backup(40), make_backup(1)
    assert find(older, behind, newest, environment=make_environment(changed=39.9, keeps_release=True)) == [
        older
    ]
    assert find(older, behind, newest, environment=make_environment(changed=39.9)) == [older, behind]


@given(
    st.lists(st.tuples(st.floats(0, 500), st.floats(0, 60), st.sampled_from(BackupScope)), max_size=8),
    st.floats(0, 500),
    st.booleans(),
)
def test_a_full_backup_is_always_left_where_there_was_one(
    taken: list[tuple[float, float, BackupScope]], changed: float, keeps_release: bool
) -> None:
    backups = [make_backup(days, kept=kept, scope=scope) for days, kept, scope in taken]
    gone = find(*backups, environment=make_environment(changed=changed, keeps_release=keeps_release))
    full = [backup for backup in backups if backup.backup_scope is BackupScope.FULL]
    left = [backup for backup in full if backup not in gone]
    assert bool(left) == bool(full)
    assert all(backup.retention_until and backup.retention_until <= NOW for backup in gone)
    if full:
        assert max(full, key=lambda backup: backup.began_at or NOW) in left


def test_a_slot_of_six_hours_is_one_job_and_the_next_another() -> None:
    slots = {make_job_id(ENVIRONMENT, now=NOW + timedelta(minutes=minute)) for minute in range(0, 360, 7)}
    assert len(slots) == 1
    assert make_job_id(ENVIRONMENT, now=NOW + timedelta(hours=6)) not in slots
    assert make_job_id(SITE, now=NOW) not in slots
