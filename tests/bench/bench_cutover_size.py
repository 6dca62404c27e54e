"""Two promotions of a large site: time of each step, the pause of the cut-over, memory on node and controller.

The first takes a whole table and every file of code, the second 1 % of the code. Made up; half of the rows and files
are protected data. PRESSLUFT_BENCH_DATABASE_MB (5000), PRESSLUFT_BENCH_FILES (100000, of 8 KiB each).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.stack.command import run_command
from reconciler.stack.node_config import write_node_config
from reconciler.stack.site import create_empty_site, create_site
from reconciler.stack.stack import Stack
from schemas.status import JobRecord
from tests.bench.bench_cutover import read_cut, succeed
from tests.bench.visited_site import describe_load, say
from tests.e2e.large_world import (
    MeasuredWorld,
    Size,
    change_some_code,
    fill_catalogue,
    fill_metadata,
    write_files,
)
from tests.e2e.world import make_world

pytestmark = pytest.mark.timeout(0)  # it takes as long as it takes

SIZE = Size(
    table_mb=int(os.environ.get("PRESSLUFT_BENCH_DATABASE_MB", "5000")),
    row_bytes=1024,
    files=int(os.environ.get("PRESSLUFT_BENCH_FILES", "100000")),
    file_bytes=8192,
    folders=100,
)


@pytest.fixture(scope="module")
def world(stack: Stack, session_folder: Path) -> Iterator[MeasuredWorld]:
    """A large production and an empty staging, on a server with memory that fits."""
    for setting in ("innodb_buffer_pool_size = 1073741824", "innodb_log_file_size = 536870912"):
        with stack.mariadb.connect() as cursor:
            cursor.execute(f"SET GLOBAL {setting}")
    production, staging = create_site(stack, "p_large"), create_empty_site(stack, "s_large")
    began = time.monotonic()
    fill_catalogue(production, SIZE)
    fill_metadata(production, SIZE)
    write_files(production.uploads / "bench", "upload", SIZE)
    write_files(production.current / "wp-content/plugins", "first", SIZE)
    run_command(["chown", "-R", "www-data:", production.uploads], timeout=600)
    assert production.fetch("/").status == 200
    say(f"\n{SIZE.table_mb} MB in tables, {SIZE.files} files made in {time.monotonic() - began:.0f} s")
    folder = session_folder / "large"
    config = write_node_config(stack, session_folder / "large-config", restic_repository=folder / "restic")
    made = make_world(folder, production=production, staging=staging, node_config=config, sshd=None)
    yield MeasuredWorld.of(made)
    stack.forget(production.name)
    stack.forget(staging.name)


def show(title: str, world: MeasuredWorld, job: JobRecord, seconds: float) -> None:
    """Print what a job took."""
    steps = ", ".join(f"{name} {taken:.1f}" for name, taken in world.steps.items())
    memory = ", ".join(f"{kind} {peak / 2**20:.0f}" for kind, peak in sorted(world.memory.items()))
    say(f"{title}: {seconds:.1f} s ({steps}); {describe_load()}\n    peak memory in MB: {memory}")
    succeed(job)


def act(title: str, world: MeasuredWorld, ask: object) -> JobRecord:
    """Do one thing and report it."""
    began = time.monotonic()
    job = ask()  # type: ignore[operator]  # one of the world's own methods
    show(title, world, job, time.monotonic() - began)
    return job


def test_a_large_site(world: MeasuredWorld) -> None:
    act("full refresh", world, lambda: world.refresh("full"))
    world.staging.query("UPDATE {p}bench_catalogue SET name = CONCAT(name, '!') WHERE id %% 100 = %s", 0)
    write_files(world.staging.current / "wp-content/plugins", "second", SIZE)
    act("backup", world, world.back_up)
    first = act("first promotion", world, world.promote)
    say(f"    {read_cut(world, first)}")
    changed = change_some_code(world.staging, "third", SIZE)
    act("second backup", world, world.back_up)
    second = act(f"second promotion, {changed} files changed", world, world.promote)
    say(f"    {read_cut(world, second)}")
    assert world.find_large_processes() == {}
