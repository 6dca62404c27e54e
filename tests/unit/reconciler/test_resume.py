"""What a lost, refused or cancelled run leads to: the node is asked, and its word is what is told."""

from __future__ import annotations

import pytest

from reconciler.ports import Json, RunOutcome, RunSpec, RunState
from schemas.state import EnvironmentStatus, ErrorCode, JobStatus
from tests.fake_node import LingeringStory, make_story
from tests.story import STAGING_ID, Story

LOST = RunOutcome(RunState.LOST)
UNREACHABLE = RunOutcome(
    RunState.FAILED, rc=4, code="ANSIBLE_HOST_UNREACHABLE", message="no route to host", retry=True
)


@pytest.fixture
def story() -> Story:
    return Story()


def go_on(story: Story, *, minutes: float = 6, times: int = 4) -> None:
    """Let time and passes go by."""
    for _ in range(times):
        story.clock.advance(minutes=minutes)
        story.run()


def test_a_job_that_the_node_has_finished_ends_as_it_ended_there(story: Story) -> None:
    story.back_up()
    word: Json = {"finished": True, "cut": "healthy", "result": {"health": {"healthy": True}}, "error": None}
    story.node.overrides["check-1"] = RunOutcome(
        RunState.FAILED,
        {"node": story.node.report(cut="healthy"), "job": word},
        rc=2,
        code="JOB_FINISHED",
        message="ended",
        retry=False,
    )
    job = story.promote()
    assert (job.status, job.epoch) == (JobStatus.SUCCEEDED, 1)
    assert story.steps("release") == ["check-1"]
    assert story.environment().current_release_id == job.id


def test_a_job_that_failed_on_the_node_fails_with_its_own_reason(story: Story) -> None:
    story.back_up()
    error: Json = {
        "code": "HEALTH_CHECK_FAILED",
        "message": "500 on /.",
        "remedy": "Mend it.",
        "retry": False,
    }
    story.node.overrides["cut_over"] = LOST
    story.node.overrides["probe"] = RunOutcome(
        RunState.SUCCEEDED,
        {
            "node": story.node.report(cut="reversed"),
            "job": {"finished": True, "cut": "reversed", "result": {}, "error": error},
        },
        rc=0,
    )
    job = story.promote()
    assert (job.status, job.error_code) == (JobStatus.FAILED, ErrorCode.HEALTH_CHECK_FAILED)
    assert job.error_message == "500 on /. Mend it."
    assert story.environment().status is EnvironmentStatus.ACTIVE


def test_a_refresh_and_a_backup_that_the_node_has_finished_are_told_so() -> None:
    story, node = make_story()
    lost: list[str] = []

    def lose_once(spec: RunSpec) -> str:
        if spec.step not in {"backup", "refresh"} or spec.step in lost:
            return ""
        lost.append(spec.step)
        return "after"

    node.fault = lose_once
    story.back_up()
    story.intend("Refresh", "fresh", "{environment: staging}")
    go_on(story)
    assert {job.status for job in story.list_recorded()} == {JobStatus.SUCCEEDED}
    assert lost == ["backup", "refresh"]
    assert story.environment(STAGING_ID).last_change_at is not None


def test_a_superseded_claim_begins_again_with_a_higher_epoch(story: Story) -> None:
    story.back_up()
    refused: list[str] = []

    def refuse_once(spec: RunSpec) -> RunOutcome:
        if refused:
            return story.node.answer(spec)
        refused.append(spec.key)
        return RunOutcome(RunState.FAILED, {}, rc=2, code="CLAIM_SUPERSEDED", message="x", retry=False)

    story.runner.answer("stage", refuse_once)
    job = story.promote()
    assert (job.status, job.epoch) == (JobStatus.SUCCEEDED, 2)


@pytest.mark.parametrize("step", ["cut_over", "check-1"])
def test_a_node_that_never_gives_sense_is_asked_ever_more_seldom_and_then_given_up(
    story: Story, step: str
) -> None:
    story.back_up()
    story.node.overrides[step] = LOST
    story.node.overrides["probe"] = UNREACHABLE
    job = story.promote()
    assert (job.status, job.taken_over) == (JobStatus.RUNNING, 2)
    go_on(story, minutes=5, times=12)
    assert story.job("release").taken_over <= 2 + 13
    assert story.environment().status is EnvironmentStatus.DEPLOYING
    story.clock.advance(hours=25)
    story.run()
    story.run()
    ended = story.job("release")
    assert (ended.status, ended.error_code) == (JobStatus.FAILED, ErrorCode.ANSIBLE_HOST_UNREACHABLE)
    assert story.environment().status is EnvironmentStatus.FAILED


def test_a_long_step_that_is_lost_once_is_no_absence_of_the_node() -> None:
    story, _ = make_story("{unreachable_after: 1h}")
    story.back_up()
    story.runner.answer("stage", lambda _: None)
    job = story.promote()
    story.clock.advance(hours=5)
    story.runner.answer("stage", story.node.answer)
    story.runner.end(f"{job.id}.1.stage", LOST)
    story.run()
    assert story.job("release").status is JobStatus.SUCCEEDED


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(
            RunOutcome(RunState.FAILED, {}, rc=2, code="IDENTITY_MISMATCH", message="x", retry=False),
            id="refused",
        ),
        pytest.param(RunOutcome(RunState.SUCCEEDED, {}, rc=0), id="silent"),
        pytest.param(RunOutcome(RunState.SUCCEEDED, {"node": {"cut": 7}}, rc=0), id="senseless"),
        pytest.param(RunOutcome(RunState.CANCELLED), id="cancelled"),
        pytest.param(LOST, id="lost"),
    ],
)
def test_a_probe_that_says_nothing_ends_nothing(story: Story, answer: RunOutcome) -> None:
    story.back_up()
    story.node.overrides["cut_over"] = LOST
    story.node.overrides["probe"] = answer
    job = story.promote()
    assert job.status is JobStatus.RUNNING
    assert story.environment().status is EnvironmentStatus.DEPLOYING


