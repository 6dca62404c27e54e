"""A random day of a fleet, made from a seed: the same seed is the same day, to the last fault."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from tests.faults.fault import Armed, FailPoint, Fault, list_fail_points, list_faults
from tests.faults.fleet import OPEN, STOPPED, Fleet, make_drift, make_policy
from tests.story import make_intent

SITES, WORKERS, ACTIONS = ("acme", "beta", "gama"), ("worker-1", "worker-2", "worker-3"), 120
SPECS = (
    "{source: staging, target: production}",
    "{source: staging, target: production, wait: PT2H}",
    "{source: staging, target: production, backup: create}",
    "{source: staging, target: production, backup: create, wait: PT2H, refresh: protected}",
)
FAULTS = ("before", "after", "ANSIBLE_HOST_UNREACHABLE", "BACKUP_INVALID")
POINTS = list_fail_points()


@dataclass
class Day:
    """One schedule under way."""

    fleet: Fleet
    chance: Random
    number: int = 0
    told: list[str] = field(default_factory=list)
    """What was done, in order: what one reads when a seed fails."""

    def tell(self, what: str) -> None:
        """Write down what happens."""
        self.told.append(what)

    def pick_site(self) -> str:
        """Pick a site."""
        return self.chance.choice(self.fleet.sites)

    def look(self) -> None:
        """Let a daemon look."""
        machine = self.chance.choice(self.fleet.machines)
        self.tell(f"{machine.name} looks")
        machine.look()
        self.fleet.clock.advance(seconds=2)

    def deliver(self) -> None:
        """Let a node do a step, mostly without a fault."""
        fault = self.chance.choice(FAULTS) if self.chance.random() < 0.12 else ""
        self.tell(f"a node works {fault}")
        self.fleet.deliver(self.chance.randrange(100), fault=fault)

    def ask(self) -> None:
        """Commit an intent."""
        self.number += 1
        kind = self.chance.choice(["Backup", "DriftCheck", "Refresh", "Promotion", "Promotion", "Promotion"])
        spec = {
            "Backup": "{environment: production}",
            "DriftCheck": "{environment: staging}",
            "Refresh": "{environment: staging}",
            "Promotion": self.chance.choice(SPECS),
        }[kind]
        site = self.pick_site()
        self.tell(f"{kind} job-{self.number} for {site}: {spec}")
        self.fleet.intend(site, kind, f"job-{self.number}", spec)

    def promote_safely(self) -> None:
        """Ask for a promotion with all gates open, so that not every day ends at a gate."""
        self.number += 1
        site = self.pick_site()
        node = self.fleet.nodes[site]
        node.resources, node.backup_valid, node.unhealthy = make_drift(clean=True), True, False
        self.tell(f"safe Promotion job-{self.number} for {site}")
        self.fleet.intend(site, "Promotion", f"job-{self.number}", SPECS[2])

    def cancel(self) -> None:
        """Cancel a job, whatever state it is in."""
        jobs = self.fleet.list_jobs()
        if jobs:
            job = self.chance.choice(jobs)
            self.number += 1
            self.tell(f"cancel {job.intent_name} of {job.site}")
            self.fleet.intend(job.site, "Cancel", f"job-{self.number}", f"{{job_id: {job.id}}}")

    def delete(self) -> None:
        """Delete an intent that may be queued, running or ended."""
        path = self.pick_path()
        if path is not None:
            self.tell(f"delete {path}")
            self.fleet.commit({path: None})

    def edit(self) -> None:
        """Write another promotion over an intent."""
        path = self.pick_path()
        if path is not None:
            name = path.rpartition("/")[2].removesuffix(".yaml")
            self.tell(f"edit {path}")
            self.fleet.intended[path] = "Promotion"
            self.fleet.commit({path: make_intent("Promotion", name, self.chance.choice(SPECS))[1]})

    def pick_path(self) -> str | None:
        """Pick an intent that was ever committed."""
        return self.chance.choice(list(self.fleet.intended)) if self.fleet.intended else None

    def forge(self) -> None:
        """Write to `status/` as somebody who wants a job to run again, a gate open, or a record gone."""
        tip = self.fleet.remote.people.fetch().status or ""
        paths = [path for path in self.fleet.remote.list_paths(tip) if path.startswith("status/")]
        if paths:
            path = self.chance.choice(paths)
            content = self.fleet.remote.read_file(tip, path)
            swaps = {
                b"succeeded": b"queued",
                b"failed": b"active",
                b"running": b"succeeded",
                b"drifted": b"clean",
            }
            forged = content
            for old, new in swaps.items():
                forged = forged.replace(old, new) if forged else None
            if forged == content or self.chance.random() < 0.3:
                forged = None
            self.tell(f"forge {path}: {'gone' if forged is None else 'changed'}")
            self.fleet.remote.commit({path: forged})

    def change_policy(self) -> None:
        """Stop promotions, or let them go on."""
        spec = self.chance.choice([OPEN, OPEN, STOPPED])
        self.tell(f"policy {spec}")
        self.fleet.commit({"pressluft.yaml": make_policy(spec)})

    def change_node(self) -> None:
        """Let visitors come, storage fail, themes break."""
        node = self.fleet.nodes[self.pick_site()]
        node.resources = make_drift(clean=self.chance.random() < 0.7)
        node.backup_valid = self.chance.random() < 0.6
        node.unhealthy = self.chance.random() < 0.2
        self.tell(f"a node: drift {node.resources}, backup {node.backup_valid}, unhealthy {node.unhealthy}")

    def move_clock(self) -> None:
        """Let time go by, or back."""
        minutes = self.chance.choice([-120, -1, 1, 6, 6, 30, 130, 600])
        self.tell(f"the clock moves by {minutes} min")
        self.fleet.clock.advance(minutes=minutes)

    def arm(self) -> None:
        """Let something happen at the next fail point of a kind."""
        machine = self.chance.choice(self.fleet.machines)
        point = self.chance.choice(POINTS)
        fault = self.chance.choice(list(list_faults(point)))
        self.tell(f"{machine.name}: {fault} {point}")
        machine.script.armed[point] = Armed(fault)

    def interleave(self) -> None:
        """Let others act once in the middle of a daemon's next pass."""
        machine = self.chance.choice(self.fleet.machines)
        left = self.chance.randrange(30)
        act = self.chance.choice(
            [self.look, self.look, self.ask, self.change_policy, self.delete, self.deliver]
        )
        self.tell(f"{machine.name}: {act.__name__} in {left} calls")

        def meanwhile(_: FailPoint) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                act()

        machine.script.meanwhile = meanwhile

    def kill(self) -> None:
        """Kill a daemon between two passes."""
        machine = self.chance.choice(self.fleet.machines)
        self.tell(f"{machine.name} is killed")
        machine.die()

    def lose_machine(self) -> None:
        """Lose a controller for good, as long as another is left."""
        if len(self.fleet.machines) > 1 and self.chance.random() < 0.3:
            machine = self.fleet.machines.pop(self.chance.randrange(len(self.fleet.machines)))
            self.tell(f"{machine.name} is gone for good")
            machine.die()


