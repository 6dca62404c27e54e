"""A world whose sites are as large as one wishes, and whose daemon is a process that is watched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

from reconciler.stack.site import Site
from schemas.state import JobStatus
from schemas.status import JobRecord
from tests.bench.memory import PeakMemory
from tests.e2e.world import World

WANTED_MB = 200
"""What any process of ours, and restic, may take at most."""
_FOREIGN = {"WP-CLI", "other"}
_BYTES_AT_ONCE = 50 << 20


@dataclass(frozen=True)
class Size:
    """How large a site is: `table_mb` in rows of `row_bytes`, and `files`, each of `file_bytes`, in `folders`.

    Half of each is protected data (`postmeta`, uploads), half is what a promotion takes (a table of nobody's, plugins).
    """

    table_mb: int
    row_bytes: int
    files: int
    file_bytes: int
    folders: int

    @property
    def rows(self) -> int:
        """The rows in each of the two tables."""
        return self.table_mb * 2**20 // self.row_bytes // 2

    @property
    def changed_files(self) -> int:
        """How many files are a hundredth of those that a promotion takes."""
        return self.files // 2 // 100


@dataclass
class MeasuredWorld(World):
    """A world whose daemon is a process of its own, watched: `memory` by kind of process, in bytes, at most."""

    steps: dict[str, float] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)
    highest: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, world: World) -> Self:
        """The same world, measured."""
        return cls(**{item.name: getattr(world, item.name) for item in fields(World)})

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
        for kind in watch.peaks.keys() - _FOREIGN:
            self.highest[kind] = max(self.highest.get(kind, 0), watch.peaks[kind])

    def find_large_processes(self) -> Mapping[str, int]:
        """The kinds of processes, ours and restic, that once took more than they may, and how many MB."""
        return {kind: peak >> 20 for kind, peak in self.highest.items() if peak > WANTED_MB << 20}

    def read_staged(self, job: JobRecord) -> Mapping[str, Any]:
        """What the node noted of what it staged: counts of `tables`, `rows`, `bytes`, `options`, `components`."""
        assert job.status is JobStatus.SUCCEEDED, f"{job.error_code}: {job.error_message}"
        [path] = Path(self.settings.node_state_dir).glob(f"*/jobs/{job.id}/cut.json")
        steps = json.loads((path.parent / "journal.json").read_text())["steps"]
        staged: Mapping[str, Any] = next(step["detail"] for step in steps if step["name"] == "staged")
        return staged


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
            yield begun["step"], (_read_time(ended) - _read_time(begun))


def _read_time(event: dict[str, str]) -> float:
    return datetime.fromisoformat(event["timestamp"]).timestamp()


def fill_catalogue(site: Site, size: Size) -> None:
    """Make a table of nobody's, which a promotion takes. One value in ten names the site."""
    site.query(
        "CREATE TABLE {p}bench_catalogue (id BIGINT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(100), text TEXT)"
        " ENGINE=InnoDB"
    )
    _fill(site, size, "bench_catalogue SELECT seq, CONCAT('item ', seq)")


def fill_metadata(site: Site, size: Size) -> None:
    """Give posts that nobody has metadata, which is protected: WordPress would read all of a post that it shows."""
    _fill(site, size, "postmeta (post_id, meta_key, meta_value) SELECT 1000000 + seq, '_bench'")


def _fill(site: Site, size: Size, into: str) -> None:
    times, step = (size.row_bytes - 32) // 32, _BYTES_AT_ONCE // size.row_bytes
    text = f"CONCAT(IF(seq %% 10, 'plain ', %s), REPEAT(MD5(seq), {times}))"
    for first in range(1, size.rows + 1, step):
        numbers = f"seq_{first}_to_{min(first + step - 1, size.rows)}"
        site.query(f"INSERT INTO {{p}}{into}, {text} FROM {numbers}", site.url)


def write_files(folder: Path, version: str, size: Size) -> None:
    """Write half of the files, in folders of their own, each of them a plugin or the like; none is like another."""
    for place in range(size.folders):
        part = folder / f"bench-{place:03}"
        part.mkdir(parents=True, exist_ok=True)
        for number in range(size.files // 2 // size.folders):
            _write_file(part / f"file-{number:05}.php", f"{version} {place} {number}", size)


def _write_file(path: Path, what: str, size: Size) -> None:
    """A PHP file that only holds a comment."""
    text = f"<?php // {what} "
    path.write_text(text + "x" * (size.file_bytes - len(text)))


def change_some_code(site: Site, version: str, size: Size) -> int:
    """Change one file in a hundred of the site's code, all within the same few plugins. Returns how many."""
    files = sorted((site.current / "wp-content/plugins").glob("bench-*/*.php"))[: size.changed_files]
    for path in files:
        path.unlink()  # another release may share the inode
        _write_file(path, version, size)
    return len(files)
