"""The id of each source's baseline: recorded by the job that advanced it, and sent along with whatever compares."""

from __future__ import annotations

import pytest

from reconciler.ports import Json, RunOutcome, RunSpec, RunState
from schemas.state import DriftStatus, ErrorCode, JobStatus
from tests.story import BASELINE, CHANGED, STAGING_ID, Story, make_resource

FIRST, SECOND, THIRD = ("1" * 64, "2" * 64, "3" * 64)
REFRESH = ("Refresh", "refresh", "{environment: staging}")
CHECK = "{environment: staging}"
WITH_REFRESH = "{source: staging, target: production, refresh: protected}"


class Node:
    """What the fake node says of the baselines it advanced."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.present = BASELINE

    def succeed(self, **result: Json) -> RunOutcome:
        return RunOutcome(RunState.SUCCEEDED, {**result, "node": self.story.node.report()}, rc=0)

    def refreshes_to(self, name: str, *, step: str = "refresh") -> None:
        def answer(_: RunSpec) -> RunOutcome:
            self.present = name
            return self.succeed(refresh={"baseline_id": name})

        self.story.runner.answer(step, answer)

    def cuts_over_to(self, name: str | None, *, step: str = "cut_over") -> None:
        advanced: Json = {"source_id": str(STAGING_ID), "id": name} if name else None
        self.story.runner.answer(step, lambda _: self.succeed(cut_over={"baseline": advanced}))

    def fails(self, step: str, *, status: str = "active") -> None:
        said = {"node": self.story.node.report(status=status)}
        outcome = RunOutcome(
            RunState.FAILED, said, rc=2, code="ANSIBLE_HOST_FAILED", message="x", retry=False
        )
        self.story.runner.answer(step, lambda _: outcome)

    def observes(self, step: str) -> None:
        """Observe as the real node does: a baseline that is not the one asked for is refused."""

        def answer(spec: RunSpec) -> RunOutcome:
            outcome = self.story.node.answer(spec)
            observation = dict(outcome.result["observation"])  # type: ignore[arg-type]
            wanted = read_sent(spec)
            fits = wanted in (None, self.present)
            observation["baseline"] = (
                {"id": self.present, "taken_at": "2026-03-02T12:00:00Z"} if fits else None
            )
            observation["baseline_refused"] = "" if fits else "an older one was put back"
            return RunOutcome(RunState.SUCCEEDED, {**outcome.result, "observation": observation}, rc=0)

        self.story.runner.answer(step, answer)


def read_sent(spec: RunSpec) -> Json:
    """The id that a run was told staging's baseline must have."""
    return spec.variables["pressluft_request"]["baselines"].get(str(STAGING_ID))  # type: ignore[index,call-overload,union-attr,no-any-return]


@pytest.fixture
def story() -> Story:
    made = Story()
    made.back_up()
    return made


@pytest.fixture
def node(story: Story) -> Node:
    made = Node(story)
    for step in ("check", "check-1", "check-2", "check-3"):
        made.observes(step)
    return made


def check(story: Story, name: str) -> None:
    story.intend("DriftCheck", name, CHECK)
    story.run()


def sent(story: Story, step: str) -> Json:
    """What the last run of a step was told."""
    return read_sent([spec for spec in story.runner.started if spec.step == step][-1])


def bound(story: Story) -> str | None:
    return story.environment(STAGING_ID).baseline_id


def test_a_refresh_binds_its_baseline_and_the_next_check_asks_for_that_one(story: Story, node: Node) -> None:
    node.refreshes_to(FIRST)
    story.intend(*REFRESH)
    story.run()
    assert bound(story) == FIRST
    check(story, "after")
    assert sent(story, "check") == FIRST
    assert story.environment(STAGING_ID).drift_status is DriftStatus.CLEAN


def test_a_promotion_binds_the_baseline_that_its_cut_over_advanced(story: Story, node: Node) -> None:
    node.refreshes_to(FIRST)
    story.intend(*REFRESH)
    story.run()
    node.cuts_over_to(SECOND)
    assert story.promote().status is JobStatus.SUCCEEDED
    assert (sent(story, "check-1"), bound(story)) == (FIRST, SECOND)


