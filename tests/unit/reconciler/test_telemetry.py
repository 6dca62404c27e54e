"""What the daemon tells Prometheus, its log and its watchers."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
import structlog

from reconciler.errors import TipMoved
from reconciler.ports import Branch, CommitMessage
from reconciler.reconcile import run_pass
from reconciler.telemetry import Telemetry
from tests.fakes import FakeFleetRepo
from tests.story import Story

CLOSED = "{source: staging, target: production}"


class Watched(Story):
    """A story whose daemon is watched."""

    def __init__(self, policy: str = "{}", *, repo: FakeFleetRepo | None = None) -> None:
        super().__init__(policy, repo=repo)
        self.telemetry = Telemetry()
        self.reconciler = replace(self.reconciler, witness=self.telemetry)

    def read(self, name: str, **labels: str) -> float:
        """Read a metric, 0 where there is none yet."""
        return self.telemetry.registry.get_sample_value(f"pressluft_{name}", labels) or 0.0

    def log(self, **fields: object) -> dict[str, object]:
        """Complete a log line."""
        return dict(self.telemetry.complete_line(None, "info", dict(fields)))


def test_a_claim_and_an_end_are_counted_once() -> None:
    story = Watched()
    story.back_up()
    story.run()
    assert story.read("claims_total") == 1
    assert story.read("jobs_ended_total", job_type="backup_create", status="succeeded") == 1
    assert story.read("commit_to_claim_seconds_count") == 1
    assert story.read("commit_to_status_seconds_count", status="succeeded") == 1


def test_time_counts_from_the_commit_where_git_says_when_it_was() -> None:
    story = Watched()
    story.telemetry.repo = story.repo
    story.back_up()
    (entry,) = story.repo.read_log(Branch.INTENTS, path="intents", limit=1)
    waited = (story.job("backup-120000").created_at - entry.at).total_seconds()
    assert story.read("commit_to_claim_seconds_sum") == pytest.approx(waited)
    assert waited > timedelta(days=30).total_seconds()  # the fake's commits are of January


def test_a_shut_gate_is_counted_by_its_code_and_by_what_came_of_it() -> None:
    story = Watched()
    story.promote()
    assert story.read("gate_refusals_total", code="BACKUP_GATE_UNMET", outcome="ended") == 1
    story.promote("patient", f"{CLOSED[:-1]}, wait: PT2H}}")
    story.run()
    assert story.read("gate_refusals_total", code="BACKUP_GATE_UNMET", outcome="waits") == 1
    assert story.read("open_jobs", status="queued") == 1
    assert story.read("oldest_queued_job_seconds") == 2


class RacedRepo(FakeFleetRepo):
    """Somebody is always faster, a few times."""

    races = 3

    def push_changes(self, *args: object, **kwargs: object) -> str:
        """Refuse the first pushes."""
        if self.races and kwargs.get("message") != CommitMessage("x"):
            self.races -= 1
            raise TipMoved("somebody was faster")
        return super().push_changes(*args, **kwargs)  # type: ignore[arg-type]


def test_a_refused_push_is_counted() -> None:
    story = Watched()
    raced = RacedRepo(story.repo.store)
    story.intend("Backup", "safe", "{environment: production}")
    run_pass(replace(story.reconciler, repo=raced))
    assert story.read("push_retries_total") == 3


def test_a_status_that_somebody_else_changed_is_counted_once_per_time() -> None:
    story = Watched(repo=FakeFleetRepo(trusts=True))
    story.back_up()
    story.repo.commit_as_person({"status/acme/ended.txt": b""})
    with structlog.testing.capture_logs(processors=[story.telemetry.complete_line]):
        story.run()
        story.run()
    assert story.read("tamper_events_total") == 1


def test_a_log_line_about_a_job_has_its_site_and_commit() -> None:
    story = Watched()
    story.back_up()
    job = story.job("backup-120000").id
    story.log(event="backup started", job=str(job), site="acme")
    assert story.log(job=str(job))["site"] == "acme"
    assert story.log(job=str(job))["commit"] is not None
    assert story.log(job=str(job), commit="abc")["commit"] == "abc"
    assert story.log(event="watching") | {"commit": ""} == {
        "event": "watching",
        "job": None,
        "site": None,
        "commit": "",
    }


def test_a_loop_that_neither_begins_nor_ends_a_pass_is_stuck() -> None:
    now = 100.0
    telemetry = Telemetry(monotonic=lambda: now)
    assert telemetry.find_stall(bound=60) == "", "it has not begun"
    telemetry.begin_pass()
    now += 59
    assert telemetry.find_stall(bound=60) == ""
    now += 2
    assert telemetry.find_stall(bound=60) == "no pass has begun or ended for 61 s"
    telemetry.end_pass(outcome="settled")
    assert telemetry.find_stall(bound=60) == ""
    assert b"pressluft_pass_seconds_sum 61.0" in telemetry.show()
    now += 61
    assert telemetry.find_stall(bound=60) != "", "no pass begins any more"
