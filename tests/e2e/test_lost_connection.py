"""The SSH connection dies during a cut-over: the node sees it through, and the controller learns how it ended."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import psutil
import pytest

from reconciler.stack.sshd import Sshd
from schemas.intent import Promotion
from schemas.state import EnvironmentStatus, JobStatus
from tests.e2e.world import World

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module", params=["ssh"])
def connection(request: pytest.FixtureRequest) -> str:
    """Only a connection can be lost."""
    return str(request.param)


@pytest.fixture(scope="module", autouse=True)
def _copied(world: World) -> None:
    assert world.refresh("full").status is JobStatus.SUCCEEDED


MOMENTS = ("started", "renamed", "switched")
"""How far a cut-over got, in order, as long as it is not over."""


def read_cut_state(world: World, job_id: object) -> str | None:
    """Where the job's cut-over stands by its journal."""
    for path in (world.folder / "node-state").glob(f"*/jobs/{job_id}/journal.json"):
        with contextlib.suppress(OSError, ValueError):
            state = json.loads(path.read_text())["cut"].get("state")
            if state is not None:
                return str(state)
    return None


def kill_sessions(sshd: Sshd) -> int:
    """End every connection of our own sshd as a dead network would; the server itself lives on."""
    master = psutil.Process(int(Path(sshd.known_hosts).with_name("sshd.pid").read_text()))
    sessions = [child for child in master.children(recursive=True) if child.name().startswith("sshd")]
    for session in sessions:
        with contextlib.suppress(psutil.NoSuchProcess):
            session.kill()
    return len(sessions)


@contextlib.contextmanager
def lose_connection(world: World, sshd: Sshd, *, job_id: object, moment: str) -> Iterator[list[int]]:
    """Kill the sessions once, when the job's cut-over has got as far as `moment`; it may be further when we look."""
    killed: list[int] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.01):
            if read_cut_state(world, job_id) in MOMENTS[MOMENTS.index(moment) :]:
                killed.append(kill_sessions(sshd))
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield killed
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("moment", ["started", "switched"])
def test_a_cut_over_outlives_its_connection(world: World, sshd: Sshd, moment: str) -> None:
    version = f"4.{moment}"
    world.edit_theme(version)
    before = world.evidence()
    world.back_up()
    job_id = world.ask(Promotion, {"source": "staging", "target": "production"})
    with lose_connection(world, sshd, job_id=job_id, moment=moment) as killed:
        world.run_daemon()
    assert killed
    assert killed[0] > 0
    job = world.service.find_job(UUID(str(job_id)))
    entry = world.service.find_named("acme", "production")
    assert entry.record is not None
    assert (job.status, job.error_message) == (JobStatus.SUCCEEDED, None)
    assert f">{version}<" in world.production.fetch("/").body
    assert entry.record.status is EnvironmentStatus.ACTIVE
    assert world.evidence() == before
