"""Cutting a cable at a moment of a promotion, and mending it later."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from reconciler.demo.evidence import take_evidence
from schemas.intent import Promotion
from schemas.state import EnvironmentStatus, JobStatus
from schemas.status import JobRecord
from tests.e2e.far_world import FarNode, FarWorld
from tests.e2e.hosts import Cable

PATIENCE = 900
MOMENTS = ("staging", "staged", "started", "switched", "healthy")
"""During staging, before, during and after the cut-over."""
_PAUSE = 0.01
_BETWEEN_RUNS = 3.0


def read_journal(world: FarWorld, job_id: object) -> dict[str, object]:
    """The promotion's journal on production's node; empty while there is none."""
    for path in world.target.state_dir.glob(f"*/jobs/{job_id}/journal.json"):
        with contextlib.suppress(OSError, ValueError):
            return dict(json.loads(path.read_text()))
    return {}


def has_come(world: FarWorld, job_id: object, moment: str) -> bool:
    """Whether a promotion has got as far as the moment."""
    if moment == "staging":
        return any("__pressluft_far_" in name for name in list_databases(world.target))
    journal = read_journal(world, job_id)
    if moment == "staged":
        return any(step["name"] == "staged" for step in journal.get("steps", []))  # type: ignore[attr-defined]
    cut = journal.get("cut")
    return isinstance(cut, dict) and cut.get("state") == moment


def list_databases(node: FarNode) -> list[str]:
    """All databases of a node's server."""
    with node.stack.mariadb.connect() as cursor:
        cursor.execute("SHOW DATABASES")
        return [str(name) for (name,) in cursor.fetchall()]


def list_leftovers(node: FarNode) -> list[str]:
    """What a transfer may have left on a node: mirrors, shadows and half releases."""
    databases = [name for name in list_databases(node) if "__pressluft_" in name and "_old_" not in name]
    folders = [str(path) for path in node.stack.sites_folder.glob("*/releases/.pressluft*")]
    return databases + folders


@contextmanager
def cut_once(cable: Cable, *, when: Callable[[], bool], seconds: float) -> Iterator[threading.Event]:
    """Cut a cable once something is true, and mend it so much later. The event says that it was cut."""
    was_cut, is_over = threading.Event(), threading.Event()

    def watch() -> None:
        while not is_over.wait(_PAUSE):
            if when():
                cable.cut()
                was_cut.set()
                is_over.wait(seconds)
                cable.mend()
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield was_cut
    finally:
        is_over.set()
        thread.join()


def promote_through(world: FarWorld, cable: Cable, *, moment: str, seconds: float) -> JobRecord:
    """Promote while the cable is cut at the moment; returns the job once it has ended."""
    job_id = world.ask(Promotion, {"source": "staging", "target": "production"})
    with cut_once(cable, when=lambda: has_come(world, job_id, moment), seconds=seconds) as was_cut:
        job = finish(world, job_id)
    assert was_cut.is_set()
    return job


def finish(world: FarWorld, job_id: object) -> JobRecord:
    """Run daemons until the job has ended, as one that runs all the time would."""
    pause = threading.Event()
    for _round in range(int(PATIENCE / _BETWEEN_RUNS)):
        world.run_daemon()
        job = next(job for job in world.service.list_jobs() if job.id == job_id)
        if job.status in {JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED}:
            return job
        pause.wait(_BETWEEN_RUNS)
    raise AssertionError("the job has not ended")


def check_promoted(world: FarWorld, job: JobRecord, *, version: str, before: object) -> None:
    """The promotion was seen through wholly, and nothing of it is left anywhere."""
    assert (job.status, job.error_message) == (JobStatus.SUCCEEDED, None)
    assert f">{version}<" in world.show().body
    assert take_evidence(world.production) == before
    assert list_leftovers(world.target) == list_leftovers(world.origin) == []
    entry = world.service.find_named("acme", "production")
    assert entry.record is not None
    assert entry.record.status is EnvironmentStatus.ACTIVE
