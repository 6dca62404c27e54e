"""What becomes of a job that somebody wants cancelled, at each point of its life."""

from __future__ import annotations

import pytest

from reconciler.core.cancellation import CANCEL_REFUSED
from reconciler.ports import RunOutcome, RunState
from schemas.state import EnvironmentStatus, JobStatus
from schemas.status import JobRecord
from tests.story import Story


@pytest.fixture
def story() -> Story:
    found = Story()
    found.back_up()
    return found


def cancel(story: Story, job: JobRecord) -> None:
    """Commit a Cancel as a person does."""
    story.intend("Cancel", f"cancel-{job.id}", f"{{job_id: {job.id}, actor: Grace, reason: wrong day}}")


def hold(story: Story, step: str) -> None:
    """Let a step go on until it is stopped."""
    story.runner.answer(step, lambda _: None)


def start(story: Story, held: str = "") -> JobRecord:
    """Commit a promotion; it goes on until the held step."""
    if held:
        hold(story, held)
    return story.promote()


def test_a_queued_job_is_cancelled_by_name_of_who_wanted_it(story: Story) -> None:
    job = story.promote(spec="{source: staging, target: production, not_before: 2030-01-01T00:00:00Z}")
    assert job.status is JobStatus.QUEUED
    cancel(story, job)
    story.run()
    job = story.job("release")
    assert job.status is JobStatus.CANCELLED
    assert job.summary == "cancelled by Grace (wrong day); nothing live was changed"
    assert story.steps("release") == []


def test_a_job_and_its_cancel_that_are_seen_together_never_start(story: Story) -> None:
    story.intend("Promotion", "release", "{source: staging, target: production}")
    (job,) = [job for job in story.service.list_jobs() if job.intent_name == "release"]
    cancel(story, job)
    story.run()
    assert story.job("release").status is JobStatus.CANCELLED
    assert story.steps("release") == []


@pytest.mark.parametrize(
    ("held", "steps"), [("check-1", ["check-1"]), ("stage", ["check-1", "stage", "discard"])]
)
def test_before_the_cut_over_the_run_is_stopped_and_what_was_staged_is_dropped(
    story: Story, held: str, steps: list[str]
) -> None:
    job = start(story, held)
    cancel(story, job)
    story.run()
    story.run()
    job = story.job("release")
    assert job.status is JobStatus.CANCELLED
    assert story.steps("release") == steps
    assert [key.rsplit(".", 1)[-1] for key in story.runner.cancelled] == [held]
    assert story.environment().status is EnvironmentStatus.ACTIVE


def test_once_the_cut_over_runs_the_job_is_seen_through_and_says_so(story: Story) -> None:
    job = start(story, "cut_over")
    cancel(story, job)
    story.run()
    story.run()
    job = story.job("release")
    assert job.status is JobStatus.RUNNING
    assert job.notes == (CANCEL_REFUSED,)
    assert story.runner.cancelled == []
    (key,) = [key for key in story.runner.find(job.id, job.epoch) if key.endswith("cut_over")]
    story.runner.end(key, story.node.answer(story.runner.started[-1]))
    story.run()
    job = story.job("release")
    assert (job.status, job.notes) == (JobStatus.SUCCEEDED, (CANCEL_REFUSED,))


def test_a_job_that_is_about_to_cut_over_drops_what_it_staged(story: Story) -> None:
    job = start(story, "stage")
    (key,) = [key for key in story.runner.find(job.id, job.epoch) if key.endswith("stage")]
    story.runner.end(key, RunOutcome(RunState.SUCCEEDED, {"node": story.node.report()}, rc=0))
    cancel(story, job)
    story.run()
    assert story.job("release").status is JobStatus.CANCELLED
    assert story.steps("release") == ["check-1", "stage", "discard"]


def test_a_job_that_waits_for_its_next_attempt_is_cancelled(story: Story) -> None:
    story.node.overrides["check-1"] = RunOutcome(
        RunState.FAILED, code="ANSIBLE_HOST_UNREACHABLE", message="no route", retry=True
    )
    job = start(story)
    assert (job.status, job.attempt_count) == (JobStatus.QUEUED, 1)
    cancel(story, job)
    story.run()
    assert story.job("release").status is JobStatus.CANCELLED


def test_a_cancel_of_an_ended_or_unknown_job_does_nothing(story: Story) -> None:
    job = start(story)
    assert job.status is JobStatus.SUCCEEDED
    cancel(story, job)
    story.intend("Cancel", "nobody", "{job_id: 7d9f2b1c-0f3a-4c55-9d3e-2b6f3a1c8e10}")
    report = story.run()
    assert not report.changed
    assert story.job("release").status is JobStatus.SUCCEEDED


def test_a_cancel_in_another_sites_folder_does_nothing(story: Story) -> None:
    job = start(story, "check-1")
    path = "intents/other/cancel.yaml"
    text = f"apiVersion: pressluft/v1\nkind: Cancel\nmetadata: {{name: cancel}}\nspec: {{job_id: {job.id}}}\n"
    story.commit({path: text})
    story.run()
    assert story.job("release").status is JobStatus.RUNNING
    assert story.runner.cancelled == []


def test_a_refresh_that_writes_is_seen_through(story: Story) -> None:
    hold(story, "refresh")
    story.intend("Refresh", "pull", "{environment: staging}")
    story.run()
    cancel(story, story.job("pull"))
    story.run()
    assert story.job("pull").notes == (CANCEL_REFUSED,)
