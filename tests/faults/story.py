"""One ordinary day, in which a fault happens at one fail point, the nth time that it is passed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from tests.faults.fault import Armed, FailPoint, Fault
from tests.faults.fleet import ENDED, Fleet, make_drift
from tests.faults.machine import Machine

LOOKS = 40
MOST_PASSES = 12
"""How many passes of one point are tried: each of a push or a start, the first and some later ones of a read."""


@dataclass(frozen=True)
class Outcome:
    """What became of the day."""

    struck: bool
    broken: tuple[str, ...]
    jobs: Counter[str]
    met: Counter[FailPoint]


def run_story(point: FailPoint | None = None, fault: Fault = Fault.KILL, *, passes: int = 0) -> Outcome:
    """Let one daemon back up, promote, be refused at a gate, be asked to cancel; a second one comes to its help."""
    fleet = Fleet(("acme",), ("worker-1", "worker-2"), Random(7))
    first, second = fleet.machines
    if point is not None:
        first.script.armed[point] = Armed(fault, passes)
    for act in (ask_for_a_backup, ask_for_a_promotion, ask_and_change_ones_mind, ask_at_a_shut_gate):
        act(fleet, first)
        fleet.look_at_promises()
    met = first.script.met.copy()
    second.look()
    fleet.settle()
    jobs = Counter(f"{job.status} {job.error_code or ''}".strip() for job in fleet.list_jobs())
    return Outcome(bool(first.script.struck), tuple(fleet.broken_promises), jobs, met)


def ask_for_a_backup(fleet: Fleet, machine: Machine) -> None:
    """Have a backup."""
    fleet.intend("acme", "Backup", "safe", "{environment: production}")
    work(fleet, machine)


def ask_for_a_promotion(fleet: Fleet, machine: Machine) -> None:
    """Have everything that a promotion can bring with it."""
    spec = "{source: staging, target: production, backup: create, refresh: protected, wait: PT2H}"
    fleet.intend("acme", "Promotion", "release", spec)
    work(fleet, machine)


def ask_and_change_ones_mind(fleet: Fleet, machine: Machine) -> None:
    """Ask for a backup and cancel it while it runs."""
    fleet.intend("acme", "Backup", "second", "{environment: production}")
    machine.look()
    job = next((job for job in fleet.list_jobs() if job.intent_name == "second"), None)
    if job is not None and job.status not in ENDED:
        fleet.intend("acme", "Cancel", "stop", f"{{job_id: {job.id}}}")
    work(fleet, machine)


def ask_at_a_shut_gate(fleet: Fleet, machine: Machine) -> None:
    """Ask for a promotion that must be refused."""
    fleet.nodes["acme"].resources = make_drift(clean=False)
    fleet.intend("acme", "Promotion", "too-late", "{source: staging, target: production, backup: create}")
    work(fleet, machine)


def work(fleet: Fleet, machine: Machine) -> None:
    """Let a daemon and the node work until every job has ended, or long enough."""
    for _ in range(LOOKS):
        machine.look()
        fleet.deliver_all()
        fleet.clock.advance(seconds=2)
        if all(job.status in ENDED for job in fleet.list_jobs()) and not fleet.find_unseen():
            return


def list_passes(met: int) -> Iterator[int]:
    """List which passes of a point are tried: all of them, or `MOST_PASSES` evenly spread."""
    step = max(1, met // MOST_PASSES)
    return iter(range(0, met, step))
