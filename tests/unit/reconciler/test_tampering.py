"""What somebody breaks under `status/` stops no loop and opens nothing."""

from __future__ import annotations

import pytest

from reconciler.ports import RunState
from reconciler.reconcile import run_pass
from schemas.document import dump
from schemas.state import EnvironmentStatus, ErrorCode, JobStatus
from schemas.status import JobRecord, make_record_path
from tests.fake_node import make_story
from tests.story import PRODUCTION_ID, Story


@pytest.fixture
def story() -> Story:
    return Story()


def break_file(story: Story, path: str, content: bytes = b"\xff nonsense: [\n") -> None:
    """Overwrite a file by hand."""
    story.repo.commit_as_person({path: content})


@pytest.mark.parametrize(
    "path",
    [
        "status/acme/site.yaml",
        "status/acme/environments/production.yaml",
        "status/acme/environments/unknown.yaml",
        "status/acme/ended.txt",
        "status/acme/jobs/2026-03/not-an-id.yaml",
        "status/acme/jobs/2026-03/44444444-4444-4444-8444-444444444444.yaml",
        "status/acme/backups/2026-03/44444444-4444-4444-8444-444444444444.yaml",
        "status/UPPER/site.yaml",
        "status/acme",
        "status",
    ],
)
def test_a_broken_record_does_not_stop_the_loop(story: Story, path: str) -> None:
    story.back_up()
    break_file(story, path)
    for _ in range(2):
        story.run()
    tip = story.repo.fetch()
    run_pass(story.reconciler)
    assert story.repo.fetch() == tip
    story.clock.advance(minutes=1)
    story.back_up()
    assert story.list_recorded()[0].status is JobStatus.SUCCEEDED


def test_a_list_of_ended_jobs_that_is_emptied_lets_nothing_run_again(story: Story) -> None:
    story.back_up()
    story.promote()
    started = len(story.runner.started)
    break_file(story, "status/acme/ended.txt", b"")
    story.run()
    assert len(story.runner.started) == started
    story.clock.advance(minutes=1)
    story.back_up()
    tip = story.repo.fetch().status or ""
    listed = (story.repo.read_file(tip, "status/acme/ended.txt") or b"").decode()
    assert str(story.job("release").id) in listed


def test_a_running_job_whose_record_is_broken_ends_and_leaves_nothing_busy(story: Story) -> None:
    story.back_up()
    story.runner.answer("stage", lambda _: None)
    job = story.promote()
    break_file(story, make_record_path(job, site="acme"))
    story.run()
    found = next(item for item in story.list_recorded() if item.id == job.id)
    assert (found.status, found.error_code) == (JobStatus.FAILED, ErrorCode.ANSIBLE_UNEXPECTED_ERROR)
    assert story.environment().status is EnvironmentStatus.FAILED


def test_a_job_that_is_forged_to_run_is_asked_after_and_meets_every_gate() -> None:
    story, node = make_story()
    story.intend(
        "Promotion", "later", "{source: staging, target: production, not_before: '2030-01-01T00:00:00Z'}"
    )
    story.run()
    forged = story.job("later").model_copy(
        update={
            "status": JobStatus.RUNNING,
            "locked_by": "worker-1",
            "epoch": 7,
            "run_after": None,
            "locked_at": story.clock.now(),
        }
    )
    node.backup_valid = False
    story.commit({make_record_path(forged, site="acme"): dump(forged).decode()})
    story.run()
    job = story.job("later")
    assert (job.status, job.error_code) == (JobStatus.FAILED, ErrorCode.BACKUP_GATE_UNMET)
    assert story.steps("later")[:2] == ["probe", "check-1"]
    assert node.cuts == []


def test_a_job_that_is_forged_to_have_ended_leaves_its_environment_to_a_reset(story: Story) -> None:
    story.back_up()
    story.runner.answer("stage", lambda _: None)
    job = story.promote()
    forged = job.model_copy(update={"status": JobStatus.SUCCEEDED, "finished_at": story.clock.now()})
    story.commit({make_record_path(forged, site="acme"): dump(forged).decode()})
    story.run()
    assert story.environment().status is EnvironmentStatus.FAILED


def test_a_record_that_names_a_blob_nobody_has_ends_its_job_and_no_other(story: Story) -> None:
    story.intend("Promotion", "release", "{source: staging, target: production, wait: PT2H}")
    story.run()
    forged = story.job("release").model_copy(update={"intent_blob_id": "0" * 40})
    story.commit({make_record_path(forged, site="acme"): dump(forged).decode()})
    story.back_up()
    assert story.job("release").error_code is ErrorCode.INTENT_INVALID
    assert story.list_recorded()[0].status is JobStatus.SUCCEEDED


def test_an_environment_forged_busy_is_failed_and_not_busy_for_ever(story: Story) -> None:
    story.back_up()
    record = story.environment().model_copy(update={"status": EnvironmentStatus.DEPLOYING})
    story.commit({make_record_path(record, site="acme"): dump(record).decode()})
    story.run()
    assert story.environment().status is EnvironmentStatus.FAILED


def test_a_job_record_that_was_copied_to_another_site_says_nothing_there(story: Story) -> None:
    story.intend("Promotion", "release", "{source: staging, target: production, wait: PT2H}")
    story.run()
    job: JobRecord = story.job("release")
    copy = job.model_copy(update={"status": JobStatus.RUNNING, "locked_by": "worker-1"})
    story.commit({make_record_path(copy, site="beta").replace("2026-03", "2026-04"): dump(copy).decode()})
    story.run()
    assert story.see().jobs[job.id].status is JobStatus.QUEUED


def test_an_older_status_that_is_pushed_over_a_cut_over_tells_it_as_it_was() -> None:
    story, node = make_story()
    story.back_up()
    before = story.repo.store.heads["main"]
    story.intend("Promotion", "release", "{source: staging, target: production}")
    with_intent = story.repo.store.heads["main"]
    story.run()
    assert len(node.cuts) == 1
    story.repo.reset_as_person(with_intent)
    story.restart(fresh_runner=True)
    for _ in range(3):
        story.run()
        story.clock.advance(minutes=6)
    assert before != with_intent
    assert story.job("release").status is JobStatus.SUCCEEDED
    assert len(node.cuts) == 1
    assert story.environment(PRODUCTION_ID).current_release_id == story.job("release").id


def test_a_run_that_is_still_under_way_when_its_job_ends_is_stopped(story: Story) -> None:
    story.back_up()
    story.runner.answer("stage", lambda _: None)
    job = story.promote()
    break_file(story, make_record_path(job, site="acme"))
    story.run()
    assert story.runner.outcome(f"{job.id}.1.stage").state is not RunState.RUNNING
