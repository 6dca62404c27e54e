"""A facade whose repo is elsewhere: it looks when something wakes it, and never forgets what it wrote itself."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.integration.api.living import (
    STAGING_ID,
    Living,
    live,
    make_settings,
    make_small_fleet,
)

BODY = b"{}"
SIGNATURE = "sha256=" + hmac.new(b"hook secret", BODY, hashlib.sha256).hexdigest()


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[Living]:
    """A facade that reaches its repo by URL and would not look by itself for a minute."""
    repo = make_small_fleet(tmp_path)
    settings = make_settings(tmp_path, f"file://{repo}").model_copy(update={"poll_seconds": 60.0})
    with live(settings) as served:
        assert not served.facade.desk.service.fetches_on_read
        yield served


def test_what_it_wrote_is_read_at_once(remote: Living) -> None:
    with remote.admin() as admin:
        for _ in range(3):
            job_id = admin.post(f"/api/environments/{STAGING_ID}/drift-check").json()["job_id"]
            assert admin.get(f"/api/jobs/{job_id}").json()["status"] == "queued"


def test_what_another_wrote_is_looked_for_before_it_is_called_missing(remote: Living, tmp_path: Path) -> None:
    other = remote.settings.model_copy(update={"state_dir": tmp_path / "other"})
    with live(other) as second, remote.admin() as here, second.admin() as there:
        job_id = there.post(f"/api/environments/{STAGING_ID}/drift-check").json()["job_id"]
        assert here.get(f"/api/jobs/{job_id}").json()["status"] == "queued"


def test_a_hook_makes_it_look(remote: Living) -> None:
    with remote.admin() as admin:
        before = len(admin.get("/api/sites").json())
        remote.change({"sites/site-0001/site.yaml": None})
        headers = {"Content-Type": "application/json", "X-Hub-Signature-256": SIGNATURE}
        assert httpx.post(f"{remote.url}/hooks/git", content=BODY, headers=headers).status_code == 202
        deadline = time.monotonic() + 10
        while len(admin.get("/api/sites").json()) == before:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_reading_costs_no_exchange_with_the_remote(remote: Living) -> None:
    with remote.admin() as admin:
        admin.get("/api/jobs")
        began = time.monotonic()
        for _ in range(20):
            assert admin.get("/api/sites").status_code == 200
        assert time.monotonic() - began < 2, "20 fetches would take longer"
