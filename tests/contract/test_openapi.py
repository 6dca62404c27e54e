"""`contracts/openapi.yaml` is current, is OpenAPI 3.1, and holds what the product promises to callers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from api.__main__ import CONTRACT, main, make_text
from reconciler.settings import CHECKOUT
from schemas.state import BackupScope, BackupStatus, EnvironmentStatus, ErrorCode, JobStatus, JobType

ENDPOINTS = {
    "POST /login",
    "POST /logout",
    "GET /sites",
    "GET /sites/{site_id}",
    "GET /sites/{site_id}/environments",
    "GET /environments/{environment_id}",
    "POST /environments/{environment_id}/drift-check",
    "POST /environments/{environment_id}/promote",
    "POST /environments/{environment_id}/backups",
    "GET /environments/{environment_id}/backups",
    "POST /environments/{environment_id}/refresh",
    "POST /environments/{environment_id}/restore",
    "POST /environments/{environment_id}/rollback",
    "POST /environments/{environment_id}/reset",
    "POST /sites/{site_id}/reset",
    "GET /environments/{environment_id}/drift-checks",
    "GET /drift-checks/{check_id}",
    "GET /jobs",
    "GET /jobs/{job_id}",
    "POST /jobs/{job_id}/cancel",
    "GET /jobs/{job_id}/events",
    "GET /metrics",
    "GET /healthz",
    "GET /readyz",
    "POST /hooks/git",
}
FIELDS = {
    "SiteView": "id name slug status primary_environment_id created_at updated_at state_version",
    "EnvironmentView": "id site_id name slug environment_type status node_id source_environment_id promotion_preset "
    "preview_url primary_domain_id current_release_id drift_status drift_checked_at last_drift_check_id "
    "fastcgi_cache_enabled redis_cache_enabled created_at updated_at state_version",
    "BackupView": "id environment_id backup_scope status storage_type storage_path retention_until checksum "
    "size_bytes created_at completed_at",
    "JobView": "id job_type status site_id environment_id node_id attempt_count max_attempts run_after locked_at "
    "locked_by started_at finished_at error_code error_message created_at updated_at",
    "DriftCheckView": "id environment_id promotion_preset status db_checksums file_checksums checked_at",
    "PromoteRequest": "target_environment_id reason pin not_before wait backup refresh",
    "Totals": "jobs_running jobs_queued nodes_active sites_total",
    "Problem": "code message details",
}


@pytest.fixture(scope="module")
def contract() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((CHECKOUT / CONTRACT).read_text())
    return found


def list_operations(contract: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in contract["paths"].items():
        for method, operation in methods.items():
            if method != "servers":
                yield f"{method.upper()} {path}", operation


def test_the_contract_is_current() -> None:
    assert (CHECKOUT / CONTRACT).read_text() == make_text()


def test_check_says_when_it_is_not(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check", "--root", str(tmp_path)]) == 1
    assert capsys.readouterr().out == "contracts/openapi.yaml: not current\n"
    assert main(["--root", str(tmp_path)]) == 0
    assert main(["--check", "--root", str(tmp_path)]) == 0


def test_it_is_openapi_3_1_below_api(contract: dict[str, Any]) -> None:
    assert contract["openapi"].startswith("3.1")
    assert contract["servers"] == [{"url": "/api"}]
    assert contract["info"]["title"] == "Pressluft"


def test_it_has_every_endpoint_and_no_other(contract: dict[str, Any]) -> None:
    assert {name for name, _ in list_operations(contract)} == ENDPOINTS


@pytest.mark.parametrize("name", FIELDS)
def test_a_thing_has_exactly_its_fields(contract: dict[str, Any], name: str) -> None:
    assert list(contract["components"]["schemas"][name]["properties"]) == FIELDS[name].split()


def test_nothing_takes_or_has_fields_that_are_not_named(contract: dict[str, Any]) -> None:
    open_ended = [
        name
        for name, schema in contract["components"]["schemas"].items()
        if schema.get("type") == "object" and schema.get("additionalProperties") is not False
    ]
    assert open_ended == []


@pytest.mark.parametrize(
    "words", [JobStatus, JobType, EnvironmentStatus, BackupStatus, BackupScope, ErrorCode]
)
def test_fixed_lists_are_those_of_the_product(contract: dict[str, Any], words: Any) -> None:
    assert contract["components"]["schemas"][words.__name__]["enum"] == [word.value for word in words]


def test_every_failure_has_the_one_form(contract: dict[str, Any]) -> None:
    for response in contract["components"]["responses"].values():
        assert response["content"] == {
            "application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}
        }
    for name, operation in list_operations(contract):
        failing = {status: said for status, said in operation["responses"].items() if status >= "400"}
        assert all(list(said) == ["$ref"] for said in failing.values()), name


def test_all_but_login_health_and_the_signed_hook_need_a_proof(contract: dict[str, Any]) -> None:
    open_to_all = {name for name, operation in list_operations(contract) if "security" not in operation}
    assert open_to_all == {"POST /login", "GET /healthz", "GET /readyz", "POST /hooks/git"}


def test_what_is_durable_says_202_with_the_job(contract: dict[str, Any]) -> None:
    created = {
        name
        for name, operation in list_operations(contract)
        if "202" in operation["responses"] and name != "POST /hooks/git"
    }
    assert {name.rpartition("/")[2] for name in created} == {
        "drift-check", "promote", "backups", "refresh", "restore", "rollback",
    }  # fmt: skip


def test_no_title_only_repeats_a_name(contract: dict[str, Any]) -> None:
    assert "title" not in contract["components"]["schemas"]["JobView"]["properties"]["error_code"]
