"""A whole day of a busy fleet on real git: what a daemon keeps, in memory, in open files and on disk, by the hour.

`python -m tests.faults.day` prints the table, with `--write` it is kept in docs/reference/fault-model.md. Clock,
nodes and runner are the model's; the repository, its mirrors, commits, signatures and pushes are real.
"""

from __future__ import annotations

import argparse
import gc
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random

from tests.faults.fault import Armed, list_fail_points, list_faults
from tests.faults.fleet import ENDED, Fleet
from tests.faults.kept import measure_kept
from tests.faults.machine import Machine
from tests.faults.page import make_table, silence, tell, write_page
from tests.faults.remote import GitRemote
from tests.story import make_intent

MARK = "the long day"
SITES, WORKERS, HOURS, MINUTES = 60, ("worker-1", "worker-2"), 24, 60
ROUNDS = 2
"""How many passes there are in a minute, of one daemon and the other; nodes work in between."""
KINDS = (
    ("DriftCheck", "{environment: staging}", 60),
    ("Backup", "{environment: production}", 20),
    ("Promotion", "{source: staging, target: production, backup: create, wait: PT2H}", 10),
    ("Refresh", "{environment: staging}", 10),
)
POLICY = "{retention: PT3H}"
"""So short that backups expire and are cleaned up during the day: a fleet that is as old as its retention is long."""
UPKEEP_MINUTES = 10  # reconciler.adapters.git_upkeep.EVERY_SECONDS
POINTS = list_fail_points()


@dataclass(frozen=True)
class Hour:
    """What there is at the end of a twenty-fourth of the day."""

    minute: int
    jobs: int
    """How many jobs have ended so far."""
    kept_kib: int
    """What the daemon that knows most keeps of the fleet (`measure_kept`)."""
    memory_mib: float
    """Of this process: all daemons, the model and its judge; packs that are mapped into memory are not counted."""
    open_files: int
    mirror_mib: float
    loose_objects: int
    pass_ms: float
    """Processor time of a pass, of all of this process, in the median over the hour."""
    faults: int


