"""Three daemons on one repository while people push: every job once, nothing forced, nothing lost.

`PRESSLUFT_FAULTS=all` is the whole of issue 6's promise, 300 intents over 30 sites (`make faults-daemons`); the default
is a small one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID, uuid4, uuid5

import pytest
import structlog

from reconciler.adapters.git_repo import GitFleetRepo, TrustSettings
from reconciler.core.plan import Plan
from reconciler.core.variables import NodeFolders
from reconciler.daemon import SystemClock
from reconciler.errors import Transient
from reconciler.observe import Observer
from reconciler.ports import RunOutcome, RunSpec, RunState
from reconciler.reconcile import run_pass
from reconciler.worker import MOST_REFUSALS, Look, Reconciler
from schemas.state import JobStatus
from schemas.status import JobRecord
from tests.fake_runner import FakePlaybookRunner
from tests.integration.git.opening import make_opener
from tests.integration.git.people import Person as Owner
from tests.integration.git.people import git, make_bare_repo
from tests.integration.git.sshd import make_key
from tests.story import FakeClock, Node, list_recorded, make_environment, make_fleet_files, make_site_files

INTENTS, SITES, PUSH_SECONDS = (300, 30, 0.1) if os.environ.get("PRESSLUFT_FAULTS") else (24, 6, 0.4)
MOST_SECONDS = 1800
SPACE = UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")


@dataclass
class Tally:
    """Counts what one daemon was refused, as its metrics do."""

    row: int = 0
    longest_row: int = 0
    refusals: Counter[int] = field(default_factory=Counter)
    """How many plans were pushed after so many refusals."""

    def looked(self, look: Look) -> None:
        """Heed nothing."""

    def refused(self) -> None:
        """Count."""
        self.row += 1
        self.longest_row = max(self.longest_row, self.row)

    def pushed(self, plan: Plan, look: Look) -> None:
        """A push went through, or there was nothing to push."""
        if not plan.is_empty:
            self.refusals[self.row] += 1
        self.row = 0


@dataclass
class Worker:
    """A daemon in a thread of its own."""

    reconciler: Reconciler
    repo: GitFleetRepo
    tally: Tally
    errors: list[BaseException] = field(default_factory=list)
    given_up: int = 0
    """How often a pass gave way to others and looked again later."""

    def work(self, stopped: threading.Event) -> None:
        """Pass after pass, as the daemon's loop."""
        while not stopped.is_set():
            try:
                self.tally.row = 0
                self.given_up += not run_pass(self.reconciler).settled
            except Transient:
                stopped.wait(0.05)
            except BaseException as error:  # noqa: BLE001 - told by the test
                self.errors.append(error)
                return
            stopped.wait(0.02)


@dataclass
class Nodes:
    """What all nodes did: which job ran at which epoch."""

    ran: list[tuple[UUID, int]] = field(default_factory=list)

    def answer(self, spec: RunSpec) -> RunOutcome:
        """Take a backup."""
        self.ran.append((spec.job_id, spec.epoch))
        node = Node(FakeClock(SystemClock().now()))
        return RunOutcome(RunState.SUCCEEDED, {**node.make_result(spec), "node": node.report()}, rc=0)


def write_fleet() -> dict[str, str]:
    """A fleet of as many sites as are wanted on a third as many nodes."""
    files = dict(make_fleet_files())
    node = files["nodes/web-1.yaml"]
    for number in range(2, SITES // 3 + 2):
        text = node.replace("web-1", f"web-{number}").replace("localhost", f"10.0.0.{number}")
        files[f"nodes/web-{number}.yaml"] = "\n".join(
            f"metadata: {{name: web-{number}, id: {uuid5(SPACE, f'node-{number}')}}}"
            if line.startswith("meta")
            else line
            for line in text.splitlines()
        )
    for number in range(SITES):
        site = f"site-{number}"
        files |= make_site_files(site, uuid5(SPACE, site))
        text = make_environment("production", uuid5(SPACE, f"{site}-production"))
        text = text.replace("acme", site).replace("web-1", f"web-{number % (SITES // 3) + 1}")
        files[f"sites/{site}/environments/production.yaml"] = text
    return files


def write_intents() -> dict[str, str]:
    """As many backups as are wanted, spread over the sites."""
    text = "apiVersion: pressluft/v1\nkind: Backup\nmetadata: {name: NAME}\nspec: {environment: production}\n"
    names = [(f"site-{number % SITES}", f"backup-{number}") for number in range(INTENTS)]
    return {f"intents/{site}/{name}.yaml": text.replace("NAME", name) for site, name in names}


class Person:
    """Somebody who pushes all the time (`pusher.py`), until told to stop."""

    def __init__(self, name: str, bare: Path) -> None:
        self.told = bare.parent / f"{name}.pushed"
        words = (sys.executable, "-m", "tests.integration.reconciler.pusher", bare, name, str(PUSH_SECONDS))
        with self.told.open("wb") as told:
            self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=told)

    def stop(self) -> None:
        """Let the push under way come to its end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(timeout=120) == 0
        lines = [line.split() for line in self.told.read_text().splitlines()]
        self.refusals = {commit: int(refusals) for commit, refusals, _ in lines}
        self.seconds = float(lines[-1][2]) if lines else 0.0


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A repository that keeps a log of where its branch was."""
    bare = make_bare_repo(tmp_path / "fleet.git")
    git(bare, "config", "core.logAllRefUpdates", "always")
    return bare


