"""A request over REST is an intent in git: durable, by name, judged before it is written."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from reconciler.request import hash_blob
from schemas.document import dump, read_intent
from schemas.intent import Promotion
from schemas.state import DriftStatus, JobStatus
from schemas.status import make_record_path
from tests.integration.api.living import (
    PRODUCTION_ID,
    SITE,
    STAGING_ID,
    Living,
    live,
    make_check,
    make_settings,
)

STAGING, PRODUCTION = f"/api/environments/{STAGING_ID}", f"/api/environments/{PRODUCTION_ID}"
TO_PRODUCTION = {"target_environment_id": str(PRODUCTION_ID)}


def git(living: Living, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", living.settings.repo, *words], check=True, capture_output=True, text=True
    )
    return done.stdout


def test_a_202_is_a_commit_with_its_actor_and_its_job(living: Living) -> None:
    with living.writer() as writer:
        answer = writer.post(f"{STAGING}/drift-check", json={"reason": "before the release"})
        assert answer.status_code == 202
        job_id = answer.json()["job_id"]
        job = writer.get(f"/api/jobs/{job_id}").json()
    assert (job["id"], job["status"], job["job_type"]) == (job_id, "queued", "drift_check")
    ((path, data),) = living.list_intents().items()
    intent = read_intent(data, path=path)
    assert (intent.metadata.id, intent.spec.reason) == (UUID(job_id), "before the release")
    assert intent.spec.actor == "writer (REST token)"
    log = git(living, "log", "-1", "--format=%an%n%s%n%(trailers:only)")
    assert log.splitlines()[:2] == ["writer (REST token)", f"request drift check: {SITE} staging"]
    assert f"Pressluft-Job: {job_id}" in log
    assert "Pressluft-Actor: writer (REST token)" in log


def test_the_admin_is_named_as_well(living: Living) -> None:
    with living.admin() as admin:
        assert admin.post(f"{STAGING}/drift-check").status_code == 202
    assert git(living, "log", "-1", "--format=%an").strip() == "admin (REST)"


def test_the_same_request_by_rest_and_by_commit_is_the_same_intent_and_job(living: Living) -> None:
    with living.writer() as writer:
        answer = writer.post(
            f"{STAGING}/promote",
            json={**TO_PRODUCTION, "reason": "Spring", "wait": "PT2H", "backup": "create"},
        )
        job_id = answer.json()["job_id"]
        by_rest = writer.get(f"/api/jobs/{job_id}").json()
        ((path, data),) = living.list_intents().items()
        by_hand = {**read_intent(data, path=path).model_dump(by_alias=True)}
        by_hand["spec"] = {**by_hand["spec"], "actor": "Ada"}
        written = dump(Promotion.model_validate(by_hand))
        assert written == data.replace(b"writer (REST token)", b"Ada")
        living.change({path: None})
        assert writer.get(f"/api/jobs/{job_id}").status_code == 404
        living.change({path: written})
        by_commit = writer.get(f"/api/jobs/{job_id}").json()
    same = {name: value for name, value in by_rest.items() if not name.endswith("_at")}
    assert same == {name: value for name, value in by_commit.items() if not name.endswith("_at")}


@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [
        (f"{STAGING}/drift-check", None, "DriftCheck"),
        (f"{STAGING}/promote", TO_PRODUCTION, "Promotion"),
        (f"{PRODUCTION}/backups", {"backup_scope": "db"}, "Backup"),
        (f"{STAGING}/refresh", {"scope": "full"}, "Refresh"),
        (f"{STAGING}/refresh", None, "Refresh"),
        (f"{PRODUCTION}/rollback", {"overwrite": ["options"]}, "Rollback"),
    ],
)
def test_each_request_becomes_the_intent_of_its_kind(
    living: Living, path: str, body: object, kind: str
) -> None:
    with living.writer() as writer:
        answer = writer.post(path, json=body)
    assert answer.status_code == 202, answer.text
    ((name, data),) = living.list_intents().items()
    assert read_intent(data, path=name).kind == kind


def test_every_shut_gate_is_told_with_what_to_do(living: Living) -> None:
    drifted = make_check(datetime.now(UTC), status=DriftStatus.DRIFTED)
    close_gates(living, drifted)
    with living.writer() as writer:
        answer = writer.post(f"{STAGING}/promote", json=TO_PRODUCTION)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (409, "drift_gate_unmet")
    assert {item["code"] for item in problem["details"]} == {"drift_gate_unmet", "backup_gate_unmet"}
    assert all(item["remedy"] for item in problem["details"])
    assert living.list_intents() == {}


def close_gates(living: Living, check: object) -> None:
    """Put another drift check on record, and remove the backup."""
    found = living.facade.desk.service.find_environment(STAGING_ID).record
    assert found is not None
    record = found.model_copy(
        update={"last_drift_check_id": check.id, "drift_status": check.status}  # type: ignore[attr-defined]
    )
    changes = {make_record_path(item, site=SITE): dump(item) for item in (record, check)}  # type: ignore[arg-type]
    living.change({**changes, f"status/{SITE}/backups": None})


@pytest.mark.parametrize(
    "check",
    [
        pytest.param(make_check(datetime.now(UTC) - timedelta(hours=1)), id="an old check"),
        pytest.param(make_check(datetime.now(UTC) + timedelta(hours=1)), id="a check from the future"),
        pytest.param(
            make_check(datetime.now(UTC), status=DriftStatus.UNKNOWN), id="a check that knows nothing"
        ),
        pytest.param(
            make_check(datetime.now(UTC)).model_copy(update={"protection_digest": "0" * 64}),
            id="a check of another protection",
        ),
    ],
)
def test_only_a_recent_clean_check_of_this_protection_opens_the_gate(living: Living, check: object) -> None:
    close_gates(living, check)
    with living.writer() as writer:
        answer = writer.post(f"{STAGING}/promote", json={**TO_PRODUCTION, "backup": "create"})
    assert (answer.status_code, answer.json()["code"]) == (409, "drift_gate_unmet")


@pytest.mark.parametrize(
    "attempt",
    [
        pytest.param({"json": {**TO_PRODUCTION, "force": True}}, id="a field"),
        pytest.param({"json": {**TO_PRODUCTION, "backup": "skip"}}, id="another value"),
        pytest.param({"json": {**TO_PRODUCTION, "status": "clean"}}, id="a verdict of one's own"),
        pytest.param({"json": TO_PRODUCTION, "params": {"force": "true"}}, id="a query"),
        pytest.param({"json": TO_PRODUCTION, "headers": {"X-Pressluft-Force": "1"}}, id="a header"),
        pytest.param({"json": TO_PRODUCTION, "headers": {"X-HTTP-Method-Override": "PUT"}}, id="a method"),
        pytest.param({"json": {**TO_PRODUCTION, "refresh": "protected"}}, id="a refresh to come"),
        pytest.param({"json": {**TO_PRODUCTION, "pin": "0" * 64}}, id="a pin"),
    ],
)
def test_nothing_in_a_request_passes_a_shut_gate(living: Living, attempt: dict[str, object]) -> None:
    close_gates(living, make_check(datetime.now(UTC), status=DriftStatus.DRIFTED))
    with living.admin() as admin:
        answer = admin.post(f"{STAGING}/promote", **attempt)  # type: ignore[arg-type]
    assert answer.status_code in {400, 409}, answer.text
    assert living.list_intents() == {}


def test_a_second_promotion_of_a_target_conflicts_with_the_first(living: Living) -> None:
    with living.admin() as admin:
        first = admin.post(f"{STAGING}/promote", json=TO_PRODUCTION)
        second = admin.post(f"{STAGING}/promote", json=TO_PRODUCTION)
        third = admin.post(f"{PRODUCTION}/rollback")
    assert first.status_code == 202
    assert [(answer.status_code, answer.json()["code"]) for answer in (second, third)] == [
        (409, "conflict")
    ] * 2
    assert first.json()["job_id"] in second.json()["message"]


def test_fifty_promotions_at_once_are_one(living: Living) -> None:
    with living.admin() as admin, ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: admin.post(f"{STAGING}/promote", json=TO_PRODUCTION), range(50)))
    assert sorted(answer.status_code for answer in answers) == [202] + [409] * 49
    assert len(living.list_intents()) == 1


def test_fifty_writers_lose_nothing_and_get_jobs_of_their_own(living: Living) -> None:
    with living.admin() as admin, ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: admin.post(f"{STAGING}/drift-check"), range(50)))
        jobs = {answer.json()["job_id"] for answer in answers}
        found = {job_id: admin.get(f"/api/jobs/{job_id}").json()["status"] for job_id in jobs}
    assert {answer.status_code for answer in answers} == {202}
    assert len(jobs) == 50
    assert set(found.values()) == {"queued"}
    intents = living.list_intents()
    assert {str(read_intent(data, path=path).metadata.id) for path, data in intents.items()} == jobs
    told = git(living, "log", "--format=%(trailers:key=Pressluft-Job,valueonly)").split()
    assert sorted(told) == sorted(jobs), "each job is in exactly one commit"


def test_a_key_makes_a_repeat_the_same_job_even_elsewhere(living: Living, tmp_path: Path) -> None:
    headers = {"Idempotency-Key": "deploy-42"}
    other = living.settings.model_copy(update={"state_dir": tmp_path / "other"})
    with living.admin() as admin, live(other) as second, second.admin() as elsewhere:
        answers = [admin.post(f"{STAGING}/promote", json=TO_PRODUCTION, headers=headers) for _ in range(2)]
        answers.append(elsewhere.post(f"{STAGING}/promote", json=TO_PRODUCTION, headers=headers))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["job_id"] for answer in answers}) == 1
    assert len(living.list_intents()) == 1


def test_a_key_belongs_to_one_request_of_one_caller(living: Living) -> None:
    headers = {"Idempotency-Key": "deploy-42"}
    with living.admin() as admin, living.writer() as writer:
        first = admin.post(f"{STAGING}/drift-check", headers=headers)
        other_body = admin.post(f"{STAGING}/drift-check", headers=headers, json={"reason": "again"})
        other_path = admin.post(f"{PRODUCTION}/backups", headers=headers, json={"backup_scope": "db"})
        other_caller = writer.post(f"{STAGING}/drift-check", headers=headers)
    assert [answer.status_code for answer in (other_body, other_path)] == [409, 409]
    assert other_caller.status_code == 202
    assert other_caller.json() != first.json()


def test_a_key_is_known_when_its_job_has_ended_and_its_file_is_gone(living: Living) -> None:
    headers = {"Idempotency-Key": "deploy-42"}
    with living.admin() as admin:
        job_id = admin.post(f"{STAGING}/drift-check", headers=headers).json()["job_id"]
        ((path, data),) = living.list_intents().items()
        job = living.facade.desk.service.find_job(UUID(job_id)).model_copy(
            update={"status": JobStatus.SUCCEEDED, "intent_blob_id": hash_blob(data)}
        )
        living.change({path: None, make_record_path(job, site=SITE): dump(job)})
        again = admin.post(f"{STAGING}/drift-check", headers=headers)
        other = admin.post(f"{STAGING}/drift-check", headers=headers, json={"reason": "again"})
    assert (again.status_code, again.json()) == (202, {"job_id": job_id})
    assert other.status_code == 409
    assert living.list_intents() == {}


@pytest.mark.parametrize("key", ["", "x" * 256, "zwei Wörter", "two words"])
def test_a_key_that_is_none_is_refused(living: Living, key: str) -> None:
    with living.admin() as admin:
        answer = admin.post(f"{STAGING}/drift-check", headers={"Idempotency-Key": key.encode()})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


def test_what_does_not_fit_the_fleet_is_refused_by_name(living: Living) -> None:
    with living.admin() as admin:
        answers = {
            "check": admin.post(f"{PRODUCTION}/drift-check"),
            "refresh": admin.post(f"{PRODUCTION}/refresh"),
            "rollback": admin.post(f"{STAGING}/rollback"),
            "itself": admin.post(f"{PRODUCTION}/promote", json={"target_environment_id": str(PRODUCTION_ID)}),
            "backwards": admin.post(f"{PRODUCTION}/promote", json={"target_environment_id": str(STAGING_ID)}),
        }
    assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(answers, 409)
    assert "production" in answers["refresh"].json()["message"]
    assert living.list_intents() == {}


def test_a_facade_alone_makes_its_first_commit_where_people_write(living: Living, tmp_path: Path) -> None:
    split = make_settings(tmp_path, living.settings.repo).model_copy(
        update={"state_dir": tmp_path / "split", "status_branch": "pressluft/status"}
    )
    with live(split) as served, served.admin() as admin:
        job_id = admin.post(f"{STAGING}/drift-check").json()["job_id"]
        assert admin.get(f"/api/jobs/{job_id}").json()["status"] == "queued"
    assert "pressluft/status" not in git(living, "branch", "--list")
