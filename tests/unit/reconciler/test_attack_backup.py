"""Ways to pass the backup gate by a forged record or a clock: each is refused, with its reason."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from reconciler.ports import RunOutcome, RunState
from schemas.document import dump
from schemas.state import BackupScope, BackupStatus, ErrorCode, JobStatus
from schemas.status import BackupRecord, make_record_path
from tests.story import (
    PRODUCTION_ID,
    SITE_ID,
    STAGING_ID,
    Story,
)
from tests.unit.reconciler.attack import forge_backup


@pytest.fixture
def story() -> Story:
    return Story()


def test_a_forged_backup_record_does_not_open_the_gate_that_the_node_keeps(story: Story) -> None:
    story.run()
    forge_backup(story)
    story.node.backup_valid = False
    job = story.promote()
    assert job.error_code is ErrorCode.BACKUP_GATE_UNMET
    assert story.steps("release") == ["check-1"]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"environment_id": STAGING_ID}, id="of another environment"),
        pytest.param({"backup_scope": BackupScope.DB}, id="of the database alone"),
        pytest.param({"status": BackupStatus.RUNNING}, id="not read back"),
        pytest.param({"status": BackupStatus.EXPIRED}, id="expired"),
    ],
)
def test_a_backup_record_that_does_not_fit_opens_nothing(story: Story, changes: dict[str, object]) -> None:
    story.run()
    forge_backup(story, **changes)
    assert story.promote().error_code is ErrorCode.BACKUP_GATE_UNMET
    assert story.steps("release") == []


def test_a_backup_from_the_future_opens_nothing(story: Story) -> None:
    story.run()
    ahead = story.clock.now() + timedelta(minutes=5)
    forge_backup(story, completed_at=ahead)
    assert story.promote().error_code is ErrorCode.BACKUP_GATE_UNMET


def test_a_node_whose_clock_is_a_little_ahead_still_has_a_fresh_backup(story: Story) -> None:
    story.back_up()
    story.clock.advance(seconds=-20)
    assert story.promote().status is JobStatus.SUCCEEDED


def test_a_clock_that_went_back_does_not_make_an_old_backup_younger(story: Story) -> None:
    story.back_up()
    story.clock.advance(hours=-3)
    assert story.promote().error_code is ErrorCode.BACKUP_GATE_UNMET


def test_a_copied_backup_record_counts_only_in_its_own_place(story: Story) -> None:
    story.run()
    now = story.clock.now()
    record = BackupRecord(
        id=uuid4(),
        status=BackupStatus.COMPLETED,
        site_id=SITE_ID,
        environment_id=PRODUCTION_ID,
        job_id=uuid4(),
        created_at=now,
        began_at=now,
        completed_at=now,
    )
    path = make_record_path(record, site="acme").replace("2026-03", "2026-04")
    story.commit({path: dump(record).decode()})
    assert story.promote().error_code is ErrorCode.BACKUP_GATE_UNMET


def test_a_backup_stays_good_for_as_long_as_its_job_is_staging(story: Story) -> None:
    story.back_up()
    story.runner.answer("stage", lambda _: None)
    job = story.promote()
    story.clock.advance(hours=3)
    story.runner.end(f"{job.id}.1.stage", RunOutcome(RunState.SUCCEEDED, {"node": story.node.report()}, rc=0))
    story.run()
    assert story.job("release").status is JobStatus.SUCCEEDED


def test_a_backup_that_grows_old_during_the_cut_over_does_not_undo_it(story: Story) -> None:
    story.back_up()
    story.runner.answer("cut_over", lambda _: None)
    job = story.promote()
    story.clock.advance(hours=2)
    story.run()
    assert story.job("release").status is JobStatus.RUNNING
    story.runner.end(
        f"{job.id}.1.cut_over", RunOutcome(RunState.SUCCEEDED, {"node": story.node.report()}, rc=0)
    )
    story.run()
    assert story.job("release").status is JobStatus.SUCCEEDED