ACTS: tuple[tuple[Callable[[Day], None], int], ...] = (
    (Day.look, 34),
    (Day.deliver, 34),
    (Day.ask, 5),
    (Day.promote_safely, 5),
    (Day.arm, 8),
    (Day.interleave, 5),
    (Day.change_node, 7),
    (Day.move_clock, 3),
    (Day.kill, 2),
    (Day.cancel, 2),
    (Day.delete, 1),
    (Day.edit, 1),
    (Day.change_policy, 4),
    (Day.forge, 2),
    (Day.lose_machine, 1),
)


@dataclass(frozen=True)
class Report:
    """What became of one schedule."""

    seed: int
    broken: tuple[str, ...]
    told: tuple[str, ...]
    struck: Counter[tuple[FailPoint, Fault]]
    met: Counter[FailPoint]
    jobs: Counter[str]
    cuts: int
    deaths: int


def run_day(seed: int) -> Report:
    """Run one schedule to its end."""
    chance = Random(seed)
    day = Day(Fleet(SITES, WORKERS, chance), chance)
    acts, weights = zip(*ACTS, strict=True)
    machines = list(day.fleet.machines)
    for _ in range(ACTIONS):
        chance.choices(acts, weights)[0](day)
        day.fleet.look_at_promises()
        if day.fleet.broken_promises:
            break
    if not day.fleet.broken_promises:
        day.fleet.settle()
    jobs = Counter(f"{job.status} {job.error_code or ''}".strip() for job in day.fleet.list_jobs())
    return Report(
        seed,
        tuple(day.fleet.broken_promises),
        tuple(day.told),
        Counter(pair for machine in machines for pair in machine.script.struck),
        sum((machine.script.met for machine in machines), Counter()),
        jobs,
        sum(len(node.cuts) for node in day.fleet.nodes.values()),
        sum(machine.deaths for machine in machines),
    )
