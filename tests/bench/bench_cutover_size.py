"""Two promotions of a large site: time of each step, the pause of the cut-over, memory on node and controller.

The first takes a whole table and every file of code, the second 1 % of the code. Made up; half of the rows and files
are protected data. PRESSLUFT_BENCH_DATABASE_MB (5000), PRESSLUFT_BENCH_FILES (100000, of 8 KiB each).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest

from reconciler.stack.command import run_command
from reconciler.stack.node_config import write_node_config
from reconciler.stack.site import Site, create_empty_site, create_site
from reconciler.stack.stack import Stack
from schemas.status import JobRecord
from tests.bench.bench_cutover import read_cut, succeed
from tests.bench.memory import PeakMemory
from tests.bench.visited_site import describe_load, say
from tests.e2e.world import World, make_world

pytestmark = pytest.mark.timeout(0)  # it takes as long as it takes

DATABASE_MB = int(os.environ.get("PRESSLUFT_BENCH_DATABASE_MB", "5000"))
FILES = int(os.environ.get("PRESSLUFT_BENCH_FILES", "100000"))
FILE_BYTES = 8192
PLUGINS = 100
ROWS_AT_ONCE = 50_000
WANTED_MB = 200
FOREIGN = {"WP-CLI", "other"}


@dataclass
class MeasuredWorld(World):
    """A world whose daemon is a process of its own, watched."""

    steps: dict[str, float] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)
    highest: dict[str, int] = field(default_factory=dict)

    def run_daemon(self) -> None:
        """Run `pressluft run --once`, and note how long each step took and what memory its processes had."""
        daemon = subprocess.Popen(
            [sys.executable, "-m", "reconciler", "run", "--once"],
            env={**os.environ, **make_environment(self)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        with PeakMemory(daemon.pid, self.folder) as watch:
            log = daemon.communicate()[1]
        if daemon.returncode != 0:
            raise RuntimeError(log[-2000:])
        self.steps, self.memory = dict(list_steps(log)), watch.peaks


def make_environment(world: World) -> dict[str, str]:
    """The world's settings as variables."""
    found = world.settings.model_dump(exclude_none=True, exclude_defaults=True)
    return {f"PRESSLUFT_{name.upper()}": str(value) for name, value in found.items()}


def list_steps(log: str) -> Iterator[tuple[str, float]]:
    """Each step of the job and how many seconds it took, Ansible's own start included."""
    events = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    marks = [
        event for event in events if "step started" in event["event"] or " succeeded: " in event["event"]
    ]
    for begun, ended in pairwise(marks):
        if "step" in begun:
            yield begun["step"], (read_time(ended) - read_time(begun))


def read_time(event: dict[str, str]) -> float:
    """When a line was logged."""
    return datetime.fromisoformat(event["timestamp"]).timestamp()


@pytest.fixture(scope="module")
def world(stack: Stack, session_folder: Path) -> Iterator[MeasuredWorld]:
    """A large production and an empty staging, on a server with memory that fits."""
    for setting in ("innodb_buffer_pool_size = 1073741824", "innodb_log_file_size = 536870912"):
        with stack.mariadb.connect() as cursor:
            cursor.execute(f"SET GLOBAL {setting}")
    production, staging = create_site(stack, "p_large"), create_empty_site(stack, "s_large")
    began = time.monotonic()
    fill_tables(production)
    write_files(production.uploads / "bench", "upload")
    write_files(production.current / "wp-content/plugins", "first")
    run_command(["chown", "-R", "www-data:", production.uploads], timeout=600)
    assert production.fetch("/").status == 200  # WordPress reads all metadata of a post that it shows
    say(f"\n{DATABASE_MB} MB in tables, {FILES} files made in {time.monotonic() - began:.0f} s")
    folder = session_folder / "large"
    config = write_node_config(stack, session_folder / "large-config", restic_repository=folder / "restic")
    made = make_world(folder, production=production, staging=staging, node_config=config, sshd=None)
    yield MeasuredWorld(**{item.name: getattr(made, item.name) for item in fields(World)})
    stack.forget(production.name)
    stack.forget(staging.name)


def fill_tables(site: Site) -> None:
    """Half of the megabytes in a table of nobody's, which a promotion takes, half in `postmeta`, which it does not."""
    site.query(
        "CREATE TABLE {p}bench_catalogue (id BIGINT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(100), text TEXT)"
        " ENGINE=InnoDB"
    )
    text = "CONCAT(IF(seq %% 10, 'plain ', %s), REPEAT(MD5(seq), 31))"
    rows = DATABASE_MB * 1024 // 2
    for first in range(1, rows + 1, ROWS_AT_ONCE):
        numbers = f"seq_{first}_to_{min(first + ROWS_AT_ONCE - 1, rows)}"
        site.query(
            f"INSERT INTO {{p}}bench_catalogue SELECT seq, CONCAT('item ', seq), {text} FROM {numbers}",
            site.url,
        )
        site.query(
            f"INSERT INTO {{p}}postmeta (post_id, meta_key, meta_value)"
            f" SELECT 1000000 + seq, '_bench', {text} FROM {numbers}",
            site.url,
        )


def write_files(folder: Path, version: str) -> None:
    """Half of the files, in folders of their own; none is like another."""
    for place in range(PLUGINS):
        part = folder / f"bench-{place:03}"
        part.mkdir(parents=True, exist_ok=True)
        for number in range(FILES // 2 // PLUGINS):
            write_file(part / f"file-{number:05}.php", f"{version} {place} {number}")


def write_file(path: Path, what: str) -> None:
    """A PHP file that only holds a comment."""
    text = f"<?php // {what} "
    path.write_text(text + "x" * (FILE_BYTES - len(text)))


def change_some_code(site: Site, version: str) -> int:
    """Change one file in a hundred of the source's code, all within the same few plugins. Returns how many."""
    files = sorted((site.current / "wp-content/plugins").glob("bench-*/*.php"))[: FILES // 2 // 100]
    for path in files:
        path.unlink()  # another release may share the inode
        write_file(path, version)
    return len(files)


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
    for kind in world.memory.keys() - FOREIGN:
        world.highest[kind] = max(world.highest.get(kind, 0), world.memory[kind])
    return job


def test_a_large_site(world: MeasuredWorld) -> None:
    act("full refresh", world, lambda: world.refresh("full"))
    world.staging.query("UPDATE {p}bench_catalogue SET name = CONCAT(name, '!') WHERE id %% 100 = %s", 0)
    write_files(world.staging.current / "wp-content/plugins", "second")
    act("backup", world, world.back_up)
    first = act("first promotion", world, world.promote)
    say(f"    {read_cut(world, first)}")
    changed = change_some_code(world.staging, "third")
    act("second backup", world, world.back_up)
    second = act(f"second promotion, {changed} files changed", world, world.promote)
    say(f"    {read_cut(world, second)}")
    assert max(world.highest.values()) < WANTED_MB * 2**20, world.highest
