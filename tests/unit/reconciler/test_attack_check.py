"""Ways to pass the drift gate: by checks that prove nothing, by waiting, by a clock."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from reconciler.ports import Json, RunOutcome, RunSpec, RunState
from schemas.document import dump
from schemas.intent import Promotion, PromotionSpec
from schemas.model import Metadata
from schemas.state import DriftStatus, ErrorCode, JobStatus
from schemas.status import JobRecord, make_record_path
from tests.fake_node import make_story
from tests.story import (
    BASELINE,
    CHANGED,
    STAGING_ID,
    Story,
    make_fleet_files,
    make_resource,
)
from tests.unit.reconciler.attack import STOP, commit_while


@pytest.fixture
def story() -> Story:
    return Story()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(lambda node: {**node.observation(), "resources": []}, id="that looked at nothing"),
        pytest.param(lambda node: {**node.observation(), "baseline": None}, id="without a baseline"),
        pytest.param(
            lambda node: {
                **node.observation(),
                "resources": [make_resource("posts", production=None)],
            },
            id="that lost a table",
        ),
    ],
)
def test_a_check_that_proves_nothing_opens_nothing(
    story: Story, monkeypatch: pytest.MonkeyPatch, answer: Callable[[object], object]
) -> None:
    story.back_up()
    made = answer(story.node)
    monkeypatch.setattr(type(story.node), "observation", lambda _: made)
    assert story.promote().error_code is ErrorCode.DRIFT_GATE_UNMET


def test_a_forged_clean_check_gets_a_request_no_further_than_the_jobs_own_look(story: Story) -> None:
    story.back_up()
    story.node.resources.append(make_resource("comments", production=CHANGED))
    story.intend("DriftCheck", "look", "{environment: staging}")
    story.run()
    promotion = Promotion(
        metadata=Metadata(name="release"), spec=PromotionSpec(source="staging", target="production")
    )
    assert [reason.code for reason in story.service.find_unmet("acme", promotion)] == [
        ErrorCode.DRIFT_GATE_UNMET
    ]
    forge_clean_check(story)
    assert story.service.find_unmet("acme", promotion) == ()
    story.service.request("acme", promotion)
    story.run()
    job = story.job("release")
    assert job.error_code is ErrorCode.DRIFT_GATE_UNMET
    assert "comments" in str(job.error_message)
    assert story.steps("release") == ["check-1"]


def forge_clean_check(story: Story) -> None:
    """Write into `status/` that staging's last check found nothing, as anybody who may push can."""
    check = (
        story.see()
        .drift_checks[STAGING_ID]
        .model_copy(update={"status": DriftStatus.CLEAN, "resources": (), "reason": None})
    )
    staging = story.environment(STAGING_ID).model_copy(update={"drift_status": DriftStatus.CLEAN})
    records = (check, staging)
    story.commit({make_record_path(one, site="acme"): dump(one).decode() for one in records})


