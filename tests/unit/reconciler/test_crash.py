"""The daemon is killed at every durable boundary, and people push in between: nothing is lost or done twice."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from reconciler.errors import Transient
from reconciler.ports import Branch, CommitMessage, RunSpec, RunState
from reconciler.reconcile import run_pass
from reconciler.worker import Reconciler
from schemas.state import EnvironmentStatus, JobStatus
from tests.fake_node import FakeNode, LingeringStory, make_story
from tests.fakes import FakeFleetRepo
from tests.story import Story


class Killed(BaseException):
    """The daemon is gone; nothing of it may catch this."""


class Countdown:
    """Kills at the nth durable boundary."""

    def __init__(self, left: int) -> None:
        self.left = left

    def __call__(self, _: str) -> None:
        self.left -= 1
        if self.left == 0:
            raise Killed


def run_until_killed(story: Story, *, at: int) -> None:
    """Run a daemon that dies at a boundary, and then its successors' clock goes on."""
    killer = Countdown(at)
    doomed: Reconciler = story.make_reconciler("worker-1", on_step=killer)
    with pytest.raises(Killed):
        run_for_long(story, doomed)


def run_for_long(story: Story, daemon: Reconciler) -> None:
    """Run more passes than a promotion needs."""
    for _ in range(40):
        run_pass(daemon)
        story.clock.advance(seconds=2)


def finish(story: Story) -> None:
    """Let the next daemon work until it has nothing more to do."""
    for _ in range(24):
        run_pass(story.reconciler)
        story.clock.advance(minutes=6)


@pytest.mark.parametrize("kind", [Story, LingeringStory], ids=["at once", "under way"])
@pytest.mark.parametrize("fresh_runner", [False, True], ids=["runs kept", "runs gone"])
@pytest.mark.parametrize("boundary", range(1, 11))
def test_a_promotion_killed_at_any_boundary_ends_true_and_cuts_over_once(
    boundary: int, fresh_runner: bool, kind: type[Story]
) -> None:
    story, node = make_story(kind=kind)
    story.back_up()
    story.run()
    story.run()
    story.intend("Promotion", "release", "{source: staging, target: production}")
    run_until_killed(story, at=boundary)
    story.restart(fresh_runner=fresh_runner)
    finish(story)
    job = story.job("release")
    assert (job.status, job.error_code) == (JobStatus.SUCCEEDED, None)
    assert [cut_by for cut_by, _ in node.cuts] == [job.id]
    assert (story.environment().status, story.environment().current_release_id) == (
        EnvironmentStatus.ACTIVE,
        job.id,
    )


def test_there_are_no_more_boundaries_than_are_tried() -> None:
    story, _ = make_story()
    story.back_up()
    story.intend("Promotion", "release", "{source: staging, target: production}")
    counter = Countdown(0)
    run_pass(story.make_reconciler("worker-1", on_step=counter))
    assert -counter.left == 10


@pytest.mark.parametrize("boundary", range(1, 7))
def test_a_backup_killed_at_any_boundary_is_on_record_once(boundary: int) -> None:
    story, _ = make_story()
    story.intend("Backup", "safe", "{environment: production}")
    try:
        run_pass(story.make_reconciler("worker-1", on_step=Countdown(boundary)))
    except Killed:
        story.clock.advance(seconds=2)
    story.restart(fresh_runner=True)
    finish(story)
    assert story.job("safe").status is JobStatus.SUCCEEDED
    environment = story.job("safe").environment_id
    assert environment is not None
    assert len(story.service.list_backups(environment)) == 1


