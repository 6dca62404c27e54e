"""Restores over a fake repo and a fake node: whose backup, which one, and what is known afterwards."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from reconciler.ports import Json, RunOutcome, RunState
from schemas.document import dump
from schemas.state import BackupScope, BackupStatus, DriftStatus, EnvironmentStatus, ErrorCode, JobStatus
from schemas.status import BackupRecord, JobRecord, make_record_path
from tests.fake_node import FakeNode, make_story
from tests.story import PRODUCTION_ID, STAGING_ID, Story, make_environment

LATER = "'2026-03-02T15:00:00Z'"
STEPS = ["verify", "backup", "stage", "cut_over"]


@pytest.fixture
def story() -> Story:
    return make_story()[0]


def back_up(story: Story, environment: str = "production", scope: str = "full") -> UUID:
    """Have one backup on record, and return its id."""
    known = {backup.id for backup in story.list_backups()}
    name = f"backup-{len(known)}"
    story.intend("Backup", name, f"{{environment: {environment}, scope: {scope}}}")
    story.run()
    (made,) = (backup.id for backup in story.list_backups() if backup.id not in known)
    return made


def restore(
    story: Story, backup_id: UUID, environment: str = "production", *, name: str = "back", more: str = ""
) -> JobRecord:
    """Commit a restore, run, and return its job."""
    story.intend("Restore", name, f"{{environment: {environment}, backup_id: {backup_id}{more}}}")
    story.run()
    return story.job(name)


def find_backup(story: Story, job: JobRecord) -> BackupRecord | None:
    return next((backup for backup in story.list_backups() if backup.job_id == job.id), None)


def test_a_restore_backs_up_what_is_there_and_puts_its_backup_in_place(story: Story) -> None:
    chosen = back_up(story)
    job = restore(story, chosen)
    assert (job.status, job.error_message) == (JobStatus.SUCCEEDED, None)
    assert story.steps("back") == STEPS
    assert (job.backup_id, job.release_id) == (chosen, job.id)
    record = story.environment()
    assert (record.status, record.current_release_id) == (EnvironmentStatus.ACTIVE, job.id)
    rescued = find_backup(story, job)
    assert rescued is not None
    assert rescued.status is BackupStatus.COMPLETED


def test_the_environment_is_restoring_meanwhile(story: Story) -> None:
    chosen = back_up(story)
    story.runner.answer("stage", lambda _: None)
    restore(story, chosen)
    assert story.environment().status is EnvironmentStatus.RESTORING


def test_protection_that_is_taken_away_while_a_restore_runs_still_protects_from_it(story: Story) -> None:
    path = "sites/acme/environments/production.yaml"
    protected = make_environment("production", PRODUCTION_ID, extra="  protect: {tables: [bookings]}\n")
    story.commit({path: protected})
    chosen = back_up(story)
    story.intend("Restore", "back", f"{{environment: production, backup_id: {chosen}, not_before: {LATER}}}")
    story.run()
    story.commit({path: make_environment("production", PRODUCTION_ID)})
    story.clock.advance(hours=4)
    story.run()
    spec = next(spec for spec in story.runner.started if spec.step == "stage")
    assert "bookings" in spec.variables["pressluft_protection"]["protected_tables"]  # type: ignore[index,call-overload,operator]


def test_a_copy_is_restored_from_its_own_backup(story: Story) -> None:
    job = restore(story, back_up(story, "staging"), "staging")
    assert job.status is JobStatus.SUCCEEDED
    assert story.environment(STAGING_ID).current_release_id == job.id
    assert story.environment(PRODUCTION_ID).current_release_id is None


def test_older_backups_stand_behind_no_promotion_any_more(story: Story) -> None:
    restore(story, back_up(story))
    assert story.promote().error_code is ErrorCode.BACKUP_GATE_UNMET


def test_what_was_said_of_drift_is_of_data_that_is_gone(story: Story) -> None:
    story.intend("DriftCheck", "check", "{environment: staging}")
    story.run()
    assert story.environment(STAGING_ID).drift_status is DriftStatus.CLEAN
    restore(story, back_up(story))
    assert story.environment(STAGING_ID).drift_status is DriftStatus.UNKNOWN


def replace_backup(story: Story, backup_id: UUID, **fields: object) -> None:
    """Change a backup's record as the reconciler itself would write it."""
    (record,) = (backup for backup in story.list_backups() if backup.id == backup_id)
    changed = record.model_copy(update=fields)
    story.commit({make_record_path(changed, site="acme"): dump(changed).decode()})


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        pytest.param({"status": BackupStatus.EXPIRED}, "or it has expired", id="expired"),
        pytest.param({"status": BackupStatus.FAILED}, "is failed", id="failed"),
        pytest.param({"environment_id": STAGING_ID}, "of another environment", id="another environment's"),
        pytest.param({"backup_scope": BackupScope.DB}, "only the db part", id="a part"),
    ],
)
@pytest.mark.parametrize("more", ["", ", wait: 2h"])
def test_a_backup_that_is_no_good_is_refused_before_the_node_is_touched(
    story: Story, fields: dict[str, object], reason: str, more: str
) -> None:
    chosen = back_up(story)
    replace_backup(story, chosen, **fields)
    job = restore(story, chosen, more=more)
    assert (job.status, job.error_code) == (JobStatus.FAILED, ErrorCode.BACKUP_INVALID)
    assert reason in str(job.error_message)
    assert "Next: choose a completed full backup" in str(job.error_message)
    assert story.steps("back") == []


