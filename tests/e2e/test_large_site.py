"""A site of 500 MB is promoted twice: no process takes much memory, and the second time only what changed is moved."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.stack.command import run_command
from reconciler.stack.node_config import write_node_config
from reconciler.stack.site import create_empty_site, create_site
from reconciler.stack.stack import Stack
from schemas.state import JobStatus
from tests.e2e.large_world import (
    MeasuredWorld,
    Size,
    change_some_code,
    fill_catalogue,
    fill_metadata,
    write_files,
)
from tests.e2e.world import make_world

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

SIZE = Size(table_mb=100, row_bytes=4000, files=1000, file_bytes=400 << 10, folders=20)


@pytest.fixture(scope="module")
def world(stack: Stack, session_folder: Path) -> Iterator[MeasuredWorld]:
    """A production with 250 MB of protected data, and its copy, to which 250 MB of other things were added."""
    production, staging = create_site(stack, "p_500_mb"), create_empty_site(stack, "s_500_mb")
    production.fetch("/")
    fill_metadata(production, SIZE)
    write_files(production.uploads / "bench", "upload", SIZE)
    run_command(["chown", "-R", "www-data:", production.uploads], timeout=600)
    folder = session_folder / "500-mb"
    config = write_node_config(stack, session_folder / "500-mb-config", restic_repository=folder / "restic")
    world = MeasuredWorld.of(
        make_world(folder, production=production, staging=staging, node_config=config, sshd=None)
    )
    assert world.refresh("full").status is JobStatus.SUCCEEDED
    fill_catalogue(staging, SIZE)
    write_files(staging.current / "wp-content/plugins", "first", SIZE)
    yield world
    stack.forget(production.name)
    stack.forget(staging.name)


def test_a_second_promotion_moves_only_what_changed_and_no_process_takes_much_memory(
    world: MeasuredWorld,
) -> None:
    first = world.read_staged(world.promote(backup="create"))
    assert (first["tables"], first["rows"]) == (1, SIZE.rows)
    assert first["bytes"] > SIZE.table_mb * 2**20 // 2
    assert first["components"] >= SIZE.folders
    change_some_code(world.staging, "second", SIZE)
    second = world.read_staged(world.promote(backup="create"))
    assert [second[name] for name in ("tables", "rows", "bytes", "components")] == [0, 0, 0, 1]
    assert world.find_large_processes() == {}
    assert {"module", "daemon", "supervisor", "ansible-playbook", "restic"} <= world.highest.keys()
