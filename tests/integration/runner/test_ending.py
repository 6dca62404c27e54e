"""However a run ends, and whoever is killed: no process, no zombie and no private folder is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from reconciler.adapters.private_folder import find_private_parent
from reconciler.errors import Transient
from reconciler.ports import RunState
from reconciler.stack.sshd import Sshd
from tests.integration.runner.pipe import PATIENCE, ProcessPipe
from tests.integration.runner.stage import Stage, make_node, make_spec


def find_supervisor(stage: Stage, key: str) -> psutil.Process:
    return psutil.Process(int((stage.run_root / key / "supervisor.txt").read_text().split(":")[1]))


def find_private_folders(stage: Stage) -> list[Path]:
    return list(find_private_parent().glob(f"pressluft-{stage.mark[:12]}-*"))


@contextmanager
def running_daemon(stage: Stage, pipe: ProcessPipe) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start the stand-in with a run that waits; yields it and the run's key."""
    command = [sys.executable, "-m", "tests.integration.runner.daemon", str(stage.run_root), str(pipe.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as daemon:
        try:
            assert daemon.stdout
            key = daemon.stdout.readline().strip()
            pipe.read_pid()
            yield daemon, key
        finally:
            daemon.kill()


def test_a_cancelled_run_leaves_nothing(stage: Stage, pipe: ProcessPipe) -> None:
    key = stage.runner.start(make_spec("sleep", variables={"pipe": str(pipe.path)}))
    pipe.read_pid()
    stage.runner.cancel(key)
    assert stage.wait(key).state is RunState.CANCELLED
    assert stage.count_processes() == 0
    assert find_private_folders(stage) == []
    pipe.wait_for_end()


def test_a_run_cancelled_before_it_began_never_begins(stage: Stage) -> None:
    key = stage.runner.start(make_spec("sleep", variables={"pipe": "/dev/null"}))
    stage.runner.cancel(key)
    assert stage.wait(key).state is RunState.CANCELLED
    assert list(stage.runner.events(key)) == []
    assert stage.count_processes() == 0


def test_a_cancelled_run_over_ssh_leaves_nothing_on_this_side(
    ssh_stage: Stage, sshd: Sshd, pipe: ProcessPipe
) -> None:
    spec = make_spec("sleep", node=make_node(sshd), variables={"pipe": str(pipe.path)})
    key = ssh_stage.runner.start(spec)
    on_node = pipe.read_pid()
    ssh_stage.runner.cancel(key)
    assert ssh_stage.wait(key).state is RunState.CANCELLED
    assert ssh_stage.count_processes() == 0
    assert find_private_folders(ssh_stage) == []
    os.kill(on_node, signal.SIGKILL)  # what goes on there is the node's affair


def test_a_run_that_cannot_be_started_leaves_nothing_and_may_be_tried_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec("succeed")
    monkeypatch.setattr(sys, "executable", "/not/there/python")
    with pytest.raises(Transient, match="cannot start a run"):
        stage.runner.start(spec)
    assert find_private_folders(stage) == []
    monkeypatch.undo()
    assert stage.run(spec).state is RunState.SUCCEEDED


def test_a_run_that_takes_too_long_is_killed(stage: Stage, pipe: ProcessPipe) -> None:
    spec = make_spec("sleep", variables={"pipe": str(pipe.path)}, timeout=timedelta(seconds=8))
    key = stage.runner.start(spec)
    pipe.read_pid()
    outcome = stage.wait(key)
    assert (outcome.state, outcome.timed_out) == (RunState.FAILED, True)
    assert (outcome.code, outcome.retry) == ("ANSIBLE_TIMEOUT", True)
    assert stage.count_processes() == 0
    pipe.wait_for_end()


@pytest.mark.parametrize(
    "number",
    [pytest.param(signal.SIGKILL, id="killed"), pytest.param(signal.SIGTERM, id="told to end")],
)
def test_a_run_whose_supervisor_ends_is_lost_and_leaves_nothing(
    stage: Stage, pipe: ProcessPipe, number: signal.Signals
) -> None:
    key = stage.runner.start(make_spec("sleep", variables={"pipe": str(pipe.path)}))
    pipe.read_pid()
    find_supervisor(stage, key).send_signal(number)
    assert stage.wait(key).state is RunState.LOST
    assert stage.count_processes() == 0
    assert find_private_folders(stage) == []
    pipe.wait_for_end()


def test_a_killed_daemon_takes_its_runs_along(stage: Stage, pipe: ProcessPipe) -> None:
    with running_daemon(stage, pipe) as (daemon, key):
        supervisor = find_supervisor(stage, key)
        assert stage.runner.outcome(key).state is RunState.RUNNING
        daemon.kill()
        supervisor.wait(PATIENCE)
    pipe.wait_for_end()
    assert stage.runner.outcome(key).state is RunState.LOST
    assert stage.count_processes() == 0
    assert find_private_folders(stage) == []


def test_a_new_daemon_ends_what_a_killed_one_and_its_supervisors_left(
    stage: Stage, pipe: ProcessPipe, tmp_path: Path
) -> None:
    with ProcessPipe(tmp_path / "other-pipe") as other_pipe, running_daemon(stage, pipe) as (daemon, key):
        other = Stage(tmp_path / "other-runs")
        bystander = other.runner.start(make_spec("sleep", variables={"pipe": str(other_pipe.path)}))
        other_pipe.read_pid()
        supervisor = find_supervisor(stage, key)
        supervisor.suspend()
        daemon.kill()
        supervisor.kill()
        assert stage.count_processes() > 0
        assert stage.runner.clean_leftovers() == [key]
        pipe.wait_for_end()
        assert (stage.count_processes(), find_private_folders(stage)) == (0, [])
        assert stage.runner.outcome(key).state is RunState.LOST
        assert other.runner.outcome(bystander).state is RunState.RUNNING
        assert len(find_private_folders(other)) == 1
        other.runner.cancel(bystander)
        assert other.wait(bystander).state is RunState.CANCELLED


def test_cleaning_up_spares_the_runs_of_a_living_daemon(stage: Stage, pipe: ProcessPipe) -> None:
    with running_daemon(stage, pipe) as (_, key):
        assert stage.runner.clean_leftovers() == []
        assert stage.runner.outcome(key).state is RunState.RUNNING
        assert len(find_private_folders(stage)) == 1


def test_only_what_a_node_detached_outlives_a_run(stage: Stage, pipe: ProcessPipe, tmp_path: Path) -> None:
    with ProcessPipe(tmp_path / "kept-pipe") as kept:
        variables = {"pipe": str(pipe.path), "kept_pipe": str(kept.path)}
        assert stage.run(make_spec("detach", variables=dict(variables))).state is RunState.SUCCEEDED
        pipe.wait_for_end()
        detached = psutil.Process(kept.read_pid())
        assert detached.is_running()
        detached.kill()
        kept.wait_for_end()


def count_settled_files() -> int:
    """Count this process's open files once the thread that awaits a run has let go: an outcome shows before."""
    readings: list[int] = []
    for _ in range(100):
        readings.append(psutil.Process().num_fds())
        if len(readings) >= 5 and len(set(readings[-5:])) == 1:
            break
        threading.Event().wait(0.1)
    return readings[-1]


def test_runs_beside_each_other_leave_no_zombies_and_no_open_files(stage: Stage) -> None:
    stage.run(make_spec("succeed"))
    before = count_settled_files()
    keys = [stage.runner.start(make_spec(playbook)) for playbook in ("succeed", "refuse", "rescue")]
    states = [stage.wait(key).state for key in keys]
    assert states == [RunState.SUCCEEDED, RunState.FAILED, RunState.SUCCEEDED]
    assert count_settled_files() == before
    assert [one for one in psutil.Process().children() if one.status() == psutil.STATUS_ZOMBIE] == []
