"""A whole drift check of an unchanged site of 40 tables over SSH, from claim to status commit: where its time goes.

A living daemon, a bare repo, a real sshd and MariaDB. Issue: under 4 s on an idle machine. Run by
`make bench ARGS="-k drift_job"`; PRESSLUFT_BENCH_ROUNDS (7) sets how many checks are made. The clock of all phases is
this machine's, since controller and node are the same.
"""

from __future__ import annotations

import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from reconciler.adapters.git_repo import GitFleetRepo
from reconciler.adapters.playbook_runner import AnsiblePlaybookRunner
from reconciler.daemon import Daemon
from reconciler.stack.mariadb import Login, MariaDB
from reconciler.stack.sshd import Sshd
from reconciler.worker import Reconciler
from schemas.state import DriftStatus, Proof
from tests.integration.node.observed_pair import PROTECTION, Pair, make_pair
from tests.plain_fleet import PlainFleet

ROUNDS = int(os.environ.get("PRESSLUFT_BENCH_ROUNDS", "7"))
TABLES, ROWS = 40, 500
PATIENCE_SECONDS = 120.0
WANTED_SECONDS = 4.0
PHASES = (
    "claim commit",
    "supervisor and Ansible start",
    "SSH, module transfer, Python start",
    "node work",
    "result back, Ansible ends",
    "status commit",
)


class TimedDaemon(Daemon):
    """Notes when each durable boundary of a check was passed, and what its run left."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.marks: list[tuple[str, float]] = []
        self.runs: list[dict[str, Any]] = []

    def _make_reconciler(self, repo: GitFleetRepo, runner: AnsiblePlaybookRunner) -> Reconciler:
        return replace(super()._make_reconciler(repo, runner), on_step=self.mark)

    def mark(self, step: str) -> None:
        """Note a boundary; a run's files are gone after its job's end was pushed."""
        self.marks.append((step, time.time()))
        for path in self.settings.state_dir.glob("runs/*/result.json"):
            if step == "before push":
                self.runs.append(read_run(path))


def read_run(result: Path) -> dict[str, Any]:
    """Read when a run's task began, when the node worked, and when the result was there."""
    events = (result.parent / "events.jsonl").read_text().splitlines()
    said = json.loads(result.read_text())["result"]
    return {
        "task": read_time(json.loads(events[-1])["at"]),
        "node began": read_time(said["observation"]["taken_at"]),
        "node ended": read_time(said["node"]["now"]),
        "result": result.stat().st_mtime,
        "proofs": [item["proof"] for item in said["observation"]["resources"] if item["kind"] == "table"],
    }


def read_time(text: str) -> float:
    """Read a moment as seconds."""
    return datetime.fromisoformat(text).timestamp()


@pytest.fixture
def pair(mariadb: MariaDB, database: Login, tmp_path: Path) -> Iterator[Pair]:
    other = f"{database.user}_s"
    mariadb.create_database(other)
    with mariadb.connect(database.user) as admin:
        made = make_pair(mariadb, admin, tmp_path, {"production": database.user, "staging": other})
        for number in range(TABLES - 5):
            for side in "PS":
                made.sql(
                    f"CREATE TABLE {side}.plugin_{number} (id INT AUTO_INCREMENT PRIMARY KEY, value TEXT)",
                    f"INSERT INTO {side}.plugin_{number} (value) SELECT REPEAT('x', 200) FROM seq_1_to_{ROWS}",
                )
        made.take_baseline(PROTECTION)
        yield made
    mariadb.drop_database(other)


@contextmanager
def running(daemon: Daemon) -> Iterator[None]:
    """Let a daemon live in a thread of its own."""
    thread = threading.Thread(target=daemon.run)
    thread.start()
    try:
        yield
    finally:
        daemon.stop()
        thread.join(timeout=PATIENCE_SECONDS)


def test_a_drift_job_over_ssh(mariadb: MariaDB, pair: Pair, tmp_path: Path, sshd: Sshd) -> None:
    fleet = PlainFleet(tmp_path, pair, mariadb, sshd=sshd)
    daemon = TimedDaemon(fleet.settings)
    with running(daemon):
        for number in range(2):  # the first check reads every table, the next ones prove them by their files
            check(fleet, daemon, f"before-{number}")
        began = read_cpu()
        rounds = [check(fleet, daemon, f"round-{number}") for number in range(ROUNDS)]
        cpu = (read_cpu() - began) / ROUNDS
    assert {record.status for record in fleet.list_checks()[:ROUNDS]} == {DriftStatus.CLEAN}
    assert set(daemon.runs[-1]["proofs"]) <= {Proof.TABLESPACE, Proof.ABSENCE, Proof.DIGEST}
    proved = daemon.runs[-1]["proofs"].count(Proof.TABLESPACE)
    of = len(daemon.runs[-1]["proofs"])
    show(rounds, proved=proved, of=of, ssh=measure_ssh(sshd), cpu=cpu)


def check(fleet: PlainFleet, daemon: TimedDaemon, name: str) -> Mapping[str, float]:
    """Ask for a check, wait for its end, and return how long each phase took, in seconds."""
    daemon.marks.clear()
    daemon.runs.clear()
    fleet.ask_for_check(name)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while [step for step, _ in daemon.marks].count("after push") < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    moments = [at for step, at in daemon.marks if step in {"before push", "after push"}]
    run = daemon.runs[-1]
    times = [
        *moments[:2],
        run["task"],
        run["node began"],
        run["node ended"],
        run["result"],
        moments[-1],
    ]
    return dict(zip(PHASES, (later - sooner for sooner, later in itertools.pairwise(times)), strict=True))


def measure_ssh(sshd: Sshd) -> float:
    """Return the median time of a connection that does nothing, in seconds."""
    taken = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        subprocess.run(["ssh", *sshd.ssh_options, f"{sshd.user}@{sshd.host}", "true"], check=True)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def read_cpu() -> float:
    """Read the CPU seconds of this process and all it waited for: those of the node below sshd are not in it."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def show(rounds: list[Mapping[str, float]], *, proved: int, of: int, ssh: float, cpu: float) -> None:
    """Print the median of each phase, and of the whole."""
    totals = sorted(sum(phases.values()) for phases in rounds)
    whole = statistics.median(totals)
    spread = f"{totals[0] * 1000:.0f} to {totals[-1] * 1000:.0f}"
    lines = [
        f"\nclaim to status commit, {len(rounds)} checks, {proved} of {of} tables proved by their files",
        *(
            f"  {name:<36} {statistics.median(phases[name] for phases in rounds) * 1000:>8.0f} ms"
            for name in PHASES
        ),
        f"  {'whole':<36} {whole * 1000:>8.0f} ms  ({spread})",
        f"  {'(an SSH connection that does nothing)':<36} {ssh * 1000:>7.0f} ms",
        f"  {'(CPU of the controller for each check)':<36} {cpu * 1000:>6.0f} ms",
        f"  wanted on an idle machine: under {WANTED_SECONDS:.0f} s; load now: {os.getloadavg()[0]:.1f}",
    ]
    sys.stdout.write("\n".join(lines) + "\n")