def test_a_rollback_binds_the_baseline_of_the_source_that_the_node_names(story: Story, node: Node) -> None:
    node.cuts_over_to(SECOND)
    story.promote()
    story.back_up()
    node.cuts_over_to(THIRD, step="rollback")
    story.intend("Rollback", "back", "{environment: production}")
    story.run()
    assert story.job("back").status is JobStatus.SUCCEEDED
    assert (sent(story, "rollback"), bound(story)) == (SECOND, THIRD)


def test_a_promotion_that_was_taken_back_leaves_the_binding_as_it_was(story: Story, node: Node) -> None:
    node.cuts_over_to(SECOND)
    story.promote("one")
    story.back_up()
    node.present = SECOND
    said: dict[str, Json] = {"cut_over": {"baseline": None}, "node": story.node.report(cut="reversed")}
    reversed_ = RunOutcome(
        RunState.FAILED, said, rc=2, code="HEALTH_CHECK_FAILED", message="500", retry=False
    )
    story.runner.answer("cut_over", lambda _: reversed_)
    assert story.promote("two").error_code is ErrorCode.HEALTH_CHECK_FAILED
    assert bound(story) == SECOND


def test_a_refresh_within_a_promotion_counts_for_its_own_check_and_even_if_the_promotion_fails(
    story: Story, node: Node
) -> None:
    node.refreshes_to(FIRST)
    story.intend(*REFRESH)
    story.run()
    node.refreshes_to(SECOND, step="refresh-1")
    node.fails("stage")
    assert story.promote(spec=WITH_REFRESH).status is JobStatus.FAILED
    assert (sent(story, "check-1"), bound(story)) == (SECOND, SECOND)


def test_an_older_baseline_that_was_put_back_shuts_the_gate_and_says_why(story: Story, node: Node) -> None:
    node.refreshes_to(SECOND)
    story.intend(*REFRESH)
    story.run()
    node.present = FIRST
    check(story, "after")
    record = story.see().drift_checks[STAGING_ID]
    assert (record.status, record.baseline_id) == (DriftStatus.UNKNOWN, None)
    assert record.reason == "an older one was put back"
    job = story.promote()
    assert job.error_code is ErrorCode.DRIFT_GATE_UNMET
    assert "put back" in str(job.error_message)
    assert "--scope full" in str(job.error_message)
    assert bound(story) == SECOND


def test_the_first_check_of_a_source_without_a_record_puts_down_what_it_found(
    story: Story, node: Node
) -> None:
    check(story, "first")
    assert (sent(story, "check"), bound(story)) == (None, BASELINE)
    node.present = FIRST
    check(story, "second")
    assert sent(story, "check") == BASELINE
    assert story.environment(STAGING_ID).drift_status is DriftStatus.UNKNOWN


def test_a_refresh_that_was_refused_leaves_the_binding_as_it_was(story: Story, node: Node) -> None:
    node.refreshes_to(FIRST)
    story.intend(*REFRESH)
    story.run()
    node.fails("refresh")
    story.intend("Refresh", "refused", "{environment: staging}")
    story.run()
    assert (story.job("refused").status, bound(story)) == (JobStatus.FAILED, FIRST)


def test_a_refresh_that_broke_half_way_unbinds_until_it_is_resumed(story: Story, node: Node) -> None:
    node.refreshes_to(FIRST)
    story.intend(*REFRESH)
    story.run()
    node.fails("refresh", status="cloning")
    story.intend("Refresh", "broken", "{environment: staging}")
    story.run()
    assert (story.job("broken").status, bound(story)) == (JobStatus.RUNNING, None)
    node.refreshes_to(SECOND)
    story.clock.advance(minutes=6)
    story.run()
    assert (story.job("broken").status, bound(story)) == (JobStatus.SUCCEEDED, SECOND)


def test_a_drifted_production_stays_drifted_whatever_id_is_asked_for(story: Story, node: Node) -> None:
    story.node.resources.append(make_resource("comments", production=CHANGED))
    check(story, "first")
    assert story.environment(STAGING_ID).drift_status is DriftStatus.DRIFTED