def test_a_cancelled_stage_is_dropped_and_its_job_cancelled(story: Story) -> None:
    story.back_up()
    story.node.overrides["stage"] = RunOutcome(RunState.CANCELLED)
    job = story.promote()
    assert (job.status, job.step) == (JobStatus.CANCELLED, "stage")
    assert story.steps("release") == ["check-1", "stage", "discard"]
    assert story.environment().status is EnvironmentStatus.ACTIVE


def test_a_cancelled_cut_over_is_asked_after(story: Story) -> None:
    story.back_up()
    story.node.overrides["cut_over"] = RunOutcome(RunState.CANCELLED)
    story.node.overrides["probe"] = UNREACHABLE
    job = story.promote()
    assert job.status is JobStatus.RUNNING


def test_a_cut_over_that_the_node_gave_up_untouched_is_tried_three_times(story: Story) -> None:
    story.back_up()
    story.node.overrides["cut_over"] = RunOutcome(
        RunState.FAILED,
        {"node": story.node.report(cut=None)},
        rc=2,
        code="ANSIBLE_HOST_FAILED",
        message="a reader held the table",
        retry=True,
    )
    story.promote()
    go_on(story)
    job = story.job("release")
    assert (job.status, job.error_code) == (JobStatus.FAILED, ErrorCode.ANSIBLE_HOST_FAILED)
    assert (job.attempt_count, job.step) == (3, "cut_over")
    assert story.environment().status is EnvironmentStatus.ACTIVE


def test_a_cut_over_without_a_word_of_the_node_is_never_tried_again_blindly(story: Story) -> None:
    story.back_up()
    story.node.overrides["cut_over"] = UNREACHABLE
    story.node.overrides["probe"] = UNREACHABLE
    story.promote()
    go_on(story)
    assert story.steps("release").count("cut_over") == 1


def test_what_an_earlier_claim_staged_is_dropped_when_the_job_ends(story: Story) -> None:
    story.back_up()
    story.node.overrides["stage"] = LOST
    lost = story.promote()
    assert lost.status is JobStatus.RUNNING
    del story.node.overrides["stage"]
    story.node.backup_valid = False
    go_on(story)
    job = story.job("release")
    assert job.error_code is ErrorCode.BACKUP_GATE_UNMET
    assert story.steps("release")[-1] == "discard"


def test_a_pause_written_before_the_clock_went_back_does_not_hold_a_job_for_days(story: Story) -> None:
    story.back_up()
    story.node.overrides["cut_over"] = LOST
    story.node.overrides["probe"] = UNREACHABLE
    story.promote()
    story.clock.advance(days=-3)
    del story.node.overrides["cut_over"]
    story.node.overrides["probe"] = RunOutcome(
        RunState.SUCCEEDED, {"node": story.node.report(cut="renamed")}, rc=0
    )
    story.run()
    assert story.job("release").status is JobStatus.SUCCEEDED


def test_a_retried_job_keeps_its_pause_when_the_daemon_restarts(story: Story) -> None:
    story.back_up()
    story.node.overrides["check-1"] = UNREACHABLE
    assert story.promote().status is JobStatus.QUEUED
    story.restart(fresh_runner=True)
    story.run()
    assert story.job("release").attempt_count == 1


def test_a_bug_in_one_job_ends_it_and_no_other(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    story.back_up()
    story.intend("DriftCheck", "look", "{environment: staging}")
    monkeypatch.setattr("reconciler.core.kind.make_drift_check_flow", break_down)
    story.intend("Backup", "safe", "{environment: production}")
    story.run()
    assert story.job("look").error_code is ErrorCode.ANSIBLE_UNEXPECTED_ERROR
    assert story.job("safe").status is JobStatus.SUCCEEDED


def break_down(*_: object) -> None:
    """Be a bug."""
    raise RuntimeError("a bug")


def test_a_bug_while_gates_are_judged_ends_only_its_job(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    story.run()
    monkeypatch.setattr("reconciler.core.gate.find_freeze", break_down)
    story.intend("Promotion", "release", "{source: staging, target: production}")
    story.intend("Backup", "safe", "{environment: production}")
    story.run()
    assert story.job("release").error_code is ErrorCode.ANSIBLE_UNEXPECTED_ERROR
    assert story.job("safe").status is JobStatus.SUCCEEDED


@pytest.mark.parametrize("step", ["backup", "check-1", "stage", "cut_over", "probe"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_lost_run_is_resumed_while_every_step_is_seen_under_way(step: str, moment: str) -> None:
    story, node = make_story(kind=LingeringStory)
    lost: list[str] = []

    def lose_once(spec: RunSpec) -> str:
        if spec.step == "stage" and step == "probe" and "stage" not in lost:
            lost.append("stage")
            return "before"
        if spec.step != step or step in lost:
            return ""
        lost.append(step)
        return moment

    node.fault = lose_once
    story.promote(spec="{source: staging, target: production, backup: create}")
    go_on(story, times=24)
    job = story.job("release")
    assert (job.status, job.error_code) == (JobStatus.SUCCEEDED, None)
    assert step in lost
    assert len(node.cuts) == 1
