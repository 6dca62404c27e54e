"""The facade beside a running daemon, with real git, Ansible, MariaDB and WordPress. One story, in order."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.tokens import TokenFile
from reconciler.stack.node_config import write_node_config
from reconciler.stack.site import create_empty_site, create_site, seed_content
from reconciler.stack.stack import Stack
from tests.e2e.world import World, make_world
from tests.integration.api.living import PASSWORD, PASSWORD_HASH
from tests.integration.api.serving import serve

JOB_SECONDS = 180
ENDED = {"succeeded", "failed", "cancelled"}


@dataclass
class Shop:
    """Two real sites, a daemon with its facade, and the admin's client."""

    world: World
    url: str
    admin: httpx.Client
    outsider: httpx.Client
    """A program whose token is for another site."""
    reader: httpx.Client
    """A program that may only read."""
    ids: dict[str, str]

    def ask(self, verb: str, *, at: str = "staging", body: object = None, **words: Any) -> httpx.Response:
        """Send a request about one environment."""
        return self.admin.post(f"/api/environments/{self.ids[at]}/{verb}", json=body, **words)

    def finish(self, answer: httpx.Response) -> dict[str, Any]:
        """Wait for the job of a 202 to end."""
        assert answer.status_code == 202, answer.text
        path, deadline = f"/api/jobs/{answer.json()['job_id']}", time.monotonic() + JOB_SECONDS
        while (job := self.admin.get(path).json())["status"] not in ENDED:
            assert time.monotonic() < deadline, job
            time.sleep(0.2)
        found: dict[str, Any] = job
        return found

    def succeed(self, answer: httpx.Response) -> dict[str, Any]:
        """Wait for the job of a 202 to succeed."""
        job = self.finish(answer)
        assert (job["status"], job["error_message"]) == ("succeeded", None)
        return job

    @property
    def to_production(self) -> dict[str, str]:
        """The body of a promotion."""
        return {"target_environment_id": self.ids["production"]}


@pytest.fixture(scope="module")
def shop(stack: Stack, session_folder: Path) -> Iterator[Shop]:
    """Put it all on its feet: `pressluft run --api`, as operators run it."""
    production, staging = create_site(stack, "p_rest"), create_empty_site(stack, "s_rest")
    seed_content(production, posts=30, comments=30, uploads=4)
    production.fetch("/")
    folder = session_folder / "rest"
    config = write_node_config(stack, session_folder / "rest-config", restic_repository=folder / "restic")
    world = make_world(folder, production=production, staging=staging, node_config=config, sshd=None)
    (folder / "admin.hash").write_text(PASSWORD_HASH)
    settings = world.settings.model_copy(update={"admin_password_hash": folder / "admin.hash"})
    tokens, now = TokenFile(settings.token_file), datetime.now(UTC)
    outsider = tokens.create("outsider", sites=["another"], may_write=True, now=now)
    reader = tokens.create("reader", sites=[], may_write=False, now=now)
    with serve(settings, command=("run", "--api")) as serving:
        login = httpx.post(f"{serving.url}/api/login", json={"password": PASSWORD}).raise_for_status()
        with (
            httpx.Client(base_url=serving.url, cookies=login.cookies, timeout=60) as admin,
            httpx.Client(base_url=serving.url, headers={"Authorization": f"Bearer {outsider}"}) as other,
            httpx.Client(base_url=serving.url, headers={"Authorization": f"Bearer {reader}"}) as reading,
        ):
            (site,) = admin.get("/api/sites").json()
            listed = admin.get(f"/api/sites/{site['id']}/environments").json()
            ids = {environment["slug"]: environment["id"] for environment in listed}
            yield Shop(world, serving.url, admin, other, reading, ids)
    stack.forget("p_rest")
    stack.forget("s_rest")


def test_a_drift_check_answers_202_with_its_job_and_its_record_is_kept(shop: Shop) -> None:
    shop.succeed(shop.ask("refresh", body={"scope": "full"}))
    answer = shop.ask("drift-check")
    assert (answer.status_code, list(answer.json())) == (202, ["job_id"])
    job = shop.finish(answer)
    assert (job["status"], job["job_type"], job["error_code"]) == ("succeeded", "drift_check", None)
    environment = shop.admin.get(f"/api/environments/{shop.ids['staging']}").json()
    assert environment["drift_status"] == "clean"
    check = shop.admin.get(f"/api/drift-checks/{environment['last_drift_check_id']}").json()
    tables = {item["name"]: item for item in check["db_checksums"]}
    assert tables["posts"]["verdict"] == "clean"
    assert tables["posts"]["proof"] in {"tablespace", "digest"}


def test_a_promotion_is_refused_while_the_backup_gate_is_unmet(shop: Shop) -> None:
    answer = shop.ask("promote", body=shop.to_production)
    assert (answer.status_code, answer.json()["code"]) == (409, "backup_gate_unmet")
    assert [item["code"] for item in answer.json()["details"]] == ["backup_gate_unmet"]


