"""An arena on real WordPress, shared by all cells of a module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.stack.node_config import write_node_config
from reconciler.stack.site import create_empty_site, create_site, seed_content
from reconciler.stack.stack import Stack
from schemas.state import JobStatus
from tests.e2e.world import make_world
from tests.faults.cell import Arena
from tests.faults.halting import HaltingPython


@pytest.fixture(scope="module")
def arena(stack: Stack, session_folder: Path) -> Iterator[Arena]:
    """Two sites, the second a copy of the first, on a prepared node."""
    production, staging = create_site(stack, "p_faults"), create_empty_site(stack, "s_faults")
    seed_content(production, posts=20, comments=30, uploads=3)
    production.fetch("/")  # the first visit makes WordPress write its widgets' options
    tools, folder = session_folder / "faults-tools", session_folder / "faults"
    tools.mkdir()
    python = HaltingPython(tools)
    config = write_node_config(stack, session_folder / "faults-config", restic_repository=folder / "restic")
    world = make_world(
        folder,
        production=production,
        staging=staging,
        node_config=config,
        sshd=None,
        python=str(python.path),
    )
    assert world.refresh("full").status is JobStatus.SUCCEEDED
    arena = Arena(world, python)
    with arena.watching():
        yield arena
    stack.forget(production.name)
    stack.forget(staging.name)
