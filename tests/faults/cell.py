"""One cell of the kill matrix: a promotion is stopped after a step, somebody is killed, and all must end well."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from uuid import UUID

import psutil
from ansible_collections.pressluft.wordpress.plugins.module_utils.cut import (
    FIRST_LIVE_STEP,
    TO_HEALTHY,
    TO_REVERSED,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import read_finished
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment_lock import read_holder
from ansible_collections.pressluft.wordpress.plugins.module_utils.prepare import prepare_node

from reconciler.adapters.process_tree import find_marked
from schemas.intent import Promotion
from schemas.state import EnvironmentStatus, ErrorCode, JobStatus
from schemas.status import JobRecord
from tests.e2e.world import TAGLINE, World
from tests.faults.halting import PATIENCE, HaltingPython, kill


class Victim(StrEnum):
    """Who is killed."""

    ALL = "all"
    PROGRAM = "program"
    DAEMON = "daemon"
    MODULE = "module"
    SUPERVISOR = "supervisor"
    ANSIBLE = "ansible"


class Way(StrEnum):
    """Whether the new release is healthy."""

    FORWARD = "forward"
    BACK = "back"

    @property
    def steps(self) -> tuple[str, ...]:
        """The program's steps on this way."""
        return TO_HEALTHY if self is Way.FORWARD else TO_REVERSED


@dataclass(frozen=True)
class Cell:
    """Who is killed, and after which step."""

    way: Way
    number: int
    victim: Victim

    @property
    def step(self) -> str:
        """The step's name."""
        return self.way.steps[self.number]

    @property
    def name(self) -> str:
        """How the cell is called in reports."""
        return f"{self.way}-{self.number:02d}-{self.step.replace(' ', '-')}-{self.victim}"


@dataclass(frozen=True)
class Ending:
    """How it ended: what was live once the node alone had ended it, and once the controller had; the job.

    `node_seconds` are from the kill to the node's own end.
    """

    by_node: str
    live: str
    job: JobRecord
    node_seconds: float


@dataclass(frozen=True)
class Live:
    """What production serves: the version of its theme, which is code, and its tagline, which is exchanged data."""

    code: str
    data: str


def list_cells() -> list[Cell]:
    """Every step forward and, from the verdict on, every step back, for each victim."""
    first_back = TO_REVERSED.index("prepared back")
    steps = [(Way.FORWARD, number) for number in range(len(TO_HEALTHY))]
    steps += [(Way.BACK, number) for number in range(first_back, len(TO_REVERSED))]
    return [Cell(way, number, victim) for victim in Victim for way, number in steps]