@pytest.mark.parametrize("step", ["check-1", "stage", "cut_over"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_run_lost_at_any_step_is_resumed(step: str, moment: str) -> None:
    story, node = make_story()
    story.back_up()
    lose_once(node, step, moment)
    job = story.promote()
    finish(story)
    job = story.job("release")
    assert job.status is JobStatus.SUCCEEDED
    assert len(node.cuts) == 1


def test_an_unhealthy_end_that_was_lost_is_told_as_it_was() -> None:
    story, node = make_story()
    story.back_up()
    node.unhealthy = True
    lose_once(node, "cut_over", "after")
    story.promote()
    finish(story)
    job = story.job("release")
    assert (job.status, job.error_code) == (JobStatus.FAILED, "HEALTH_CHECK_FAILED")
    assert story.environment().current_release_id is None
    assert story.environment().status is EnvironmentStatus.ACTIVE


def lose_once(node: FakeNode, step: str, moment: str) -> None:
    """Lose the first run of a step, before or after its work."""
    lost: list[str] = []

    def fault(spec: RunSpec) -> str:
        if spec.step != step or lost:
            return ""
        lost.append(spec.key)
        return moment

    node.fault = fault


class RacyRepo(FakeFleetRepo):
    """People push between the daemon's look and its push."""

    races = 0

    def push_changes(
        self,
        branch: Branch,
        *,
        expected: str | None,
        changes: Mapping[str, bytes | None],
        message: CommitMessage,
        author: str | None = None,
    ) -> str:
        if self.races:
            self.races -= 1
            self.commit_as_person({"README.md": f"{self.races}\n".encode()})
        return super().push_changes(
            branch, expected=expected, changes=changes, message=message, author=author
        )


@pytest.mark.parametrize("races", [1, 5, 9])
def test_people_who_push_meanwhile_change_nothing(races: int) -> None:
    repo = RacyRepo()
    story, node = make_story(repo=repo)
    story.back_up()
    repo.races = races
    assert story.promote().status is JobStatus.SUCCEEDED
    assert len(node.cuts) == 1


def test_a_pass_that_always_loses_gives_up_and_says_that_it_has_not_settled() -> None:
    repo = RacyRepo()
    story, _ = make_story(repo=repo)
    story.intend("Backup", "safe", "{environment: production}")
    repo.races = 50
    report = run_pass(story.reconciler)
    assert not report.settled
    repo.races = 0
    assert run_pass(story.reconciler).settled
    assert story.job("safe").status is JobStatus.SUCCEEDED


class LostAnswerRepo(FakeFleetRepo):
    """A push arrives, and its answer does not."""

    swallow = False

    def push_changes(
        self,
        branch: Branch,
        *,
        expected: str | None,
        changes: Mapping[str, bytes | None],
        message: CommitMessage,
        author: str | None = None,
    ) -> str:
        commit = super().push_changes(
            branch, expected=expected, changes=changes, message=message, author=author
        )
        if self.swallow:
            self.swallow = False
            raise Transient("the connection broke")
        return commit


def test_a_claim_whose_answer_was_lost_is_taken_over() -> None:
    repo = LostAnswerRepo()
    story, node = make_story(repo=repo)
    story.back_up()
    story.intend("Promotion", "release", "{source: staging, target: production}")
    repo.swallow = True
    with pytest.raises(Transient):
        run_pass(story.reconciler)
    finish(story)
    assert story.job("release").status is JobStatus.SUCCEEDED
    assert len(node.cuts) == 1


def test_no_room_for_a_run_leaves_the_claim_standing_and_starts_it_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    story, _ = make_story()
    story.back_up()
    story.intend("Promotion", "release", "{source: staging, target: production}")
    start = story.runner.start
    refused: list[str] = []

    def refuse_once(spec: RunSpec) -> str:
        if not refused:
            refused.append(spec.key)
            raise Transient("no room")
        return start(spec)

    monkeypatch.setattr(story.runner, "start", refuse_once)
    with pytest.raises(Transient):
        run_pass(story.reconciler)
    finish(story)
    job = story.job("release")
    assert (job.status, job.epoch) == (JobStatus.SUCCEEDED, 1)


def test_a_job_of_another_daemon_is_left_alone_until_its_time_has_passed() -> None:
    story, node = make_story()
    story.back_up()
    story.intend("Promotion", "release", "{source: staging, target: production}")
    story.runner.answer("cut_over", lambda _: None)
    run_pass(story.make_reconciler("worker-0"))
    story.restart(fresh_runner=True)
    story.clock.advance(hours=6)
    run_pass(story.reconciler)
    assert story.job("release").locked_by == "worker-0"
    story.clock.advance(hours=2)
    finish(story)
    job = story.job("release")
    assert (job.status, job.locked_by) == (JobStatus.SUCCEEDED, "worker-1")
    assert len(node.cuts) == 1


def test_runs_of_a_claim_that_was_taken_back_are_not_met_again() -> None:
    story, node = make_story()
    story.back_up()
    before = story.repo.store.heads["main"]
    story.runner.answer("stage", lambda _: None)
    story.intend("Promotion", "release", "{source: staging, target: production}")
    run_pass(story.reconciler)
    first = story.job("release")
    story.repo.reset_as_person(before)
    story.runner.answer("stage", node.answer)
    story.intend("Promotion", "release", "{source: staging, target: production}")
    finish(story)
    again = story.job("release")
    assert again.id == first.id
    assert again.epoch > first.epoch
    assert again.status is JobStatus.SUCCEEDED
    assert story.runner.outcome(f"{first.id}.1.check-1").state is RunState.LOST
