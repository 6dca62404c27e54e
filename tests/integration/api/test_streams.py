"""`GET /jobs/{id}/events`: what a caller sees while a job goes on."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from api.door import Limits
from reconciler.adapters.run_folder import RunFolder
from schemas.document import dump
from schemas.state import ErrorCode, JobStatus
from schemas.status import make_record_path
from tests.integration.api.living import (
    SITE,
    STAGING_ID,
    Living,
    live,
    make_settings,
    make_small_fleet,
)

LONG = Limits(stream_seconds=30)


@pytest.fixture
def patient(tmp_path: Path) -> Iterator[Living]:
    """A facade whose streams last longer than the tests."""
    with live(make_settings(tmp_path, make_small_fleet(tmp_path)), limits=LONG) as served:
        yield served


def ask(living: Living) -> str:
    with living.admin() as admin:
        found: str = admin.post(f"/api/environments/{STAGING_ID}/drift-check").json()["job_id"]
        return found


def move(living: Living, job_id: str, **fields: Any) -> None:
    """Record a transition as the reconciler does."""
    job = living.facade.desk.service.find_job(UUID(job_id)).model_copy(update=fields)
    living.change({make_record_path(job, site=SITE): dump(job)})


def read_events(lines: Iterator[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read events as a browser does."""
    kind = ""
    for line in lines:
        if line.startswith("event: "):
            kind = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield kind, json.loads(line.removeprefix("data: "))


def test_a_stream_tells_each_state_and_ends_with_the_job(patient: Living) -> None:
    job_id = ask(patient)
    with (
        patient.writer() as writer,
        writer.stream("GET", f"/api/jobs/{job_id}/events") as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        events = read_events(answer.iter_lines())
        assert next(events)[1]["status"] == "queued"
        move(patient, job_id, status=JobStatus.RUNNING, locked_by="worker-1")
        assert next(events)[1]["status"] == "running"
        move(
            patient,
            job_id,
            status=JobStatus.FAILED,
            error_code=ErrorCode.DRIFT_CHECK_FAILED,
            error_message="a table is locked",
        )
        kind, job = next(events)
        assert (kind, job["status"], job["error_message"]) == ("job", "failed", "a table is locked")
        assert list(events) == [], "the stream ends by itself"


def test_a_change_is_told_within_a_fraction_of_a_second(patient: Living) -> None:
    job_id = ask(patient)
    with (
        patient.writer() as writer,
        writer.stream("GET", f"/api/jobs/{job_id}/events") as answer,
    ):
        events = read_events(answer.iter_lines())
        next(events)
        began = time.monotonic()
        move(patient, job_id, status=JobStatus.RUNNING)
        next(events)
        assert time.monotonic() - began < 20


def test_the_stream_of_an_ended_job_tells_how_it_ended(patient: Living) -> None:
    job = patient.facade.desk.service.list_jobs(limit=1)[0]
    with patient.reader() as reader:
        events = list(read_events(reader.get(f"/api/jobs/{job.id}/events").iter_lines()))
        shown = reader.get(f"/api/jobs/{job.id}").json()
    assert events == [("job", shown)]


def append_line(folder: RunFolder, number: int, text: str) -> None:
    """Report progress as the supervisor does."""
    line = {"number": number, "at": datetime.now(UTC).isoformat(), "text": text}
    with folder.events.open("a") as events:
        events.write(json.dumps(line) + "\n")


def test_lines_of_progress_come_from_the_run_on_this_machine(patient: Living) -> None:
    job_id = ask(patient)
    folder = RunFolder(patient.settings.state_dir / "runs" / f"{job_id}.1.check")
    folder.path.mkdir(parents=True)
    with (
        patient.writer() as writer,
        writer.stream("GET", f"/api/jobs/{job_id}/events") as answer,
    ):
        events = read_events(answer.iter_lines())
        next(events)
        move(patient, job_id, status=JobStatus.RUNNING, epoch=1)
        assert next(events)[0] == "job"
        append_line(folder, 1, "Compare the tables")
        kind, line = next(events)
        assert (kind, line["text"]) == ("progress", "Compare the tables")
        append_line(folder, 2, "Compare the files")
        assert next(events)[1]["text"] == "Compare the files"


def test_a_stream_ends_when_its_caller_is_shut_out(patient: Living) -> None:
    job_id = ask(patient)
    with (
        patient.writer() as writer,
        writer.stream("GET", f"/api/jobs/{job_id}/events") as answer,
    ):
        events = read_events(answer.iter_lines())
        next(events)
        patient.facade.desk.reception.tokens.revoke("writer")
        assert list(events) == []


def test_a_stop_ends_open_streams_at_once(patient: Living) -> None:
    job_id = ask(patient)
    with (
        patient.writer() as writer,
        writer.stream("GET", f"/api/jobs/{job_id}/events") as answer,
    ):
        events = read_events(answer.iter_lines())
        next(events)
        began = time.monotonic()
        patient.server.should_exit = True
        assert list(events) == []
        assert time.monotonic() - began < 5


def test_many_streams_do_not_hold_up_other_callers(patient: Living) -> None:
    job_id = ask(patient)
    opened = threading.Barrier(31)

    def follow() -> list[tuple[str, dict[str, Any]]]:
        with patient.writer() as writer, writer.stream("GET", f"/api/jobs/{job_id}/events") as answer:
            events = read_events(answer.iter_lines())
            first = next(events)
            opened.wait(timeout=20)
            return [first, *events]

    found: list[list[tuple[str, dict[str, Any]]]] = []
    threads = [threading.Thread(target=lambda: found.append(follow())) for _ in range(30)]
    for thread in threads:
        thread.start()
    opened.wait(timeout=20)
    with patient.reader() as reader:
        began = time.monotonic()
        assert reader.get("/api/sites").status_code == 200
        assert time.monotonic() - began < 15
    move(patient, job_id, status=JobStatus.SUCCEEDED)
    for thread in threads:
        thread.join(timeout=20)
    assert [events[-1][1]["status"] for events in found] == ["succeeded"] * 30


def test_there_is_an_end_to_how_many_streams_are_opened(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, make_small_fleet(tmp_path))
    with live(settings, limits=Limits(streams=1, stream_seconds=10)) as served:
        job_id = ask(served)
        with served.writer() as writer, writer.stream("GET", f"/api/jobs/{job_id}/events") as answer:
            lines = answer.iter_lines()  # its end would be the stream's
            next(lines)
            second = httpx.get(
                f"{served.url}/api/jobs/{job_id}/events",
                headers={"Authorization": f"Bearer {served.writer_token}"},
            )
    assert (second.status_code, second.json()["code"]) == (503, "overloaded")
