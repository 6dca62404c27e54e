"""A remote that is away, or lets nobody push: what runs is finished, its status kept, and nothing new begun."""

from __future__ import annotations

from contextlib import suppress

import pytest

from reconciler.errors import RepoUnusable, Transient
from reconciler.ports import RunState, Tip
from schemas.state import JobStatus
from tests.fakes import FakeFleetRepo
from tests.story import Story

PROMOTION = "{source: staging, target: production, backup: create}"
BACKUP = "{environment: production}"
DENIED = Transient("the push was refused: frozen for the audit", retry_after=15)


class RemoteRepo(FakeFleetRepo):
    """A remote that may be away."""

    is_down = False

    def fetch(self) -> Tip:
        """Look, if anybody answers."""
        if self.is_down:
            raise Transient("the remote cannot be reached")
        return super().fetch()


class Away(Story):
    """A story with a remote."""

    repo: RemoteRepo

    def __init__(self) -> None:
        super().__init__(repo=RemoteRepo())

    def go_down(self) -> None:
        """Let the remote go away."""
        self.repo.is_down = True

    def come_back(self) -> None:
        """Let the remote answer again."""
        self.repo.is_down = False

    def steps_started(self) -> list[str]:
        """List all steps that were started."""
        return [spec.step for spec in self.runner.started]

    def try_for(self, *, minutes: int) -> None:
        """Let the daemon try each minute."""
        for _ in range(minutes):
            with suppress(Transient):
                self.run()
            self.clock.advance(minutes=1)


def hold(story: Story, step: str) -> str:
    """Let a step go on until the test ends it; returns the key of its run."""
    story.runner.answer(step, lambda _: None)
    story.run()
    (key,) = [spec.key for spec in story.runner.started if spec.step == step]
    return key


def test_a_run_that_ends_while_the_remote_is_away_is_recorded_when_it_is_back() -> None:
    story = Away()
    story.intend("Backup", "running", BACKUP)
    key = hold(story, "backup")
    spec = story.runner.started[-1]
    story.go_down()
    story.try_for(minutes=10)
    story.runner.end(key, story.node.answer(spec))
    story.try_for(minutes=50)
    assert story.runner.outcome(key).state is RunState.SUCCEEDED
    story.come_back()
    assert story.job("running").status is JobStatus.RUNNING, "the remote knows nothing yet"
    story.run()
    assert story.job("running").status is JobStatus.SUCCEEDED


def test_nothing_is_begun_while_the_remote_is_away() -> None:
    story = Away()
    story.intend("Backup", "late", BACKUP)
    story.go_down()
    story.try_for(minutes=60)
    assert story.runner.started == []
    story.come_back()
    story.run()
    assert story.job("late").status is JobStatus.SUCCEEDED


def test_a_promotion_goes_on_where_it_was_and_never_cuts_over_unseen() -> None:
    story = Away()
    story.intend("Promotion", "release", PROMOTION)
    key = hold(story, "stage")
    spec = story.runner.started[-1]
    story.go_down()
    story.runner.end(key, story.node.answer(spec))
    story.try_for(minutes=60)
    assert "cut_over" not in story.steps_started(), "policy may have changed meanwhile"
    story.come_back()
    story.run()
    assert story.job("release").status is JobStatus.SUCCEEDED
    assert story.steps_started().count("cut_over") == 1


def test_a_stop_that_was_committed_while_the_remote_was_away_holds_the_cut_over() -> None:
    story = Away()
    story.intend("Promotion", "release", PROMOTION)
    key = hold(story, "stage")
    spec = story.runner.started[-1]
    story.go_down()
    story.runner.end(key, story.node.answer(spec))
    story.try_for(minutes=60)
    fleet = "apiVersion: pressluft/v1\nkind: Fleet\nmetadata: {name: pressluft}\nspec: {promotions: {enabled: false}}\n"
    story.commit({"pressluft.yaml": fleet})
    story.come_back()
    story.run()
    story.run()
    assert "cut_over" not in story.steps_started()


def test_without_a_pushable_claim_nothing_is_begun() -> None:
    story = Away()
    story.intend("Backup", "late", BACKUP)
    story.repo.denial = DENIED
    with pytest.raises(Transient, match="frozen for the audit"):
        story.run()
    assert story.runner.started == []
    story.repo.denial = None
    story.run()
    assert story.job("late").status is JobStatus.SUCCEEDED


def test_an_end_that_cannot_be_pushed_is_pushed_when_it_can_be() -> None:
    story = Away()
    story.intend("Backup", "running", BACKUP)
    key = hold(story, "backup")
    story.repo.denial = DENIED
    story.runner.end(key, story.node.answer(story.runner.started[-1]))
    for _ in range(60):
        with pytest.raises(Transient):
            story.run()
        story.clock.advance(minutes=1)
    story.repo.denial = None
    story.run()
    assert story.job("running").status is JobStatus.SUCCEEDED
    assert len(story.runner.started) == 1


def test_a_remote_that_only_a_person_can_mend_is_no_end_either() -> None:
    story = Away()
    story.intend("Backup", "late", BACKUP)
    story.repo.failure = RepoUnusable("it is a shallow clone")
    with pytest.raises(RepoUnusable):
        story.run()
    story.run()
    assert story.job("late").status is JobStatus.SUCCEEDED