class Arena:
    """A world whose node is prepared, has the recovery running, and stops programs on request."""

    def __init__(self, world: World, python: HaltingPython) -> None:
        self._world, self._python = world, python
        self._state_dir = Path(world.settings.node_state_dir)
        self._count = 0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Run the node's recovery as its unit would."""
        done = prepare_node(str(self._state_dir), world_config(self._world), service=False, check_mode=False)
        command = [str(self._python.path), *done["recover"]["command"][1:]]
        loop = subprocess.Popen(command, env={"PATH": os.environ["PATH"]}, stdout=subprocess.DEVNULL)
        try:
            yield
        finally:
            loop.kill()
            loop.wait()

    def fight(self, cell: Cell) -> Ending:
        """Play one cell from a fresh change on staging to the job's end."""
        world = self._world
        self._count += 1
        version = f"{self._count}.0.1"  # never the one that a new site has
        self._change_staging(version, cell.way)
        before, old, new = world.evidence(), self._read_live(), Live(version, version)
        world.back_up()
        job_id = UUID(str(world.ask(Promotion, {"source": "staging", "target": "production"})))
        self._python.order(cell.number)
        with self._daemon() as daemon:
            halt = self._python.await_halt()
            assert halt.step == cell.step
            killed_at = time.monotonic()
            self._kill(cell.victim, program=halt.pid, daemon=daemon)
            self._python.release()
            self._await_node(job_id, halt.pid)
            node_seconds = time.monotonic() - killed_at
            by_node = self._read_live()
            daemon.wait(PATIENCE)
        world.run_daemon()
        live = self._read_live()
        self._check_traces(before)
        job = world.service.find_job(job_id)
        if job.status is JobStatus.QUEUED:
            world.withdraw(job)
        named = {old: "old", new: "new"}
        assert {by_node, live} <= set(named), "production is half of each"
        return Ending(named[by_node], named[live], job, node_seconds)

    def _change_staging(self, version: str, way: Way) -> None:
        functions = self._world.staging.current / "wp-content/themes/pressluft-demo/functions.php"
        sound = functions.with_suffix(".sound")
        if not sound.exists():
            sound.write_text(functions.read_text())
        functions.write_text(sound.read_text())
        self._world.edit_theme(version)
        self._world.staging.query(TAGLINE, version)  # so that tables are exchanged as well
        if way is Way.BACK:
            self._world.break_theme()

    def _read_live(self) -> Live:
        production = self._world.production
        shown = production.fetch("/").body.partition('theme-version">')[2].partition("<")[0]
        asked = "SELECT option_value FROM {p}options WHERE option_name = 'blogdescription'"
        ((tagline,),) = production.query(asked)
        return Live(shown, str(tagline))

    @contextmanager
    def _daemon(self) -> Iterator[subprocess.Popen[bytes]]:
        settings = {name: str(value) for name, value in self._world.settings if value is not None}
        own = {f"PRESSLUFT_{name.upper()}": value for name, value in settings.items()}
        environment = {"PATH": os.environ["PATH"], "HOME": str(self._world.folder), **own}
        with (self._world.folder / "daemon.log").open("ab") as log:
            daemon = subprocess.Popen(
                [sys.executable, "-m", "reconciler", "run", "--once"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stderr=log,
            )
        try:
            yield daemon
        finally:
            daemon.kill()
            daemon.wait()

    def _kill(self, victim: Victim, *, program: int, daemon: subprocess.Popen[bytes]) -> None:
        mark = (Path(self._world.settings.state_dir) / "runs" / "mark.txt").read_text()
        run = [process for process, _ in find_marked(f"{mark}/")]
        found = {
            Victim.DAEMON: [daemon.pid],
            Victim.SUPERVISOR: [one.pid for one in run if "reconciler.adapters.supervisor" in one.cmdline()],
            Victim.ANSIBLE: [one.pid for one in run if any("ansible-playbook" in w for w in one.cmdline())],
            Victim.MODULE: [one.pid for one in run if str(self._python.path) in one.cmdline()[:1]],
            Victim.PROGRAM: [program],  # last: a module that still lives would start it again
        }
        victims = found[victim] if victim in found else [pid for pids in found.values() for pid in pids]
        assert victims, f"nobody to kill: {victim}"
        for pid in victims:
            kill(pid)

    def _await_node(self, job_id: UUID, program: int) -> None:
        """Wait until nobody works on production any more and its journal is closed."""
        folder, deadline = self._find_folder(job_id), time.monotonic() + PATIENCE
        while not self._is_closed(folder, job_id):
            assert time.monotonic() < deadline, f"the node did not end the cut-over; program {program}"
            time.sleep(0.02)

    def _is_closed(self, folder: Path, job_id: UUID) -> bool:
        journal = json.loads((folder / "jobs" / str(job_id) / "journal.json").read_text())
        ended = str(job_id) in read_finished(str(folder)) or (not journal["cut"] and journal["result"] == {})
        return ended and read_holder(str(folder)) is None

    def _find_folder(self, job_id: UUID) -> Path:
        [folder] = [
            path.parents[1]
            for path in self._state_dir.glob(f"*/jobs/{job_id}")
            if (path / "cut.json").exists()
        ]
        return folder

    def _check_traces(self, before: object) -> None:
        """Nothing protected was touched, and nothing is left: databases, releases, locks, processes, states."""
        world = self._world
        assert world.evidence() == before
        entry = world.service.find_named("acme", "production")
        assert entry.record is not None
        assert entry.record.status is EnvironmentStatus.ACTIVE
        prefix = f"{world.production.database_name}__pressluft"
        own = [
            str(name) for (name,) in world.production.query("SHOW DATABASES") if str(name).startswith(prefix)
        ]
        assert [name for name in own if "_old_" not in name] == []
        assert len(own) <= 1
        assert len(list((world.production.root / "releases").iterdir())) <= 2
        assert list_strays(world) == []


def check_verdict(cell: Cell, ending: Ending) -> None:
    """Say whether the job tells the truth: new and succeeded, old and failed, or old and to be tried again.

    Where nothing was live yet when the program died, the node drops it, and the controller may try again at once.
    """
    if cell.way is Way.BACK:
        assert (ending.by_node, ending.live, ending.job.status) == ("old", "old", JobStatus.FAILED)
        assert ending.job.error_code is ErrorCode.HEALTH_CHECK_FAILED
        return
    is_past = cell.number >= cell.way.steps.index(FIRST_LIVE_STEP)
    lives_on = cell.victim not in {Victim.PROGRAM, Victim.ALL}
    if is_past or lives_on:
        assert (ending.by_node, ending.live, ending.job.status) == ("new", "new", JobStatus.SUCCEEDED)
    elif ending.live == "old":
        assert (ending.job.status, ending.job.error_code) == (
            JobStatus.QUEUED,
            ErrorCode.ANSIBLE_HOST_FAILED,
        )
    else:
        assert ending.job.status is JobStatus.SUCCEEDED
        assert ending.job.epoch > 1 or cell.victim is Victim.PROGRAM  # whose module starts another


def world_config(world: World) -> str:
    """The node's `config_dir`."""
    return str(world.settings.node_config_dir)


def list_strays(world: World) -> list[str]:
    """List processes of this world that should have ended."""
    found = []
    for process in psutil.process_iter():
        try:
            words = " ".join(process.cmdline())
            if str(world.folder) in words and "pressluft-recover.zip" not in words:
                found.append(words)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found