@dataclass
class LongDay:
    """A day under way. `jobs` are asked for over `minutes`, in each of which something breaks."""

    fleet: Fleet
    remote: GitRemote
    chance: Random
    jobs: int
    minutes: int
    asked: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    passes: list[float] = field(default_factory=list)
    hours: list[Hour] = field(default_factory=list)

    def run(self, on_hour: Callable[[Hour], None]) -> None:
        """Let the day go by, then give everybody time to finish; `on_hour` hears of each hour at its end."""
        for minute in range(self.minutes):
            self.ask(self.jobs * (minute + 1) // self.minutes - self.asked)
            end = self.fleet.clock.now() + timedelta(minutes=1)
            self.work()
            self.fleet.clock.at = max(end, self.fleet.clock.now())
            if minute % UPKEEP_MINUTES == 0:
                self.keep_up()
            if (minute + 1) % max(1, self.minutes // HOURS) == 0:
                self.fleet.look_at_promises()
                self.tidy()
                for machine in self.fleet.machines:
                    machine.look()  # so that what is gone is let go of
                self.hours.append(self.measure(minute + 1))
                on_hour(self.hours[-1])
        self.fleet.settle()

    def ask(self, count: int) -> None:
        """Commit some intents together, as a person."""
        files: dict[str, str | None] = {}
        for number in range(self.asked, self.asked + count):
            kind, spec, _ = self.chance.choices(KINDS, [weight for _, _, weight in KINDS])[0]
            path, text = make_intent(kind, f"job-{number}", spec)
            path = path.replace("/acme/", f"/{self.fleet.sites[number % len(self.fleet.sites)]}/")
            self.fleet.intended[path] = kind
            files[path] = text
        self.asked += count
        if files:
            self.fleet.commit(files)

    def work(self) -> None:
        """Let daemons and nodes take turns; something breaks while steps are on their way."""
        for number in range(ROUNDS):
            machine = self.fleet.machines[len(self.passes) % len(self.fleet.machines)]
            began = time.process_time()
            machine.look()
            self.passes.append(time.process_time() - began)
            if number == 0:
                self.strike()
            self.fleet.deliver_all()
            self.fleet.clock.advance(seconds=10)

    def tidy(self) -> None:
        """Delete the intents of jobs that have ended, as a person, and what the model's nodes said of them."""
        done = [job for job in self.fleet.list_jobs() if job.status in ENDED]
        for node in self.fleet.nodes.values():
            for job in done:
                if job.id in node.diaries:
                    node.diaries[job.id].result = {}
        gone = [job.intent_path for job in done if job.intent_path in self.fleet.intended]
        removed = {path: None for path in gone if path and self.fleet.intended.pop(path)}
        if removed:
            self.fleet.commit(removed)

    def strike(self) -> None:
        """Let one thing break."""
        act = self.chance.choice(
            [self.arm, self.arm, self.arm, self.kill, self.lose, self.fail, self.forge, self.interfere]
        )
        act(self.chance.choice(self.fleet.machines))
        self.faults[act.__name__] += 1

    def arm(self, machine: Machine) -> None:
        """Let a daemon be killed, a disk be full, a remote be away, a push lose or lie at a fail point."""
        point = self.chance.choice(POINTS)
        machine.script.armed = {point: Armed(self.chance.choice(list(list_faults(point))))}

    def kill(self, machine: Machine) -> None:
        """Kill a daemon between two passes."""
        machine.die()

    def lose(self, _: Machine) -> None:
        """Lose a step on its way to the node, or its answer."""
        self.fleet.deliver(self.chance.randrange(100), fault=self.chance.choice(["before", "after"]))

    def fail(self, _: Machine) -> None:
        """Let a step fail on the node."""
        self.fleet.deliver(self.chance.randrange(100), fault="ANSIBLE_HOST_UNREACHABLE")

    def forge(self, _: Machine) -> None:
        """Write to `status/` by hand."""
        site = self.chance.choice(self.fleet.sites)
        self.remote.commit({f"status/{site}/ended.txt": None})

    def interfere(self, machine: Machine) -> None:
        """Push in the middle of a daemon's next pass: its push loses its race."""
        left = self.chance.randrange(1, 12)

        def meanwhile(_: object) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                self.remote.commit({"notes.md": str(self.chance.random()).encode()})

        machine.script.meanwhile = meanwhile

    def keep_up(self) -> None:
        """Let each daemon tend its mirror, as its watcher does every ten minutes."""
        for worker in self.fleet.workers:
            self.remote.daemons[worker].maintain()

    def measure(self, minute: int) -> Hour:
        """Look at what this process and its mirrors keep."""
        gc.collect()
        mirror = self.remote.find_mirror(self.fleet.workers[0])
        counted = subprocess.run(
            ["git", "-C", mirror, "count-objects", "-v"], capture_output=True, text=True, check=True
        )
        counts = dict(line.split(": ") for line in counted.stdout.splitlines())
        passes, self.passes = sorted(self.passes), []
        return Hour(
            minute=minute,
            jobs=sum(status in ENDED for status in self.fleet.ended.values()),
            kept_kib=max(measure_kept(machine) for machine in self.fleet.machines) // 1024,
            memory_mib=read_own_memory() / 2**20,
            open_files=self.remote.count_open(),
            mirror_mib=measure_folder(mirror) / 2**20,
            loose_objects=int(counts["count"]),
            pass_ms=1000 * passes[len(passes) // 2],
            faults=self.faults.total(),
        )


def read_own_memory() -> int:
    """Read how much memory of its own this process has, in bytes (proc(5), RssAnon)."""
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return next(int(words[1]) for words in lines if words[0] == "RssAnon:") * 1024


def measure_folder(folder: Path) -> int:
    """Sum up the sizes of all files of a folder, in bytes; what goes meanwhile does not count."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            total += path.stat().st_blocks * 512
    return total


@contextmanager
def begin_day(
    folder: Path, *, jobs: int, minutes: int, sites: int = SITES, seed: int = 1
) -> Iterator[LongDay]:
    """Make a fleet on real git and the day before it."""
    chance = Random(seed)
    with ExitStack() as opened:
        remote = GitRemote(folder, WORKERS, opened)
        opened.callback(remote.close)
        names = tuple(f"site-{number}" for number in range(sites))
        fleet = Fleet(names, WORKERS, chance, remote, max_jobs=16, policy=POLICY)
        yield LongDay(fleet, remote, chance, jobs, minutes)


def make_hour_table(hours: Sequence[Hour]) -> Iterator[str]:
    """Make the table of hours."""
    return make_table(
        (
            "minute",
            "jobs ended",
            "faults",
            "a daemon keeps, KiB",
            "memory, MiB",
            "open files",
            "mirror, MiB",
            "loose objects",
            "a pass, CPU ms",
        ),
        (
            (
                hour.minute,
                hour.jobs,
                hour.faults,
                hour.kept_kib,
                f"{hour.memory_mib:.0f}",
                hour.open_files,
                f"{hour.mirror_mib:.1f}",
                hour.loose_objects,
                f"{hour.pass_ms:.0f}",
            )
            for hour in hours
        ),
    )


def describe_day(day: LongDay) -> Iterator[str]:
    """Make the table and say how the jobs ended."""
    yield from make_hour_table(day.hours)
    ends = Counter(f"`{job.status} {job.error_code or ''}".strip() + "`" for job in day.fleet.list_jobs())
    yield ""
    yield (
        f"{day.jobs} jobs over {day.minutes} minutes, {day.faults.total()} faults, "
        f"{sum(machine.deaths for machine in day.fleet.machines)} deaths of daemons; "
        + ", ".join(f"{count} {end}" for end, count in ends.most_common())
        + f"; {len(day.fleet.broken_promises)} promises broken."
    )


def keep(day: LongDay, hour: Hour, *, writes: bool) -> None:
    """Tell of an hour, and keep what there is so far: a day that is broken off has told as much."""
    tell(str(hour))
    if writes:
        unfinished = (
            f"Under way: {hour.minute} of {day.minutes} minutes, {day.asked} of {day.jobs} jobs asked for."
        )
        write_page(MARK, [*make_hour_table(day.hours), "", unfinished])


def main(words: Sequence[str]) -> int:
    """Run a day, print it hour by hour, and write the page where asked to; returns 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.day", description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--minutes", type=int, default=HOURS * MINUTES, help="of the fake clock")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="keep the table")
    asked = parser.parse_args(words)
    silence()
    with (
        tempfile.TemporaryDirectory() as folder,
        begin_day(Path(folder), jobs=asked.jobs, minutes=asked.minutes, seed=asked.seed) as day,
    ):
        day.run(lambda hour: keep(day, hour, writes=asked.write))
        lines = list(describe_day(day))
    tell("\n".join([*lines, *day.fleet.broken_promises]))
    if asked.write:
        write_page(MARK, lines)
    return 1 if day.fleet.broken_promises else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
