"""A Reset is the only way from `failed` to `active`, and the node must say so."""

from __future__ import annotations

import pytest

from reconciler.ports import RunOutcome, RunState
from schemas.document import dump
from schemas.state import EnvironmentStatus, ErrorCode, JobStatus, JobType, ReleaseHealth
from schemas.status import JobRecord, make_record_path
from tests.fake_node import FakeNode, make_story
from tests.story import PRODUCTION_ID, SITE_ID, STAGING_ID, Story, make_environment


@pytest.fixture
def broken() -> tuple[Story, FakeNode]:
    """A site whose last promotion left production failed."""
    story, node = make_story()
    story.back_up()
    said = {"node": node.report(status="failed", cut="switched")}
    node.overrides["cut_over"] = RunOutcome(
        RunState.FAILED, said, rc=2, code="ROLLBACK_FAILED", message="x", retry=False
    )
    story.promote("breaking")
    del node.overrides["cut_over"]
    node.status = "failed"
    story.clock.advance(minutes=1)
    assert story.environment().status is EnvironmentStatus.FAILED
    return story, node


def reset(story: Story, spec: str = "{environment: production}", name: str = "again") -> JobRecord:
    story.intend("Reset", name, spec)
    story.run()
    return story.job(name)


def test_an_environment_that_proves_itself_is_active_again(broken: tuple[Story, FakeNode]) -> None:
    story, node = broken
    job = reset(story)
    assert (job.status, job.job_type) == (JobStatus.SUCCEEDED, JobType.HEALTH_CHECK)
    record = story.environment()
    assert (record.status, record.release_health) == (EnvironmentStatus.ACTIVE, ReleaseHealth.HEALTHY)
    assert story.see().sites[SITE_ID].status is EnvironmentStatus.ACTIVE
    story.back_up()
    assert story.promote("after").status is JobStatus.SUCCEEDED
    assert node.status == "active"


def test_an_environment_that_is_not_healthy_stays_failed(broken: tuple[Story, FakeNode]) -> None:
    story, node = broken
    node.overrides["reset-1"] = RunOutcome(
        RunState.FAILED,
        {"node": node.report(status="failed")},
        rc=2,
        code="HEALTH_CHECK_FAILED",
        message="500",
        retry=False,
    )
    job = reset(story)
    assert (job.status, job.error_code) == (JobStatus.FAILED, ErrorCode.HEALTH_CHECK_FAILED)
    assert story.environment().status is EnvironmentStatus.FAILED
    story.back_up()
    assert story.promote("after").error_code is ErrorCode.ENVIRONMENT_NOT_ACTIVE


def test_a_promotion_that_was_brought_to_its_end_is_the_current_release(
    broken: tuple[Story, FakeNode],
) -> None:
    story, node = broken
    node.resumed = str(story.job("breaking").id)
    reset(story)
    assert story.environment().current_release_id == story.job("breaking").id


def test_what_the_node_changed_meanwhile_is_recorded_so_that_older_backups_stand_behind_nothing(
    broken: tuple[Story, FakeNode],
) -> None:
    story, node = broken
    story.back_up()
    node.last_change_at = story.clock.now()
    reset(story)
    assert story.environment().last_change_at == node.last_change_at
    assert story.promote("after").error_code is ErrorCode.BACKUP_GATE_UNMET


def test_a_reset_of_an_active_environment_only_proves_it() -> None:
    story, _ = make_story()
    story.back_up()
    assert reset(story).status is JobStatus.SUCCEEDED
    assert story.environment().status is EnvironmentStatus.ACTIVE


def test_an_answer_without_the_nodes_word_makes_nothing_active(broken: tuple[Story, FakeNode]) -> None:
    story, node = broken
    node.overrides["reset-1"] = RunOutcome(RunState.SUCCEEDED, {"node": node.report(status="failed")}, rc=0)
    assert reset(story).status is JobStatus.FAILED
    assert story.environment().status is EnvironmentStatus.FAILED


def test_a_reset_of_a_whole_site_resets_what_failed_one_by_one(broken: tuple[Story, FakeNode]) -> None:
    story, _ = broken
    job = reset(story, "{}")
    assert job.status is JobStatus.SUCCEEDED
    assert story.steps("again") == ["reset-1"]
    assert story.see().sites[SITE_ID].status is EnvironmentStatus.ACTIVE


def test_of_two_failed_environments_each_is_asked_and_the_last_ends_the_job(
    broken: tuple[Story, FakeNode],
) -> None:
    story, node = broken
    record = story.environment(STAGING_ID).model_copy(update={"status": EnvironmentStatus.FAILED})
    story.commit({make_record_path(record, site="acme"): dump(record).decode()})
    assert reset(story, "{}").status is JobStatus.SUCCEEDED
    asked = [spec.variables for spec in story.runner.started if spec.step.startswith("reset")]
    assert [spec["pressluft_environment"]["name"] for spec in asked] == ["production", "staging"]  # type: ignore[index,call-overload]
    assert [spec["pressluft_request"]["is_last"] for spec in asked] == [False, True]  # type: ignore[index,call-overload]
    assert {story.environment(env).status for env in (PRODUCTION_ID, STAGING_ID)} == {
        EnvironmentStatus.ACTIVE
    }
    assert node.status == "active"


def test_a_reset_whose_run_was_lost_is_asked_again_and_told_once(broken: tuple[Story, FakeNode]) -> None:
    story, node = broken
    faults = iter(["after"])
    node.fault = lambda spec: next(faults, "") if spec.step.startswith("reset") else ""
    reset(story)
    for _ in range(3):
        story.clock.advance(minutes=6)
        story.run()
    assert story.job("again").status is JobStatus.SUCCEEDED
    assert story.environment().status is EnvironmentStatus.ACTIVE


def test_neither_the_stop_nor_a_freeze_holds_a_reset_up(broken: tuple[Story, FakeNode]) -> None:
    story, _ = broken
    policy = "{promotions: {enabled: false}, freeze_windows: [{start: '2026-03-02T00:00:00', duration: P1D}]}"
    story.commit(
        {
            "pressluft.yaml": f"apiVersion: pressluft/v1\nkind: Fleet\nmetadata: {{name: pressluft}}\nspec: {policy}\n"
        }
    )
    assert reset(story).status is JobStatus.SUCCEEDED


def test_a_reset_names_an_environment_that_is_there(broken: tuple[Story, FakeNode]) -> None:
    story, _ = broken
    job = reset(story, "{environment: shop}")
    assert job.error_code is ErrorCode.INTENT_INVALID
    assert "production, staging" in str(job.error_message)


def test_a_swapped_environment_is_not_reset_in_the_others_place(broken: tuple[Story, FakeNode]) -> None:
    story, _ = broken
    story.commit(
        {
            "sites/acme/environments/production.yaml": make_environment("production", STAGING_ID),
            "sites/acme/environments/staging.yaml": make_environment(
                "staging", PRODUCTION_ID, source="production"
            ),
        }
    )
    reset(story)
    assert story.see().environments[PRODUCTION_ID].status is EnvironmentStatus.FAILED
