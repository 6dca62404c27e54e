"""One world for each file: made once, its tests tell one story in order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.stack.node_config import write_node_config
from reconciler.stack.site import create_empty_site, create_site, seed_content
from reconciler.stack.sshd import Sshd
from reconciler.stack.stack import Stack
from tests.e2e.world import World, make_world


@pytest.fixture(scope="module", params=["ssh"])
def connection(request: pytest.FixtureRequest) -> str:
    """How the node is reached: over SSH, which has all of the local way in it, unless a file says `local`."""
    return str(request.param)


@pytest.fixture(scope="module")
def world(
    request: pytest.FixtureRequest, connection: str, stack: Stack, session_folder: Path
) -> Iterator[World]:
    """Two real sites, reached locally or over SSH."""
    name = f"{request.module.__name__.rsplit('.', 1)[-1]}_{connection}"
    sshd: Sshd | None = request.getfixturevalue("sshd") if connection == "ssh" else None
    production, staging = create_site(stack, f"p_{name}"[:40]), create_empty_site(stack, f"s_{name}"[:40])
    seed_content(production, posts=40, comments=60, uploads=6)
    production.fetch("/")  # the first visit makes WordPress write its widgets' options
    folder = session_folder / name
    config = write_node_config(stack, session_folder / f"{name}-config", restic_repository=folder / "restic")
    yield make_world(folder, production=production, staging=staging, node_config=config, sshd=sshd)
    stack.forget(production.name)
    stack.forget(staging.name)
