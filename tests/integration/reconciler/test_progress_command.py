"""`pressluft job` and `--wait` say how far a job is that a daemon of this machine runs."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from click.testing import Result
from typer.testing import CliRunner

from reconciler.adapters.run_folder import RunFolder
from reconciler.cli.main import app
from schemas.document import dump
from schemas.state import JobStatus
from schemas.status import JobRecord, make_record_path
from tests.integration.git.people import Person, make_bare_repo
from tests.story import make_fleet_files, make_site_files

LINES = ("Refresh the source", "copy tables: 3 of 12 tables, [about] 20 s left")


class Running:
    """A job that runs, and the files of its run on this machine."""

    def __init__(self, folder: Path) -> None:
        self.repo = make_bare_repo(folder / "fleet.git")
        self._person = Person(self.repo, folder / "clone")
        now = datetime.now(UTC)
        self.job = JobRecord(
            id=uuid4(), status=JobStatus.RUNNING, site="acme", created_at=now, updated_at=now, epoch=1
        )
        files = make_fleet_files() | make_site_files()
        self._person.commit({path: text.encode() for path, text in files.items()} | self._dump())
        run = RunFolder(folder / "state" / "runs" / f"{self.job.id}.1.refresh")
        run.path.mkdir(parents=True)
        told = [{"number": n, "at": now.isoformat(), "text": text} for n, text in enumerate(LINES, start=1)]
        run.events.write_text("".join(json.dumps(line) + "\n" for line in told))

    def end(self) -> None:
        """Let the job be cancelled."""
        self.job = self.job.model_copy(
            update={"status": JobStatus.CANCELLED, "finished_at": datetime.now(UTC)}
        )
        self._person.commit(self._dump())

    def _dump(self) -> dict[str, bytes]:
        return {make_record_path(self.job, site="acme"): dump(self.job)}


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Running:
    monkeypatch.setenv("PRESSLUFT_STATE_DIR", str(tmp_path / "state"))
    return Running(tmp_path)


def invoke(running: Running, *words: str) -> Result:
    return CliRunner().invoke(app, [*words, "--repo", str(running.repo)], catch_exceptions=False)


def test_a_running_job_is_shown_with_its_last_line(running: Running) -> None:
    assert f"progress                {LINES[-1]}\n" in invoke(running, "job", str(running.job.id)).stdout
    running.end()
    assert "progress" not in invoke(running, "job", str(running.job.id)).stdout


def test_another_machine_knows_of_no_progress(
    running: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PRESSLUFT_STATE_DIR", str(tmp_path / "elsewhere"))
    assert "progress" not in invoke(running, "job", str(running.job.id)).stdout


def test_who_waits_reads_every_line_once(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = threading.Semaphore(0)
    sleep = time.sleep
    monkeypatch.setattr("reconciler.cli.request.time.sleep", lambda span: (looked.release(), sleep(span)))
    found: list[Result] = []
    waiting = threading.Thread(
        target=lambda: found.append(invoke(running, "cancel", str(running.job.id), "--wait"))
    )
    waiting.start()
    assert looked.acquire(timeout=60)
    assert looked.acquire(timeout=60), "it goes on looking"
    running.end()
    waiting.join(timeout=60)
    assert found[0].exit_code == 0
    assert found[0].stderr.splitlines() == list(LINES)
