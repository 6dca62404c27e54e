"""Cleanups over a fake repo, a fake node and a clock: they begin by themselves, once in 6 h, on one daemon."""

from __future__ import annotations

import pytest

from reconciler.ports import Branch, RunOutcome, RunState
from reconciler.reconcile import run_pass
from schemas.state import BackupStatus, ErrorCode, JobStatus, JobType
from schemas.status import JobRecord
from tests.story import PRODUCTION_ID, Story


@pytest.fixture
def story() -> Story:
    """Two backups of production, of which the older has just expired."""
    story = Story("{retention: 30d}")
    story.back_up()
    story.clock.advance(days=20)
    story.back_up()
    story.clock.advance(days=10, minutes=5)
    return story


def list_cleanups(story: Story) -> list[JobRecord]:
    return [job for job in story.list_recorded() if job.job_type is JobType.BACKUP_CLEANUP]


def list_statuses(story: Story) -> list[BackupStatus]:
    return [backup.status for backup in story.list_backups()]


def test_an_expired_backup_is_forgotten_and_its_record_says_so(story: Story) -> None:
    story.run()
    (job,) = list_cleanups(story)
    assert (job.status, job.error_message) == (JobStatus.SUCCEEDED, None)
    assert (job.intent_path, job.environment_id) == (None, PRODUCTION_ID)
    assert list_statuses(story) == [BackupStatus.EXPIRED, BackupStatus.COMPLETED]
    subjects = [entry.subject for entry in story.repo.read_log(Branch.STATUS)]
    assert "backup cleanup succeeded: acme production" in subjects


def test_a_backup_that_has_expired_is_in_no_pass_any_more(story: Story) -> None:
    story.run()
    (kept,) = story.see().backups[PRODUCTION_ID]
    assert kept == story.list_backups()[1]


def test_nothing_is_committed_while_nothing_has_expired() -> None:
    story = Story("{retention: 30d}")
    story.back_up()
    before = story.repo.fetch().status
    for _ in range(20):
        story.clock.advance(hours=6)
        story.run()
    assert list_cleanups(story) == []
    assert story.repo.fetch().status == before


def test_the_last_backup_is_never_forgotten() -> None:
    story = Story("{retention: 30d}")
    story.back_up()
    story.clock.advance(days=400)
    story.run()
    assert list_cleanups(story) == []


def test_a_cleanup_that_fails_is_tried_again_in_the_next_slot_and_not_before(story: Story) -> None:
    text = "the storage refused the credentials"
    story.node.overrides["cleanup"] = RunOutcome(
        RunState.FAILED, code="BACKUP_INVALID", message=text, retry=False
    )
    story.run()
    story.run()
    (job,) = list_cleanups(story)
    assert (job.status, job.error_code) == (JobStatus.FAILED, ErrorCode.BACKUP_INVALID)
    assert list_statuses(story) == [BackupStatus.COMPLETED, BackupStatus.COMPLETED]
    del story.node.overrides["cleanup"]
    story.clock.advance(hours=6)
    story.run()
    assert [job.status for job in list_cleanups(story)] == [JobStatus.SUCCEEDED, JobStatus.FAILED]
    assert list_statuses(story) == [BackupStatus.EXPIRED, BackupStatus.COMPLETED]


def test_two_daemons_make_one_cleanup(story: Story) -> None:
    other = story.make_reconciler("worker-2")
    for _ in range(3):
        story.run()
        run_pass(other)
    assert len(list_cleanups(story)) == 1
    assert story.runner.started[-1].step == "cleanup"
    assert [spec.step for spec in story.runner.started].count("cleanup") == 1


def test_what_the_node_keeps_does_not_expire(story: Story) -> None:
    answer = {"cleanup": {"forgotten": [], "kept": []}, "node": story.node.report()}
    story.node.overrides["cleanup"] = RunOutcome(RunState.SUCCEEDED, answer, rc=0)
    story.run()
    assert list_statuses(story) == [BackupStatus.COMPLETED, BackupStatus.COMPLETED]


def test_a_backup_that_a_queued_restore_names_is_not_forgotten(story: Story) -> None:
    oldest = story.list_backups()[0]
    later = (story.clock.now().replace(microsecond=0)).isoformat().replace("+00:00", "Z")
    later = later.replace("2026", "2027")
    story.intend(
        "Restore", "back", f"{{environment: production, backup_id: {oldest.id}, not_before: '{later}'}}"
    )
    story.run()
    assert story.job("back").status is JobStatus.QUEUED
    assert list_cleanups(story) == []


def test_a_cleanup_waits_for_the_job_that_runs_on_its_site(story: Story) -> None:
    story.runner.answer("backup", lambda _: None)
    story.intend("Backup", "long", "{environment: production}")
    story.run()
    running = story.job("long")
    jobs = {job.id: job.status for job in list_cleanups(story)}
    statuses = {running.status, *jobs.values()}
    assert len([status for status in statuses if status is JobStatus.RUNNING]) <= 1
