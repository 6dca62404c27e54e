"""kill -9 of the daemon during each step before the cut-over: after a restart the job ends in a true state.

For the cut-over itself see tests/faults.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import psutil
import pytest

from schemas.intent import Promotion
from schemas.state import EnvironmentStatus, JobStatus
from tests.e2e.world import World

pytestmark = pytest.mark.e2e
PATIENCE = 120


@pytest.fixture(scope="module", params=["local"])
def connection(request: pytest.FixtureRequest) -> str:
    """Locally alone: what a killed controller leaves on its own side is the same over SSH."""
    return str(request.param)


@pytest.fixture(scope="module", autouse=True)
def _copied(world: World) -> None:
    assert world.refresh("full").status is JobStatus.SUCCEEDED


def make_environment(world: World) -> dict[str, str]:
    settings = {name: str(value) for name, value in world.settings if value is not None}
    own = {f"PRESSLUFT_{name.upper()}": value for name, value in settings.items()}
    return {"PATH": os.environ["PATH"], "HOME": str(world.folder), **own}


def is_let_in(world: World, job_id: UUID) -> bool:
    """Whether production's node has let the job in, as the first thing of its check."""
    entry = world.service.find_named("acme", "production")
    path = world.folder / "node-state" / str(entry.environment.metadata.id) / "state.json"
    with contextlib.suppress(FileNotFoundError):
        return bool(json.loads(path.read_text())["job"] == str(job_id))
    return False


def has_shadow(world: World, job_id: UUID) -> bool:
    """Whether the shadow database is there, which staging begins with."""
    databases = {str(name) for (name,) in world.production.query("SHOW DATABASES")}
    return f"{world.production.database_name}__pressluft_{str(job_id)[:8]}" in databases


def kill_when(is_so: Callable[[], bool], world: World, *, step: str) -> None:
    """Run a real daemon, and kill it once it has started a step and `is_so`."""
    daemon = subprocess.Popen(
        [sys.executable, "-m", "reconciler", "run"],
        env=make_environment(world),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    guard = threading.Timer(PATIENCE, daemon.kill)
    guard.start()
    try:
        assert daemon.stderr is not None
        for line in daemon.stderr:
            assert line.startswith("{"), line
            event = json.loads(line)
            if event["event"] == "step started" and event["step"] == step:
                break
        else:
            pytest.fail(f"step {step} never started")
        while not is_so():
            assert guard.is_alive(), f"step {step} never came so far"
            time.sleep(0.02)
        daemon.send_signal(signal.SIGKILL)
    finally:
        guard.cancel()
        daemon.kill()
        daemon.wait()


def find_processes_of(folder: Path) -> list[str]:
    """List processes that carry the marker of runs of this world."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(folder) in process.environ().get("PRESSLUFT_RUN_ID", "") or any(
                str(folder / "controller") in word for word in process.cmdline()
            ):
                found.append(" ".join(process.cmdline()))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


@pytest.mark.parametrize(
    ("step", "has_begun"),
    [
        pytest.param("check-1", is_let_in, id="during the check"),
        pytest.param("stage", has_shadow, id="during staging"),
    ],
)
def test_a_killed_daemons_promotion_ends_in_a_true_state(
    world: World, step: str, has_begun: Callable[[World, UUID], bool]
) -> None:
    version = f"3.{step}"
    world.edit_theme(version)
    before = world.evidence()
    world.back_up()
    job_id = UUID(str(world.ask(Promotion, {"source": "staging", "target": "production"})))
    kill_when(lambda: has_begun(world, job_id), world, step=step)
    world.run_daemon()
    job = world.service.find_job(job_id)
    entry = world.service.find_named("acme", "production")
    assert entry.record is not None
    shown = f">{version}<" in world.production.fetch("/").body
    assert (job.status, job.error_message) == (JobStatus.SUCCEEDED, None)
    assert shown
    assert entry.record.status is EnvironmentStatus.ACTIVE
    assert world.evidence() == before
    assert find_processes_of(world.folder) == []
