"""Periodic drift checks: when one is due, what of it is committed, and that it gives way to everything."""

from __future__ import annotations

from datetime import timedelta

import pytest

from reconciler.ports import Json, RunOutcome, RunSpec, RunState
from reconciler.reconcile import run_pass
from reconciler.worker import GlanceMemory
from schemas.state import DriftStatus, ErrorCode, JobStatus, JobType
from tests.fakes import FakeFleetRepo
from tests.story import CHANGED, STAGING_ID, Story, make_resource

HOURLY = "{drift_check_interval: PT1H}"
FROZEN = "{drift_check_interval: PT1H, freeze_windows: [{start: '2026-03-02T00:00:00', duration: P1D}]}"
STOPPED = "{drift_check_interval: PT1H, promotions: {enabled: false}}"
CHECK = "{environment: staging}"


class Watched(Story):
    """A story whose daemon looks at sources by itself, and has checked staging once."""

    def __init__(self, policy: str = HOURLY, *, repo: FakeFleetRepo | None = None) -> None:
        super().__init__(policy, repo=repo)
        self.watch()
        if repo is None:
            self.check("first")

    def watch(self) -> None:
        object.__setattr__(self.reconciler, "glances", GlanceMemory())

    def check(self, name: str) -> None:
        self.intend("DriftCheck", name, CHECK)
        self.run()

    def wait(self, **units: float) -> None:
        """Let time pass, and the daemon look twice: at what is due, and at what came of it."""
        self.clock.advance(**units)
        self.run()
        self.run()

    @property
    def glances(self) -> list[RunSpec]:
        return [spec for spec in self.runner.started if spec.epoch == 0]

    @property
    def commits(self) -> int:
        return len(self.repo.store.commits)

    def drift(self) -> DriftStatus:
        return self.environment(STAGING_ID).drift_status

    def change(self) -> None:
        self.node.resources.append(make_resource("comments", production=CHANGED))

    def hold_glance(self) -> None:
        """Let a look go on until the test ends it."""
        self.runner.answer("check", lambda spec: None if spec.epoch == 0 else self.node.answer(spec))


@pytest.fixture
def story() -> Watched:
    return Watched()


def test_without_an_interval_nobody_looks() -> None:
    story = Watched("{}")
    story.wait(days=9)
    assert story.glances == []


def test_a_look_is_due_an_interval_after_the_last_check_and_not_before(story: Watched) -> None:
    story.wait(minutes=59)
    assert story.glances == []
    story.wait(minutes=1)
    assert len(story.glances) == 1
    story.wait(minutes=59)
    assert len(story.glances) == 1
    story.wait(minutes=1)
    assert len(story.glances) == 2


def test_a_look_that_finds_nothing_new_commits_nothing(story: Watched) -> None:
    before = story.commits
    for _ in range(5):
        story.wait(hours=1)
    assert (len(story.glances), story.commits) == (5, before)


def test_a_verdict_that_changed_is_committed_once_with_its_job_and_record(story: Watched) -> None:
    story.change()
    before = story.commits
    for _ in range(3):
        story.wait(hours=1)
    assert (story.drift(), story.commits) == (DriftStatus.DRIFTED, before + 1)
    job = story.list_recorded()[0]
    assert (job.status, job.job_type, job.intent_path) == (JobStatus.SUCCEEDED, JobType.DRIFT_CHECK, None)
    record = story.see().drift_checks[STAGING_ID]
    assert (job.drift_check_id, record.job_id, record.status) == (record.id, job.id, DriftStatus.DRIFTED)


def test_another_table_that_drifts_is_a_change_too(story: Watched) -> None:
    story.change()
    story.wait(hours=1)
    before = story.commits
    story.node.resources.append(make_resource("postmeta", production=CHANGED))
    story.wait(hours=1)
    assert (story.drift(), story.commits) == (DriftStatus.DRIFTED, before + 1)


def test_what_cannot_be_read_is_unknown_from_then_on_and_told_once(story: Watched) -> None:
    story.node.resources.append(make_resource("comments", unreadable="locked"))
    before = story.commits
    for _ in range(3):
        story.wait(hours=1)
    assert (story.drift(), story.commits) == (DriftStatus.UNKNOWN, before + 1)
    assert story.list_recorded()[0].error_code is ErrorCode.DRIFT_CHECK_FAILED


@pytest.mark.parametrize("policy", [pytest.param(FROZEN, id="freeze"), pytest.param(STOPPED, id="stop")])
def test_neither_a_freeze_nor_the_stop_holds_it_up(policy: str) -> None:
    story = Watched(policy)
    story.wait(hours=1)
    assert len(story.glances) == 1


