"""A token for one site sees that site and nothing else."""

from __future__ import annotations

import pytest

from tests.integration.api.living import OTHER_ID, PRODUCTION_ID, SITE_ID, STAGING_ID, Living, make_id

FOREIGN = make_id("site-0001/staging")


def test_lists_hold_only_what_the_token_is_for(living: Living) -> None:
    with living.writer() as writer, living.admin() as admin:
        assert [site["id"] for site in writer.get("/api/sites").json()] == [str(SITE_ID)]
        assert {job["site_id"] for job in writer.get("/api/jobs").json()} == {str(SITE_ID)}
        assert {job["site_id"] for job in admin.get("/api/jobs").json()} == {str(SITE_ID), str(OTHER_ID)}
        assert writer.get("/api/metrics").json()["sites_total"] == 1
        assert admin.get("/api/metrics").json()["sites_total"] == 2


@pytest.mark.parametrize(
    "path",
    [
        f"/api/sites/{OTHER_ID}",
        f"/api/sites/{OTHER_ID}/environments",
        f"/api/environments/{FOREIGN}",
        f"/api/environments/{FOREIGN}/backups",
        f"/api/environments/{FOREIGN}/drift-checks",
    ],
)
def test_what_it_is_not_for_is_not_there(living: Living, path: str) -> None:
    with living.writer() as writer, living.admin() as admin:
        assert admin.get(path).status_code == 200
        answer = writer.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_it_cannot_ask_for_anything_elsewhere(living: Living) -> None:
    bodies = {
        "drift-check": None,
        "promote": {"target_environment_id": str(make_id("site-0001/production"))},
        "backups": {"backup_scope": "full"},
        "refresh": None,
        "rollback": None,
        "restore": {"backup_id": str(make_id("nothing"))},
        "reset": None,
    }
    with living.writer() as writer:
        found = {
            verb: writer.post(f"/api/environments/{FOREIGN}/{verb}", json=body).status_code
            for verb, body in bodies.items()
        }
        assert writer.post(f"/api/sites/{OTHER_ID}/reset").status_code == 404
    assert set(found.values()) == {404}
    assert living.list_intents("site-0001") == {}


def test_it_cannot_promote_across_sites(living: Living) -> None:
    body = {"target_environment_id": str(make_id("site-0001/production"))}
    with living.writer() as writer:
        assert writer.post(f"/api/environments/{STAGING_ID}/promote", json=body).status_code == 404


def test_a_job_of_another_site_is_neither_read_nor_streamed_nor_cancelled(living: Living) -> None:
    with living.admin() as admin, living.writer() as writer:
        job_id = admin.post(f"/api/environments/{FOREIGN}/drift-check").json()["job_id"]
        assert writer.get(f"/api/jobs/{job_id}").status_code == 404
        assert writer.get(f"/api/jobs/{job_id}/events").status_code == 404
        assert writer.post(f"/api/jobs/{job_id}/cancel").status_code == 404


def test_prometheus_is_for_tokens_that_see_everything(living: Living) -> None:
    with living.writer() as writer, living.reader() as reader:
        assert writer.get("/metrics").status_code == 403
        text = reader.get("/metrics").text
    assert "pressluft_sites 2.0" in text
    assert str(PRODUCTION_ID) not in text, "a label for each id would grow without end"
