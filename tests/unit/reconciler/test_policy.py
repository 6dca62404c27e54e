"""Stricter policy binds at once, laxer policy only jobs admitted later, and is named in their record (spec.md §1)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from reconciler.ports import RunOutcome, RunSpec
from schemas.model import format_timestamp
from schemas.state import ErrorCode, JobStatus
from tests.story import (
    CHANGED,
    PRODUCTION_ID,
    STAGING_ID,
    Story,
    make_environment,
    make_fleet_files,
    make_resource,
)

WAITING = "{source: staging, target: production, wait: P2D}"
PLAIN = "{source: staging, target: production}"
OTHER = "sha256:" + "d" * 64


def commit_policy(story: Story, policy: str) -> None:
    story.commit({"pressluft.yaml": make_fleet_files(policy)["pressluft.yaml"]})


def test_a_laxer_age_of_backups_does_not_let_a_job_through_that_was_admitted_before() -> None:
    story = Story()
    story.back_up()
    story.clock.advance(hours=2)
    job = story.promote("early", WAITING)
    assert job.waiting_for[0].code is ErrorCode.BACKUP_GATE_UNMET
    commit_policy(story, "{backup_max_age: 6h}")
    story.run()
    assert story.job("early").status is JobStatus.QUEUED
    story.clock.advance(minutes=10)
    story.run()
    assert story.job("early").waiting_for[0].code is ErrorCode.BACKUP_GATE_UNMET


def test_a_laxer_age_of_backups_does_not_let_a_rollback_through_that_was_admitted_before() -> None:
    story = Story()
    story.back_up()
    assert story.promote().status is JobStatus.SUCCEEDED
    story.back_up()
    due = format_timestamp(story.clock.now() + timedelta(hours=2))
    story.intend("Rollback", "back", f"{{environment: production, not_before: '{due}'}}")
    story.run()
    commit_policy(story, "{backup_max_age: 6h}")
    story.clock.advance(hours=2)
    story.node.backup_age = timedelta(hours=2)
    story.run()
    assert story.job("back").error_code is ErrorCode.BACKUP_GATE_UNMET


def test_a_laxer_policy_lets_a_later_job_through_and_is_named_in_its_record() -> None:
    story = Story()
    story.back_up()
    story.clock.advance(hours=2)
    story.node.backup_age = timedelta(hours=2)
    commit_policy(story, "{backup_max_age: 6h, overwrite_policy: warn}")
    job = story.promote()
    assert job.status is JobStatus.SUCCEEDED
    assert "admitted under backup_max_age 6h, overwrite_policy warn" in job.notes


def test_a_job_under_the_usual_policy_names_none() -> None:
    story = Story()
    story.back_up()
    assert story.promote().notes == ()


@pytest.mark.parametrize("step", ["check-1", "stage"])
def test_conflicts_that_are_allowed_while_a_job_runs_are_not_allowed_to_it(step: str) -> None:
    story = Story()
    story.back_up()
    conflict = make_resource("x", kind="option", protection="mergeable", production=CHANGED, source=OTHER)
    if step == "check-1":
        story.node.resources.append(conflict)

    def loosen(spec: RunSpec) -> RunOutcome:
        commit_policy(story, "{overwrite_policy: warn}")
        return story.node.answer(spec)

    story.runner.answer(step, loosen)
    job = story.promote()
    expected = ErrorCode.OVERWRITE_BLOCKED if step == "check-1" else None
    assert job.error_code is expected


def test_conflicts_that_are_allowed_while_a_job_waits_are_not_allowed_to_it() -> None:
    story = Story()
    story.back_up()
    story.node.resources.append(
        make_resource("x", kind="option", protection="mergeable", production=CHANGED, source=OTHER)
    )
    assert story.promote("early", WAITING).waiting_for[0].code is ErrorCode.OVERWRITE_BLOCKED
    commit_policy(story, "{overwrite_policy: warn}")
    story.clock.advance(minutes=6)
    story.run()
    assert story.job("early").waiting_for[0].code is ErrorCode.OVERWRITE_BLOCKED


def test_protection_that_is_taken_away_while_a_job_waits_still_protects_from_it() -> None:
    story = Story()
    protect = {
        "sites/acme/environments/production.yaml": make_environment(
            "production", PRODUCTION_ID, extra="  protect: {tables: [bookings]}\n"
        )
    }
    story.commit(protect)
    story.promote("early", WAITING)
    story.commit({"sites/acme/environments/production.yaml": make_environment("production", PRODUCTION_ID)})
    story.back_up()
    story.clock.advance(minutes=6)
    story.run()
    spec = next(spec for spec in story.runner.started if spec.step == "check-1")
    assert "bookings" in spec.variables["pressluft_protection"]["protected_tables"]  # type: ignore[index,call-overload,operator]


@pytest.mark.parametrize(
    ("extra", "part", "name"),
    [
        pytest.param("  protect: {tables: [bookings]}\n", "protected_tables", "bookings", id="a table"),
        pytest.param("  protect: {paths: [invoices]}\n", "protected_paths", "invoices", id="a path"),
        pytest.param(
            "  promotion_preset: commerce-protect\n", "protected_tables", "wc_orders", id="a preset"
        ),
    ],
)
def test_what_protected_the_source_when_a_job_was_admitted_still_does(
    extra: str, part: str, name: str
) -> None:
    story = Story()
    path = "sites/acme/environments/staging.yaml"
    story.commit({path: make_environment("staging", STAGING_ID, source="production", extra=extra)})
    story.promote("early", WAITING)
    story.commit({path: make_environment("staging", STAGING_ID, source="production")})
    story.back_up()
    story.clock.advance(minutes=6)
    story.run()
    spec = next(spec for spec in story.runner.started if spec.step == "check-1")
    assert name in spec.variables["pressluft_protection"][part]  # type: ignore[index,call-overload,operator]


def test_a_stricter_age_of_backups_binds_a_job_that_waits() -> None:
    story = Story()
    commit_policy(story, "{backup_max_age: 6h}")
    story.back_up()
    story.clock.advance(hours=2)
    story.promote(
        "early", "{source: staging, target: production, not_before: '2026-03-02T15:00:00Z', wait: P1D}"
    )
    commit_policy(story, "{backup_max_age: 1h}")
    story.clock.advance(hours=1, minutes=30)
    story.run()
    assert story.job("early").waiting_for[0].code is ErrorCode.BACKUP_GATE_UNMET


def test_a_stop_that_is_lifted_lets_go_what_waited_for_it() -> None:
    story = Story("{promotions: {enabled: false}}")
    story.back_up()
    assert story.promote("early", WAITING).waiting_for[0].code is ErrorCode.PROMOTIONS_DISABLED
    commit_policy(story, "{}")
    story.run()
    assert story.job("early").status is JobStatus.SUCCEEDED
