"""Fixtures for runs of real playbooks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.stack.sshd import Sshd
from tests.integration.runner.pipe import ProcessPipe
from tests.integration.runner.stage import Stage


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """A runner with an empty run root."""
    return Stage(tmp_path / "runs")


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[ProcessPipe]:
    """A pipe for one process."""
    with ProcessPipe(tmp_path / "pipe") as pipe:
        yield pipe


@pytest.fixture(scope="session")
def sshd(session_folder: Path) -> Iterator[Sshd]:
    """A node that is reached by ssh."""
    with Sshd(session_folder / "runner-sshd", report=lambda _line: None) as server:
        yield server


@pytest.fixture
def ssh_stage(tmp_path: Path, sshd: Sshd) -> Stage:
    """A runner that may log in to the node."""
    return Stage(tmp_path / "runs", sshd=sshd)
