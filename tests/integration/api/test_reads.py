"""Reading: pages, filters, versions, and always what the repo says at this moment."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urljoin
from uuid import UUID

import httpx
import pytest

from schemas.document import dump
from schemas.state import EnvironmentType, JobStatus
from schemas.status import make_record_path
from tests.integration.api.living import (
    OTHER_ID,
    PRODUCTION_ID,
    SITE,
    SITE_ID,
    STAGING_ID,
    Living,
    live,
    make_check,
    make_id,
    make_running,
)


def walk(client: httpx.Client, path: str) -> list[list[dict[str, Any]]]:
    """Follow `Link` headers to the end; returns the pages."""
    pages = []
    while path:
        answer = client.get(path)
        pages.append(answer.json())
        path = urljoin(path, answer.links["next"]["url"]) if "next" in answer.links else ""
    return pages


def test_pages_hold_every_job_once_newest_first(living: Living) -> None:
    with living.admin() as admin:
        admin.post(f"/api/environments/{STAGING_ID}/drift-check")
        pages = walk(admin, "/api/jobs?limit=5")
        everything = admin.get("/api/jobs").json()
    assert [len(page) for page in pages] == [5, 5, 3]
    assert [job for page in pages for job in page] == everything
    times = [job["created_at"] for job in everything]
    assert times == sorted(times, reverse=True)
    assert everything[0]["status"] == "queued"


def test_a_page_stays_in_its_place_while_jobs_arrive(living: Living) -> None:
    with living.admin() as admin:
        before = [job["id"] for job in admin.get("/api/jobs").json()]
        first = admin.get("/api/jobs?limit=5")
        admin.post(f"/api/environments/{STAGING_ID}/drift-check")
        second = admin.get(first.links["next"]["url"])
    assert [job["id"] for job in first.json() + second.json()][:10] == before[:10]


def test_sites_and_environments_come_in_pages_too(living: Living) -> None:
    with living.admin() as admin:
        sites = walk(admin, "/api/sites?limit=1")
        environments = walk(admin, f"/api/sites/{SITE_ID}/environments?limit=1")
    assert [page[0]["slug"] for page in sites] == [SITE, "site-0001"]
    assert [page[0]["slug"] for page in environments] == ["production", "staging"]


@pytest.mark.parametrize(
    ("query", "field", "value"),
    [
        (f"site_id={SITE_ID}", "site_id", str(SITE_ID)),
        (f"environment_id={PRODUCTION_ID}", "environment_id", str(PRODUCTION_ID)),
        ("status=failed", "status", "failed"),
        ("job_type=backup_create", "job_type", "backup_create"),
    ],
)
def test_a_filter_keeps_exactly_what_it_names(living: Living, query: str, field: str, value: str) -> None:
    with living.admin() as admin:
        everything = admin.get("/api/jobs").json()
        found = [job for page in walk(admin, f"/api/jobs?limit=2&{query}") for job in page]
    assert found == [job for job in everything if job[field] == value]
    assert 0 < len(found) < len(everything)


def test_filters_narrow_together(living: Living) -> None:
    with living.admin() as admin:
        found = admin.get(f"/api/jobs?status=failed&site_id={OTHER_ID}&job_type=env_promote").json()
    assert {(job["status"], job["site_id"], job["job_type"]) for job in found} == {
        ("failed", str(OTHER_ID), "env_promote")
    }


def test_jobs_that_go_on_are_found_by_their_status(living: Living) -> None:
    service = living.facade.desk.service
    job = make_running(service.list_jobs(limit=1)[0])
    ended = "".join(f"{item.id}\n" for item in service.list_jobs() if item.id != job.id)
    living.change(
        {make_record_path(job, site=job.site): dump(job), f"status/{job.site}/ended.txt": ended.encode()}
    )
    with living.admin() as admin:
        assert [found["id"] for found in admin.get("/api/jobs?status=running").json()] == [str(job.id)]
        assert admin.get("/api/metrics").json()["jobs_running"] == 1


@pytest.mark.parametrize("path", ["/api/jobs", "/api/sites", f"/api/sites/{SITE_ID}/environments"])
def test_what_did_not_change_is_not_sent_again(living: Living, path: str) -> None:
    with living.admin() as admin:
        first = admin.get(path)
        tag = first.headers["etag"]
        again = admin.get(path, headers={"If-None-Match": f'"other", W/{tag}'})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        living.change({f"sites/{SITE}/site.yaml": None, f"intents/{SITE}/x.yaml": b"x"})
        living.change({"README.md": b"nothing that is shown"})
        assert admin.get("/api/jobs", headers={"If-None-Match": tag}).status_code == (
            304 if path == "/api/jobs" else 200
        )


def test_a_new_job_is_another_version_of_the_list(living: Living) -> None:
    with living.admin() as admin:
        tag = admin.get("/api/jobs").headers["etag"]
        admin.post(f"/api/environments/{STAGING_ID}/drift-check")
        assert admin.get("/api/jobs", headers={"If-None-Match": tag}).status_code == 200


def test_what_one_facade_writes_the_other_reads_at_once(living: Living, tmp_path: Path) -> None:
    other = living.settings.model_copy(update={"state_dir": tmp_path / "other"})
    with live(other) as second, living.admin() as here, second.admin() as there:
        for _ in range(10):
            job_id = here.post(f"/api/environments/{STAGING_ID}/drift-check").json()["job_id"]
            assert there.get(f"/api/jobs/{job_id}").json()["status"] == "queued"
            assert there.get("/api/jobs?limit=1").json()[0]["id"] == job_id


def test_what_the_reconciler_records_is_read_at_once(living: Living) -> None:
    with living.admin() as admin:
        job_id = admin.post(f"/api/environments/{STAGING_ID}/drift-check").json()["job_id"]
        queued = living.facade.desk.service.find_job(UUID(job_id))
        for status in (JobStatus.RUNNING, JobStatus.SUCCEEDED):
            job = queued.model_copy(update={"status": status})
            living.change({make_record_path(job, site=SITE): dump(job)})
            assert admin.get(f"/api/jobs/{job_id}").json()["status"] == status


def test_a_drift_check_shows_verdicts_and_proofs_but_no_content(living: Living) -> None:
    with living.admin() as admin:
        (listed,) = admin.get(f"/api/environments/{STAGING_ID}/drift-checks").json()
        shown = admin.get(f"/api/drift-checks/{listed['id']}").json()
        environment = admin.get(f"/api/environments/{STAGING_ID}").json()
    assert shown == listed
    assert (shown["status"], shown["environment_id"]) == ("clean", str(STAGING_ID))
    (table,) = shown["db_checksums"]
    assert (table["name"], table["verdict"], table["proof"]) == ("posts", "clean", "digest")
    assert [item["name"] for item in shown["file_checksums"]] == ["wp-content/uploads"]
    assert (environment["drift_status"], environment["last_drift_check_id"]) == ("clean", shown["id"])


def test_drift_checks_come_in_pages_newest_first(living: Living) -> None:
    service = living.facade.desk.service
    newest = service.list_drift_checks(STAGING_ID)[0]
    older = make_check(newest.checked_at.replace(year=newest.checked_at.year - 1))
    living.change({make_record_path(older, site=SITE): dump(older)})
    with living.admin() as admin:
        pages = walk(admin, f"/api/environments/{STAGING_ID}/drift-checks?limit=1")
    assert [page[0]["id"] for page in pages] == [str(newest.id), str(older.id)]


def test_backups_are_listed_with_what_proves_them(living: Living) -> None:
    with living.admin() as admin:
        (backup,) = admin.get(f"/api/environments/{PRODUCTION_ID}/backups").json()
    assert (backup["status"], backup["backup_scope"], backup["checksum"]) == ("completed", "full", "f" * 64)


def test_an_environment_nobody_has_met_is_shown_with_what_its_file_says(living: Living) -> None:
    text = next(iter(living.facade.desk.service.list_environments(SITE_ID))).environment
    clone = text.model_copy(
        update={
            "metadata": text.metadata.model_copy(update={"name": "clone", "id": make_id("a clone")}),
            "spec": text.spec.model_copy(
                update={"type": EnvironmentType.CLONE, "source": "production", "root": "/srv/clone"}
            ),
        }
    )
    living.change({f"sites/{SITE}/environments/clone.yaml": dump(clone)})
    with living.admin() as admin:
        found = admin.get(f"/api/environments/{make_id('a clone')}").json()
    assert (found["status"], found["environment_type"], found["created_at"]) == ("active", "clone", None)
    assert found["source_environment_id"] == str(PRODUCTION_ID)


@pytest.mark.parametrize(
    "path",
    [
        "/api/jobs/{id}",
        "/api/sites/{id}",
        "/api/sites/{id}/environments",
        "/api/environments/{id}",
        "/api/environments/{id}/backups",
        "/api/environments/{id}/drift-checks",
        "/api/drift-checks/{id}",
        "/api/jobs/{id}/events",
    ],
)
def test_what_is_not_there_is_not_found(living: Living, path: str) -> None:
    with living.admin() as admin:
        answer = admin.get(path.format(id=make_id("nothing")))
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_a_forged_record_shows_nothing(living: Living) -> None:
    job = living.facade.desk.service.list_jobs(limit=1)[0]
    path = make_record_path(job, site=job.site)
    data = dump(job)
    with living.admin() as admin:
        for forged in (b"", b"\xff", data.replace(b"status: ", b"status: x"), data + data, b"- " * 10_000):
            living.change({path: forged})
            assert admin.get(f"/api/jobs/{job.id}").status_code == 404
            assert str(job.id) not in admin.get("/api/jobs").text
        living.change({path: data})
        assert admin.get(f"/api/jobs/{job.id}").status_code == 200
