"""Rivals measured fairly: in turns within one run, so that what else the machine does meets all of them."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

Contender = Callable[[], object]
Clock = Callable[[], float]


def race(
    contenders: Mapping[str, Contender], *, rounds: int, clock: Clock = time.perf_counter
) -> dict[str, float]:
    """Run all in turns, that many times; return each one's median in seconds of the clock."""
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for _round in range(rounds):
        for name, run in contenders.items():
            began = clock()
            run()
            taken[name].append(clock() - began)
    return {name: statistics.median(times) for name, times in taken.items()}


def make_cpu_clock(server: int) -> Clock:
    """Return a clock of the CPU time that we, our children and a server (process id) have used.

    On a machine that is busy with something else, it says more than the time that went by.
    """

    def read() -> float:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        threads = Path(f"/proc/{server}/task").glob("*/schedstat")
        served = sum(int(thread.read_text().split()[0]) for thread in threads)
        return time.process_time() + children.ru_utime + children.ru_stime + served / 1e9

    return read


def report(title: str, medians: Mapping[str, float], *, against: str) -> None:
    """Print medians, and each as a multiple of one of them."""
    sys.stdout.write(f"\n{title}\n")
    for name, seconds in medians.items():
        times = seconds / medians[against]
        sys.stdout.write(f"  {name:<44} {seconds * 1000:>10.1f} ms  {times:>7.2f} x {against}\n")


def run_shell(command: str, *, accepted: Sequence[int] = (0,)) -> str:
    """Run a pipeline of a rival, and return what it printed. Raises when it fails."""
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    if done.returncode not in accepted:
        raise RuntimeError(f"{command}: {done.returncode}: {done.stderr}")
    return done.stdout
