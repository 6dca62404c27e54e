"""Cutting a cable at a moment of a promotion, and mending it later."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

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


@dataclass
class Cut:
    """What became of a cable: whether it was cut, what was seen just before it was mended, and when that was."""

    happened: bool = False
    seen: str = ""
    mended_at: float = 0.0


@dataclass(frozen=True)
class Ending:
    """How a job ended whose cable was cut; `seconds` are from mending the cable to the end, 0 if it ended before."""

    job: JobRecord
    seen: str
    seconds: float


def see_nothing() -> str:
    """Look at nothing while the cable is cut."""
    return ""


def do_nothing() -> None:
    """Do nothing once the cable is cut."""


@dataclass(frozen=True)
class Plan:
    """When a cable is cut and for how long, what is done right after, and what is looked at before it is mended."""

    when: Callable[[], bool]
    seconds: float
    then: Callable[[], None] = do_nothing
    look: Callable[[], str] = see_nothing


@contextmanager
def cut_once(cable: Cable, plan: Plan) -> Iterator[Cut]:
    """Cut a cable and mend it as planned, while something else goes on."""
    cut, is_over = Cut(), threading.Event()

    def watch() -> None:
        while not is_over.wait(_PAUSE):
            if plan.when():
                cable.cut()
                cut.happened = True
                try:
                    plan.then()
                    is_over.wait(plan.seconds)
                    cut.seen = plan.look()
                finally:
                    cut.mended_at = time.monotonic()
                    cable.mend()
                return

    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(watch)
        try:
            yield cut
        finally:
            is_over.set()
        watching.result()


def see_through(world: FarWorld, job_id: object, cable: Cable, plan: Plan) -> Ending:
    """Run daemons until a job has ended whose cable is cut as planned."""
    with cut_once(cable, plan) as cut:
        job = finish(world, job_id)
        ended_at = time.monotonic()
    assert cut.happened
    return Ending(job, cut.seen, max(0.0, ended_at - cut.mended_at))


def promote_through(
    world: FarWorld, cable: Cable, *, moment: str, seconds: float, look: Callable[[], str] = see_nothing
) -> Ending:
    """Promote while the cable is cut at the moment."""
    job_id = world.ask(Promotion, {"source": "staging", "target": "production"})
    plan = Plan(when=lambda: has_come(world, job_id, moment), seconds=seconds, look=look)
    return see_through(world, job_id, cable, plan)


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


def check_promoted(world: FarWorld, ending: Ending, *, version: str, before: object) -> None:
    """The promotion was seen through wholly, and nothing of it is left anywhere."""
    job = ending.job
    assert (job.status, job.error_message) == (JobStatus.SUCCEEDED, None)
    assert f">{version}<" in world.show().body
    assert take_evidence(world.production) == before
    assert list_leftovers(world.target) == list_leftovers(world.origin) == []
    entry = world.service.find_named("acme", "production")
    assert entry.record is not None
    assert entry.record.status is EnvironmentStatus.ACTIVE
