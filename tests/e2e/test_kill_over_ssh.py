"""kill -9 of the daemon, or of a run's supervisor, while a task runs over SSH: who is left on both sides, and when.

The step that is interrupted waits for the environment's lock, which the test holds: it would not end by itself.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from uuid import UUID

import psutil
import pytest
import structlog

from reconciler.stack.sshd import Sshd
from schemas.intent import Promotion
from schemas.state import EnvironmentStatus, JobStatus
from tests.e2e.test_kill import find_processes_of, make_environment
from tests.e2e.world import World

pytestmark = pytest.mark.e2e
MINUTES = pytest.mark.skipif(
    not os.environ.get("PRESSLUFT_FAULTS"), reason="two minutes: make faults-cutover"
)
PATIENCE = 120
LOCK_PATIENCE = 25
"""Seconds after which the waiting step might have given up by itself (30 s, environment.py)."""


@pytest.fixture(scope="module", params=["ssh"])
def connection(request: pytest.FixtureRequest) -> str:
    """Only over SSH is the node's side another one."""
    return str(request.param)


@pytest.fixture(scope="module", autouse=True)
def _copied(world: World) -> None:
    assert world.refresh("full").status is JobStatus.SUCCEEDED


@contextmanager
def running_daemon(world: World) -> Iterator[psutil.Process]:
    """Run a real daemon."""
    with subprocess.Popen(
        [sys.executable, "-m", "reconciler", "run"],
        env=make_environment(world),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as daemon:
        try:
            yield psutil.Process(daemon.pid)
        finally:
            daemon.kill()


@contextmanager
def held_lock(world: World) -> Iterator[None]:
    """Hold production's lock on its node."""
    entry = world.service.find_named("acme", "production")
    path = world.folder / "node-state" / str(entry.environment.metadata.id) / "lock"
    lock = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def await_that(condition: Callable[[], object]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.05)


def await_end_of(processes: list[psutil.Process]) -> float:
    """Wait until none of them lives; returns how long that took."""
    began = time.monotonic()
    told = {process: describe(process) for process in processes}
    while left := list_alive(processes):
        assert time.monotonic() - began < LOCK_PATIENCE, [told[process] for process in left]
        time.sleep(0.05)
    return time.monotonic() - began


def describe(process: psutil.Process) -> str:
    """Say what a process is; of one that is gone, nothing."""
    try:
        return f"{process.pid} {' '.join(process.cmdline())}"
    except psutil.NoSuchProcess:
        return ""


def list_on_node(sshd: Sshd) -> list[psutil.Process]:
    """List what runs below our own sshd."""
    server = psutil.Process(int(Path(sshd.known_hosts).with_name("sshd.pid").read_text()))
    return server.children(recursive=True)


def find_modules(sshd: Sshd) -> list[psutil.Process]:
    """Find the modules that are at work on the node."""
    found = []
    for process in list_on_node(sshd):
        with suppress(psutil.NoSuchProcess):
            found += [process] if process.name().startswith("python") else []
    return found


def list_alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """List those that live, zombies not counted."""
    return [one for one in processes if is_alive(one)]


def is_alive(process: psutil.Process) -> bool:
    """Whether a process lives and is no zombie."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def kill_daemon(daemon: psutil.Process) -> None:
    """Kill the daemon."""
    daemon.kill()
    daemon.wait()


def kill_supervisor(daemon: psutil.Process) -> None:
    """Kill the process that watches over the run."""
    [supervisor] = [child for child in daemon.children() if "supervisor" in " ".join(child.cmdline())]
    supervisor.kill()


@pytest.mark.parametrize(
    ("kill", "version"),
    [
        pytest.param(kill_daemon, "5.1", id="the daemon"),
        pytest.param(kill_supervisor, "5.2", id="the supervisor", marks=MINUTES),
    ],
)
def test_who_is_killed_during_a_task_over_ssh_leaves_nothing_on_either_side(
    world: World, sshd: Sshd, kill: Callable[[psutil.Process], None], version: str
) -> None:
    world.edit_theme(version)
    before = world.evidence()
    world.back_up()
    await_that(lambda: not list_on_node(sshd))
    job_id = UUID(str(world.ask(Promotion, {"source": "staging", "target": "production"})))
    with running_daemon(world) as daemon, held_lock(world), ExitStack() as successors:
        await_that(lambda: find_modules(sshd))
        everybody = [*daemon.children(recursive=True), *list_on_node(sshd)]
        kill(daemon)
        if not daemon.is_running():
            successors.enter_context(running_daemon(world))
        seconds = await_end_of(everybody)
        structlog.get_logger().info("all are gone", killed=kill.__name__, of=len(everybody), seconds=seconds)
    world.run_daemon()
    job = world.service.find_job(job_id)
    entry = world.service.find_named("acme", "production")
    assert entry.record is not None
    assert (job.status, job.error_message) == (JobStatus.SUCCEEDED, None)
    assert f">{version}<" in world.production.fetch("/").body
    assert entry.record.status is EnvironmentStatus.ACTIVE
    assert world.evidence() == before
    assert find_processes_of(world.folder) == []