def test_progress_is_streamed_while_a_job_runs(shop: Shop) -> None:
    answer = shop.ask("backups", at="production", body={"backup_scope": "full"})
    with shop.admin.stream("GET", f"/api/jobs/{answer.json()['job_id']}/events") as stream:
        lines = [line for line in stream.iter_lines() if line]
    kinds = {line.removeprefix("event: ") for line in lines if line.startswith("event: ")}
    last = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")][-1]
    assert kinds == {"job", "progress"}
    assert last["status"] == "succeeded", "the stream ends with the job"
    (backup,) = shop.admin.get(f"/api/environments/{shop.ids['production']}/backups").json()
    assert (backup["status"], backup["backup_scope"]) == ("completed", "full")


def test_a_successful_promotion_leaves_protected_resources_untouched(shop: Shop) -> None:
    shop.world.edit_theme("2.0.0")
    before = shop.world.evidence()
    answer = shop.ask("promote", body=shop.to_production, headers={"Idempotency-Key": "spring"})
    job = shop.finish(answer)
    assert (job["status"], job["error_message"]) == ("succeeded", None)
    assert job["environment_id"] == shop.ids["production"]
    assert ">2.0.0<" in shop.world.production.fetch("/").body
    assert shop.world.evidence() == before
    assert shop.world.traces_of_staging() == 0
    environment = shop.admin.get(f"/api/environments/{shop.ids['production']}").json()
    assert (environment["status"], environment["current_release_id"]) == ("active", job["id"])


def test_a_promotion_is_refused_while_the_drift_gate_is_unmet(shop: Shop) -> None:
    ((post,),) = shop.world.production.query(
        "SELECT MIN(ID) FROM {p}posts WHERE post_type = 'post' AND post_status = 'publish'"
    )
    shop.world.production.post_comment(int(str(post)), "A visitor's words")
    shop.succeed(shop.ask("backups", at="production", body={"backup_scope": "full"}))
    shop.succeed(shop.ask("drift-check"))  # to find drift is a success
    answer = shop.ask("promote", body=shop.to_production)
    assert (answer.status_code, answer.json()["code"]) == (409, "drift_gate_unmet")
    (reason,) = answer.json()["details"]
    assert "refresh" in reason["remedy"]


def test_nothing_that_is_sent_passes_an_unmet_gate(shop: Shop) -> None:
    before, page = shop.world.evidence(), shop.world.production.fetch("/").body
    shop.world.edit_theme("6.6.6")
    body = shop.to_production
    attempts = [
        shop.ask("promote", body=body | {"force": True}),
        shop.ask("promote", body=body | {"refresh": "protected"}),
        shop.ask("promote", body=body | {"backup": "create"}),
        shop.ask("promote", body=body | {"drift_status": "clean"}),
        shop.ask("promote", body=body, params={"force": "1"}),
        shop.ask("promote", body=body, headers={"X-Force": "1", "X-Role": "owner", "Prefer": "force"}),
        shop.ask("promote", body=body, headers={"Idempotency-Key": "another"}),
        shop.outsider.post(f"/api/environments/{shop.ids['staging']}/promote", json=body),
        shop.reader.post(f"/api/environments/{shop.ids['staging']}/promote", json=body),
    ]
    assert {answer.status_code for answer in attempts} <= {400, 403, 404, 409}
    replayed = shop.ask("promote", body=body, headers={"Idempotency-Key": "spring"})
    assert replayed.status_code == 202, "the same request is the same job, which has ended"
    assert shop.finish(replayed)["finished_at"] is not None
    waiting = shop.ask("promote", body=body | {"wait": "5s"})
    job = shop.finish(waiting)
    assert (job["status"], job["error_code"]) == ("failed", "DRIFT_GATE_UNMET"), (
        "its own live check refuses it"
    )
    assert shop.world.evidence() == before
    assert "6.6.6" not in shop.world.production.fetch("/").body
    assert (">2.0.0<" in page) == (">2.0.0<" in shop.world.production.fetch("/").body)


def test_a_failed_job_shows_no_success_and_says_why_in_both_fields(shop: Shop) -> None:
    shop.succeed(shop.ask("refresh"))
    shop.world.break_theme()
    for answer in (
        shop.ask("drift-check"),
        shop.ask("backups", at="production", body={"backup_scope": "full"}),
    ):
        shop.succeed(answer)
    before = shop.world.evidence()
    job = shop.finish(shop.ask("promote", body=shop.to_production))
    assert job["status"] == "failed"
    assert job["error_code"] == "HEALTH_CHECK_FAILED"
    assert job["error_message"]
    assert "Traceback" not in job["error_message"]
    assert shop.world.production.fetch("/").status == 200
    assert shop.world.evidence() == before
    assert shop.admin.get(f"/api/environments/{shop.ids['production']}").json()["status"] == "active"
