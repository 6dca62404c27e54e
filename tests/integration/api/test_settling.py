"""Cancelling and resetting: what is waited for, and what is answered when it does not come."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from api.door import Limits
from reconciler.ports import RunOutcome, RunState
from tests.integration.api.living import (
    PRODUCTION_ID,
    SITE_ID,
    STAGING_ID,
    Living,
    live,
    make_failed,
    make_settings,
    make_small_fleet,
    reconciling,
)

STAGING, PRODUCTION = f"/api/environments/{STAGING_ID}", f"/api/environments/{PRODUCTION_ID}"
TO_PRODUCTION = {"target_environment_id": str(PRODUCTION_ID)}


@pytest.fixture
def patient(tmp_path: Path) -> Iterator[Living]:
    """A facade that waits as long as the contract says."""
    with live(make_settings(tmp_path, make_small_fleet(tmp_path)), limits=Limits()) as served:
        yield served


def await_status(client: httpx.Client, job_id: str, *statuses: str) -> dict[str, Any]:
    """Wait until a job has one of these states."""
    deadline = time.monotonic() + 20
    while True:
        job: dict[str, Any] = client.get(f"/api/jobs/{job_id}").json()
        if job["status"] in statuses:
            return job
        assert time.monotonic() < deadline, job
        time.sleep(0.02)


def test_a_queued_job_is_cancelled(patient: Living) -> None:
    with patient.admin() as admin, reconciling(patient):
        later = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        body = {**TO_PRODUCTION, "not_before": later}
        job_id = admin.post(f"{STAGING}/promote", json=body).json()["job_id"]
        answer = admin.post(f"/api/jobs/{job_id}/cancel", json={"reason": "wrong day"})
        assert (answer.status_code, answer.json()) == (200, {"success": True, "status": "cancelled"})
        assert admin.get(f"/api/jobs/{job_id}").json()["status"] == "cancelled"
        again = admin.post(f"/api/jobs/{job_id}/cancel")
    assert (again.status_code, again.json()["code"]) == (409, "job_not_cancellable")


def test_a_running_job_is_stopped_before_the_cut_over(patient: Living) -> None:
    with patient.admin() as admin, reconciling(patient) as (runner, _):
        runner.answer("stage", lambda _: None)
        job_id = admin.post(f"{STAGING}/promote", json=TO_PRODUCTION).json()["job_id"]
        await_status(admin, job_id, "running")
        answer = admin.post(f"/api/jobs/{job_id}/cancel")
        assert answer.json() == {"success": True, "status": "cancelled"}
        assert admin.get(PRODUCTION).json()["status"] == "active"


def test_once_the_cut_over_has_begun_it_is_too_late(patient: Living) -> None:
    with patient.admin() as admin, reconciling(patient) as (runner, node):
        runner.answer("cut_over", lambda _: None)
        job_id = admin.post(f"{STAGING}/promote", json=TO_PRODUCTION).json()["job_id"]
        while not any(spec.step == "cut_over" for spec in list(runner.started)):
            time.sleep(0.02)
        answer = admin.post(f"/api/jobs/{job_id}/cancel")
        assert (answer.status_code, answer.json()["code"]) == (409, "job_not_cancellable")
        spec = next(spec for spec in runner.started if spec.step == "cut_over")
        runner.end(spec.key, node.answer(spec))
        assert await_status(admin, job_id, "succeeded", "failed")["status"] == "succeeded"


def test_without_a_reconciler_the_answer_is_the_state_it_then_has(living: Living) -> None:
    with living.admin() as admin:
        job_id = admin.post(f"{STAGING}/drift-check").json()["job_id"]
        began = time.monotonic()
        answer = admin.post(f"/api/jobs/{job_id}/cancel")
        waited = time.monotonic() - began
        admin.post(f"/api/jobs/{job_id}/cancel")
    assert (answer.status_code, answer.json()) == (200, {"success": False, "status": "queued"})
    assert waited >= 0.5, "it waits as long as it is patient"
    assert sorted(path.rpartition("/")[2].split("-")[0] for path in living.list_intents()) == [
        "cancel",
        "drift",
    ]


def test_a_failed_job_says_why_in_both_fields(patient: Living) -> None:
    with patient.admin() as admin, reconciling(patient) as (_, node):
        node.overrides["check"] = RunOutcome(
            RunState.FAILED, code="DRIFT_CHECK_FAILED", message="posts: the table is locked", retry=False
        )
        job_id = admin.post(f"{STAGING}/drift-check").json()["job_id"]
        job = await_status(admin, job_id, "failed", "succeeded")
    assert (job["status"], job["error_code"]) == ("failed", "DRIFT_CHECK_FAILED")
    assert "the table is locked" in job["error_message"]


@pytest.mark.parametrize("path", [f"{STAGING}/reset", f"{PRODUCTION}/reset", f"/api/sites/{SITE_ID}/reset"])
def test_what_has_not_failed_is_not_reset(living: Living, path: str) -> None:
    with living.admin() as admin:
        answer = admin.post(path)
    assert (answer.status_code, answer.json()["code"]) == (409, "resource_not_failed")
    assert living.list_intents() == {}


def test_a_reset_that_no_reconciler_carries_out_in_time_goes_on(living: Living) -> None:
    living.change(make_failed(datetime.now(UTC)))
    with living.admin() as admin:
        answer = admin.post(f"{PRODUCTION}/reset")
    assert answer.status_code == 503
    assert len(living.list_intents()) == 1


@pytest.mark.parametrize("path", [f"{PRODUCTION}/reset", f"/api/sites/{SITE_ID}/reset"])
def test_a_failed_environment_that_proves_itself_is_active_again(patient: Living, path: str) -> None:
    patient.change(make_failed(datetime.now(UTC)))
    with patient.admin() as admin, reconciling(patient):
        deadline = time.monotonic() + 60
        while admin.get(f"/api/sites/{SITE_ID}").json()["status"] != "failed":
            assert time.monotonic() < deadline, "the site mirrors its environments"
            time.sleep(0.05)
        answer = admin.post(path, json={"reason": "mended"})
        assert (answer.status_code, answer.json()) == (200, {"success": True, "status": "active"})
        assert admin.get(PRODUCTION).json()["status"] == "active"


def test_a_reset_of_what_is_still_broken_says_why(patient: Living) -> None:
    patient.change(make_failed(datetime.now(UTC)))
    with patient.admin() as admin, reconciling(patient) as (_, node):
        node.overrides["reset-1"] = RunOutcome(
            RunState.FAILED, code="HEALTH_CHECK_FAILED", message="the front page answers 500", retry=False
        )
        answer = admin.post(f"{PRODUCTION}/reset")
    assert (answer.status_code, answer.json()["code"]) == (409, "reset_validation_failed")
    assert "answers 500" in answer.json()["message"]


def test_a_restore_names_a_backup_of_the_environment_itself(living: Living) -> None:
    with living.admin() as admin:
        (backup,) = admin.get(f"{PRODUCTION}/backups").json()
        answers = [
            admin.post(f"{STAGING}/restore", json={"backup_id": backup["id"]}),
            admin.post(f"{PRODUCTION}/restore", json={"backup_id": str(uuid4())}),
        ]
        assert living.list_intents() == {}
        ours = admin.post(f"{PRODUCTION}/restore", json={"backup_id": backup["id"]})
    assert [answer.status_code for answer in answers] == [404, 404]
    assert ours.status_code == 202
    assert [backup["id"].encode() in intent for intent in living.list_intents().values()] == [True]