def test_tables_that_are_defined_differently_are_named_and_nothing_is_staged(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    story.back_up()
    differences = [{"table": "posts", "difference": "column post_color only on the source"}]
    made = {**story.node.observation(), "schema_differences": differences}
    monkeypatch.setattr(type(story.node), "observation", lambda _: made)
    job = story.promote()
    assert job.error_code is ErrorCode.SCHEMA_UNSUPPORTED
    assert "post_color" in str(job.error_message)
    assert story.steps("release") == ["check-1"]


def test_an_earlier_round_of_refreshing_is_never_what_is_staged(story: Story) -> None:
    story.back_up()
    story.node.resources.append(make_resource("comments", production=CHANGED))
    seen: list[str] = []

    def answer(spec: RunSpec) -> RunOutcome:
        outcome = story.node.answer(spec)
        if spec.step == "check-1":
            story.node.resources[-1] = make_resource("comments")
            story.node.resources.append(
                make_resource("late", kind="option", protection="mergeable", source=CHANGED)
            )
        seen.append(spec.step)
        return outcome

    for step in ("check-1", "check-2"):
        story.runner.answer(step, answer)
    job = story.promote(spec="{source: staging, target: production, refresh: protected}")
    assert job.status is JobStatus.SUCCEEDED
    stage = next(spec for spec in story.runner.started if spec.step == "stage")
    assert stage.variables["pressluft_request"]["plan"]["options"]["take"] == ["late"]  # type: ignore[index,call-overload]


def test_three_refreshes_in_vain_end_with_drift(story: Story) -> None:
    story.back_up()
    story.node.resources.append(make_resource("comments", production=CHANGED))
    job = story.promote(spec="{source: staging, target: production, refresh: protected}")
    assert job.error_code is ErrorCode.DRIFT_GATE_UNMET
    assert story.steps("release")[-1] == "check-3"


REFRESHED: dict[str, Json] = {"refresh": {"baseline_id": BASELINE}}
OTHER: dict[str, Json] = {"refresh": {"baseline_id": "9" * 64}}


def promote_a_busy_shop(story: Story, *resources: Json, said: dict[str, Json]) -> JobRecord:
    """Promote with a refresh that says `said`, on a production that is as `resources` at every check."""
    story.back_up()
    story.node.resources += resources
    for number in (1, 2, 3):
        answer = RunOutcome(RunState.SUCCEEDED, {**said, "node": story.node.report()}, rc=0)
        story.runner.answer(f"refresh-{number}", lambda _, answer=answer: answer)
    return story.promote(spec="{source: staging, target: production, refresh: protected}")


def test_a_shop_that_is_never_quiet_is_promoted_as_of_its_last_refresh(story: Story) -> None:
    job = promote_a_busy_shop(story, make_resource("comments", production=CHANGED), said=REFRESHED)
    assert (job.status, job.error_message) == (JobStatus.SUCCEEDED, None)
    assert story.steps("release")[-3:] == ["check-3", "stage", "cut_over"]
    assert job.summary.endswith("visitors wrote meanwhile, and it is kept: comments")
    assert story.environment(STAGING_ID).drift_status is DriftStatus.DRIFTED


@pytest.mark.parametrize(
    ("resource", "said", "code"),
    [
        pytest.param(
            make_resource("comments", production=CHANGED),
            OTHER,
            ErrorCode.DRIFT_GATE_UNMET,
            id="another baseline than the refresh took",
        ),
        pytest.param(
            make_resource("comments", production=None),
            REFRESHED,
            ErrorCode.DRIFT_GATE_UNMET,
            id="a lost table",
        ),
        pytest.param(
            make_resource("comments", production_baseline=None),
            REFRESHED,
            ErrorCode.DRIFT_GATE_UNMET,
            id="a table that only came",
        ),
        pytest.param(
            make_resource("comments", production=None, unreadable="locked"),
            REFRESHED,
            ErrorCode.DRIFT_CHECK_FAILED,
            id="a table that could not be read",
        ),
    ],
)
def test_what_visitors_do_not_write_is_drift_after_a_refresh_as_well(
    story: Story, resource: Json, said: dict[str, Json], code: ErrorCode
) -> None:
    busy = make_resource("posts", production=CHANGED)
    story.node.resources.pop(0)
    assert promote_a_busy_shop(story, busy, resource, said=said).error_code is code


def test_a_shop_that_is_written_to_without_a_refresh_of_the_job_is_drifted(story: Story) -> None:
    story.back_up()
    story.node.resources.append(make_resource("comments", production=CHANGED))
    assert story.promote().error_code is ErrorCode.DRIFT_GATE_UNMET


def test_a_gate_that_opens_only_between_drop_and_end_does_not_cut_over_what_was_dropped() -> None:
    story, node = make_story()
    story.back_up()
    commit_while(story, "stage", {"pressluft.yaml": STOP})

    def discard(spec: RunSpec) -> RunOutcome:
        story.commit({"pressluft.yaml": make_fleet_files()["pressluft.yaml"]})
        story.runner.answer("stage", node.answer)
        return node.answer(spec)

    story.runner.answer("discard", discard)
    job = story.promote()
    assert job.status is JobStatus.SUCCEEDED
    steps = story.steps("release")
    assert steps[steps.index("discard") + 1 :][-2:] == ["stage", "cut_over"]


def test_a_job_that_waits_for_a_live_gate_commits_nothing_until_its_time(story: Story) -> None:
    story.back_up()
    story.node.resources.append(make_resource("comments", production=CHANGED))
    job = story.promote(spec="{source: staging, target: production, wait: PT2H}")
    assert job.status is JobStatus.QUEUED
    tip = story.repo.fetch()
    for _ in range(5):
        story.run()
    assert story.repo.fetch() == tip
    story.clock.advance(minutes=5)
    story.run()
    assert story.job("release").epoch == 2


def test_a_job_whose_wait_runs_out_asks_the_node_a_last_time_then_and_fails(story: Story) -> None:
    story.back_up()
    story.node.resources.append(make_resource("comments", production=CHANGED))
    job = story.promote(spec="{source: staging, target: production, wait: PT7S}")
    assert job.status is JobStatus.QUEUED
    story.clock.advance(seconds=7)
    story.run()
    job = story.job("release")
    assert (job.status, job.error_code, job.epoch) == (JobStatus.FAILED, ErrorCode.DRIFT_GATE_UNMET, 2)


def test_a_job_that_waits_takes_its_own_backup_once_while_it_is_fresh(story: Story) -> None:
    story.node.resources.append(make_resource("comments", production=CHANGED))
    story.promote(spec="{source: staging, target: production, wait: PT2H, backup: create}")
    for _ in range(4):
        story.clock.advance(minutes=6)
        story.run()
    assert story.steps("release").count("backup") == 1
    story.node.resources.pop()
    story.clock.advance(minutes=6)
    story.run()
    assert story.job("release").status is JobStatus.SUCCEEDED


def test_a_wait_longer_than_a_node_may_be_away_is_no_absence(story: Story) -> None:
    story.node.resources.append(make_resource("comments", production=CHANGED))
    story.promote(spec="{source: staging, target: production, wait: P7D, backup: create}")
    story.clock.advance(days=2)
    story.node.resources.pop()
    lost: list[str] = []

    def lose_once(spec: RunSpec) -> RunOutcome:
        if not lost:
            lost.append(spec.key)
            return RunOutcome(RunState.LOST)
        return story.node.answer(spec)

    story.runner.answer("check-1", lose_once)
    story.run()
    assert lost
    assert story.job("release").status is JobStatus.SUCCEEDED


def test_not_before_holds_when_the_clock_goes_back(story: Story) -> None:
    story.back_up()
    spec = "{source: staging, target: production, not_before: '2026-03-02T12:30:00Z'}"
    story.promote(spec=spec)
    story.clock.advance(hours=-1)
    story.run()
    assert story.job("release").status is JobStatus.QUEUED
    story.clock.advance(hours=1, minutes=31)
    story.run()
    assert story.job("release").status is JobStatus.SUCCEEDED


def test_a_check_from_before_a_refresh_is_no_check_of_the_new_baseline(story: Story) -> None:
    story.intend("DriftCheck", "look", "{environment: staging}")
    story.back_up()
    assert story.service.find_unmet("acme", make_promotion()) == ()
    story.intend("Refresh", "fresh", "{environment: staging}")
    story.run()
    assert story.environment(STAGING_ID).drift_status is DriftStatus.UNKNOWN
    codes = {reason.code for reason in story.service.find_unmet("acme", make_promotion())}
    assert ErrorCode.DRIFT_GATE_UNMET in codes


def make_promotion() -> Promotion:
    """Make the promotion that a REST caller asks for."""
    return Promotion.model_validate(
        {"metadata": {"name": "asked"}, "spec": {"source": "staging", "target": "production"}}
    )
