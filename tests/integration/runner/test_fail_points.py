"""kill -9 of the daemon before and after every call into C that starts a run: the next daemon clears it away.

The points are found by running (tests/integration/boundary.py). `PRESSLUFT_FAULTS` set tries each of them.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from reconciler.adapters.private_folder import find_private_parent
from reconciler.ports import RunSpec, RunState
from tests.integration.boundary import Tally, list_moments, run_killed
from tests.integration.runner.stage import Stage, make_spec

MOST = 10_000 if os.environ.get("PRESSLUFT_FAULTS") else 8


def start(run_root: Path, spec: RunSpec) -> None:
    """Start a run as a daemon does, and die."""
    Stage(run_root).runner.start(spec)


def test_a_start_that_is_killed_anywhere_leaves_nothing_and_is_made_again(tmp_path: Path) -> None:
    tally = Tally("a start, killed")
    passed = try_one(tmp_path / "whole", tally, at=-1)
    assert passed > 20
    for at in list_moments(passed, most=MOST):
        try_one(tmp_path / str(at), tally, at=at)
    tally.tell()
    stage, spec = Stage(tmp_path / "0"), make_spec("succeed")
    assert stage.run(replace(spec, epoch=2)).state is RunState.SUCCEEDED


def try_one(run_root: Path, tally: Tally, *, at: int) -> int:
    """Kill one start, let a new daemon begin, and look at what is left."""
    spec = make_spec("sleep", variables={"pipe": "/dev/null"})
    fate = run_killed(lambda: start(run_root, spec), at=at)
    successor = Stage(run_root)
    tally.add(fate, describe_left(successor))
    successor.runner.clean_leftovers()
    assert successor.count_processes() == 0, f"killed at {at}"
    assert list_private(successor) == [], f"killed at {at}"
    assert successor.runner.outcome(spec.key).state is RunState.LOST
    successor.runner.forget(spec.key)
    assert successor.runner.find(spec.job_id, spec.epoch) == []
    return fate.passed


def list_private(stage: Stage) -> list[Path]:
    """The private folders of its runs."""
    return list(find_private_parent().glob(f"pressluft-{stage.mark[:12]}-*"))


def describe_left(stage: Stage) -> str:
    """Say what there is for the next daemon to clear away."""
    if stage.count_processes():
        return "a process was cleared away"
    return "a folder was cleared away" if list_private(stage) else "nothing was left"