def test_no_look_while_a_job_of_the_site_runs(story: Watched) -> None:
    story.runner.answer("backup", lambda _: None)
    story.intend("Backup", "long", "{environment: production}")
    story.run()
    story.wait(hours=2)
    assert (story.job("long").status, story.glances) == (JobStatus.RUNNING, [])


def test_a_job_stops_the_look_that_is_in_its_way_and_starts_once_that_is_gone(story: Watched) -> None:
    story.hold_glance()
    story.wait(hours=1)
    [glance] = story.glances
    story.back_up()
    assert story.runner.cancelled == [glance.key]
    story.run()
    newest = story.list_recorded()[0]
    assert (newest.job_type, newest.status) == (JobType.BACKUP_CREATE, JobStatus.SUCCEEDED)
    assert story.runner.outcome(glance.key).state is RunState.LOST  # nothing is kept of it


def test_a_job_of_another_daemon_stops_the_look(story: Watched) -> None:
    story.hold_glance()
    story.wait(hours=1)
    [glance] = story.glances
    other = Watched(HOURLY, repo=FakeFleetRepo(story.repo.store))
    other.clock = story.clock
    other.runner.answer("backup", lambda _: None)
    other.reconciler = other.make_reconciler("worker-2")
    other.intend("Backup", "theirs", "{environment: production}")
    run_pass(other.reconciler)
    assert story.job("theirs").locked_by == "worker-2"
    story.run()
    assert story.runner.cancelled == [glance.key]


def test_what_was_seen_before_a_job_changed_the_site_is_thrown_away(story: Watched) -> None:
    story.hold_glance()
    story.wait(hours=1)
    [glance] = story.glances
    story.change()
    seen: dict[str, Json] = {"observation": story.node.observation(), "node": story.node.report()}
    other = Watched(HOURLY, repo=FakeFleetRepo(story.repo.store))
    other.node.resources.append(make_resource("links", production=CHANGED))
    other.clock.at = story.clock.at + timedelta(seconds=1)
    other.check("theirs")
    before = story.commits
    story.runner.end(glance.key, RunOutcome(RunState.SUCCEEDED, seen, rc=0))
    story.run()
    assert story.commits == before


def test_two_daemons_that_see_the_same_change_commit_it_once(story: Watched) -> None:
    other = Watched(HOURLY, repo=FakeFleetRepo(story.repo.store))
    for one in (story, other):
        one.change()
        one.clock.at = story.clock.at
        one.clock.advance(hours=1)
    run_pass(story.reconciler)
    run_pass(other.reconciler)
    before = story.commits
    run_pass(other.reconciler)
    run_pass(story.reconciler)
    assert (len(story.glances), len(other.glances), story.commits) == (1, 1, before + 1)


def test_a_crash_leaves_nothing_that_is_in_the_way(story: Watched) -> None:
    story.hold_glance()
    story.wait(hours=1)
    [glance] = story.glances
    story.runner.end(glance.key, RunOutcome(RunState.LOST))
    story.restart()
    story.watch()
    before = story.commits
    story.change()
    story.runner.answer("check", story.node.answer)
    story.wait(seconds=1)
    assert (story.drift(), story.commits) == (DriftStatus.DRIFTED, before + 1)
    assert story.runner.outcome(glance.key).state is RunState.LOST


def test_a_node_that_does_not_answer_is_asked_again_after_the_interval(story: Watched) -> None:
    failed = RunOutcome(RunState.FAILED, rc=4, code="ANSIBLE_HOST_UNREACHABLE", message="x", retry=True)
    story.runner.answer("check", lambda _: failed)
    before = story.commits
    story.wait(hours=1)
    story.wait(minutes=30)
    assert (len(story.glances), story.commits) == (1, before)
    story.wait(minutes=30)
    assert len(story.glances) == 2


def test_an_answer_that_makes_no_sense_stops_nobody(story: Watched) -> None:
    story.runner.answer("check", lambda _: RunOutcome(RunState.SUCCEEDED, {"observation": {"id": 7}}, rc=0))
    story.wait(hours=1)
    story.back_up()
    story.run()
    assert story.list_recorded()[0].status is JobStatus.SUCCEEDED


def test_a_source_that_was_never_compared_with_anything_is_left_alone() -> None:
    story = Story(HOURLY)
    object.__setattr__(story.reconciler, "glances", GlanceMemory())
    story.run()
    story.clock.advance(days=9)
    story.run()
    assert story.runner.started == []


def test_a_look_after_a_refresh_says_what_the_new_baseline_makes_of_it(story: Watched) -> None:
    story.change()
    story.wait(hours=1)
    story.intend("Refresh", "refresh", CHECK)
    story.run()
    assert story.drift() is DriftStatus.UNKNOWN
    story.node.resources.pop()
    story.wait(hours=1)
    assert story.drift() is DriftStatus.CLEAN