def test_an_unknown_backup_is_refused(story: Story) -> None:
    job = restore(story, uuid4())
    assert (job.status, job.error_code) == (JobStatus.FAILED, ErrorCode.BACKUP_INVALID)


def test_a_backup_that_the_node_does_not_find_ends_the_job_with_nothing_changed(story: Story) -> None:
    chosen = back_up(story)
    text = "the backup with the snapshot f is not in the storage Nothing was changed. Choose another"
    story.node.overrides["verify"] = RunOutcome(
        RunState.FAILED, code="BACKUP_INVALID", message=text, retry=False
    )
    job = restore(story, chosen)
    assert (job.status, job.error_code) == (JobStatus.FAILED, ErrorCode.BACKUP_INVALID)
    assert story.steps("back") == ["verify"]
    assert story.environment().status is EnvironmentStatus.ACTIVE


def test_a_site_that_was_wiped_is_restored_without_a_backup_of_nothing(story: Story) -> None:
    chosen = back_up(story)
    nothing: dict[str, Json] = {"backup": None, "node": story.node.report()}
    story.node.overrides["backup"] = RunOutcome(RunState.SUCCEEDED, nothing, rc=0)
    job = restore(story, chosen)
    assert job.status is JobStatus.SUCCEEDED
    assert find_backup(story, job) is None


def test_what_was_left_of_a_site_is_recorded_as_what_it_is(story: Story) -> None:
    chosen = back_up(story)
    made = dict(story.node.make_result(next(s for s in story.runner.started if s.step == "backup")))
    backup = made["backup"]
    assert isinstance(backup, dict)
    answer: dict[str, Json] = {"backup": {**backup, "scope": "files"}, "node": story.node.report()}
    story.node.overrides["backup"] = RunOutcome(RunState.SUCCEEDED, answer, rc=0)
    rescued = find_backup(story, restore(story, chosen))
    assert rescued is not None
    assert rescued.backup_scope is BackupScope.FILES


def test_a_restored_site_that_is_not_healthy_is_what_it_was() -> None:
    story, node = make_story()
    node.unhealthy = True
    job = restore(story, back_up(story))
    assert (job.status, job.error_code) == (JobStatus.FAILED, ErrorCode.HEALTH_CHECK_FAILED)
    assert story.environment().status is EnvironmentStatus.ACTIVE
    assert find_backup(story, job) is not None


def lose_once(node: FakeNode, step: str, when: str) -> None:
    """Lose the run of one step, before or after its work, once."""
    left = [when]
    node.fault = lambda spec: left.pop() if spec.step == step and left else ""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_restore_whose_run_is_lost_still_ends_well_and_exchanges_once(step: str, when: str) -> None:
    story, node = make_story()
    chosen = back_up(story)
    lose_once(node, step, when)
    restore(story, chosen)
    for _ in range(10):
        story.clock.advance(minutes=6)
        story.run()
    assert story.job("back").status is JobStatus.SUCCEEDED
    assert len(node.cuts) == 1
    assert story.environment().status is EnvironmentStatus.ACTIVE