@pytest.fixture
def open_worker(bare: Path, tmp_path: Path) -> Iterator[Callable[[str, Nodes], Worker]]:
    """Open daemons that trust each other's keys."""
    names = ("one", "two", "three")
    keys = {name: make_key(tmp_path / f"{name}.key") for name in names}
    trusted = tmp_path / "trusted"
    trusted.write_text("".join(f"{name} {(tmp_path / f'{name}.key.pub').read_text()}" for name in names))
    with ExitStack() as opened:
        fleet = make_opener(tmp_path, opened)

        def open_it(name: str, node: Nodes) -> Worker:
            repo = fleet(bare, state=name, signing_key=keys[name], trust=TrustSettings(trusted))
            runner, tally = FakePlaybookRunner(), Tally()
            runner.answer("backup", node.answer)
            folders = NodeFolders("/state", "/etc/pressluft")
            reconciler = Reconciler(
                repo, runner, SystemClock(), Observer(repo), name, 4, folders, witness=tally, instance=uuid4()
            )
            return Worker(reconciler, repo, tally)

        yield open_it


def read_jobs(worker: Worker) -> list[JobRecord]:
    return list_recorded(worker.repo)


def wait_for_runs(worker: Worker, node: Nodes) -> list[JobRecord]:
    """Read the jobs once all of them ran: reading them costs the daemons their time."""
    return read_jobs(worker) if len(node.ran) >= INTENTS else []


def commit_as_owner(bare: Path, files: dict[str, str]) -> None:
    """Make the first commit: the fleet, and everything that is asked for."""
    Owner(bare, bare.parent / "owner").commit({path: text.encode() for path, text in files.items()})


def test_three_daemons_do_every_job_once_while_people_push(
    bare: Path, tmp_path: Path, open_worker: Callable[[str, Nodes], Worker]
) -> None:
    node, stopped, began = Nodes(), threading.Event(), time.monotonic()
    commit_as_owner(bare, write_fleet() | write_intents())
    workers = [open_worker(name, node) for name in ("one", "two", "three")]
    threads = [threading.Thread(target=worker.work, args=(stopped,)) for worker in workers]
    observer = open_worker("one", node)
    people = [Person(name, bare) for name in ("ada", "bob")]
    for thread in threads:
        thread.start()
    try:
        while sum(job.status is JobStatus.SUCCEEDED for job in wait_for_runs(observer, node)) < INTENTS:
            assert not any(worker.errors for worker in workers)
            assert time.monotonic() - began < MOST_SECONDS
            time.sleep(0.5)
    finally:
        stopped.set()
        for thread in threads:
            thread.join()
        for person in people:
            person.stop()
    jobs = read_jobs(observer)
    assert {job.status for job in jobs} == {JobStatus.SUCCEEDED}
    assert Counter(job_id for job_id, _ in node.ran) == Counter(job.id for job in jobs)
    on_branch = set(git(bare, "rev-list", "main").split())
    logged = git(bare, "reflog", "show", "--format=%H", "main").split()
    assert set(logged) <= on_branch, "a commit was forced away"
    assert {commit for person in people for commit in person.refusals} <= on_branch
    # Ten plans in a pass, ten tries for each: more in a row is more than is allowed, whatever people do.
    assert max(worker.tally.longest_row for worker in workers) <= MOST_REFUSALS * MOST_REFUSALS
    report(jobs, workers, people, moves=len(logged), seconds=time.monotonic() - began)


def report(
    jobs: list[JobRecord], workers: list[Worker], people: list[Person], *, moves: int, seconds: float
) -> None:
    """Tell what was measured, for docs/reference/fault-model.md."""
    pushes = sum((worker.tally.refusals for worker in workers), Counter[int]())
    structlog.get_logger().info(
        "three daemons are done",
        jobs=len(jobs),
        sites=SITES,
        seconds=round(seconds),
        by_daemon=dict(Counter(job.locked_by for job in jobs)),
        moves=moves,
        pushes_of_people=sum(len(person.refusals) for person in people),
        seconds_between=[round(person.seconds / max(1, len(person.refusals)), 3) for person in people],
        refusals_of_people=sorted(Counter(n for one in people for n in one.refusals.values()).items()),
        refusals_of_daemons=sorted(pushes.items()),
        most_in_a_row=max(worker.tally.longest_row for worker in workers),
        gave_way=sum(worker.given_up for worker in workers),
    )
