"""`make faults`: every fail point and many random days, with the table that docs/reference/fault-model.md keeps.

Prints each day that broke a promise with its seed: `python -m tests.faults --first SEED --seeds 1` is that day again.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import structlog

from tests.faults.fault import FailPoint, Fault, list_fail_points, list_faults
from tests.faults.schedule import Report, run_day
from tests.faults.story import list_passes, run_story

PAGE = Path("docs/reference/fault-model.md")
BEGIN, END = "<!-- begin of what `make faults` measured -->", "<!-- end of what `make faults` measured -->"
CRITICAL = 50  # structlog's number for what must be told


def main(words: Sequence[str]) -> int:
    """Run, print, and write the page where asked to; returns 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000, help="how many random days")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--write", action="store_true", help=f"keep the results in {PAGE}")
    asked = parser.parse_args(words)
    silence()
    with ProcessPoolExecutor(initializer=silence) as pool:
        points = dict(zip(list_fail_points(), pool.map(try_point, list_fail_points()), strict=True))
        days = list(pool.map(run_day, range(asked.first, asked.first + asked.seeds), chunksize=5))
    lines = [*make_point_table(points), "", *make_day_table(days)]
    tell("\n".join(lines))
    broken = [*(line for _, found in points.values() for line in found), *list_broken(days)]
    tell("\n".join(broken))
    if asked.write:
        write_page(lines)
    return 1 if broken else 0


def silence() -> None:
    """Let daemons keep their log to themselves."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(CRITICAL))


def try_point(point: FailPoint) -> tuple[Counter[Fault], list[str]]:
    """Try every fault at every pass of a point: how many days that were, and what they broke."""
    tried: Counter[Fault] = Counter()
    broken: list[str] = []
    for fault in list_faults(point):
        for passes in list_passes(run_story().met[point]):
            outcome = run_story(point, fault, passes=passes)
            tried[fault] += outcome.struck
            broken += [f"{fault} {point} after {passes} passes: {promise}" for promise in outcome.broken]
    return tried, broken


def make_point_table(points: dict[FailPoint, tuple[Counter[Fault], list[str]]]) -> Iterator[str]:
    """Make the table of fail points: how often each fault struck there, and how many promises it broke."""
    faults = list(Fault)
    yield "| fail point | " + " | ".join(faults) + " | promises broken |"
    yield "|---|" + "---|" * (len(faults) + 1)
    for point, (tried, broken) in points.items():
        if tried:
            counts = " | ".join(str(tried[fault] or "") for fault in faults)
            yield f"| {point} | {counts} | {len(broken)} |"


def make_day_table(days: Sequence[Report]) -> Iterator[str]:
    """Make the table of random days."""
    struck = sum((day.struck for day in days), Counter())
    jobs = sum((day.jobs for day in days), Counter())
    rows = {
        "random days": len(days),
        "seeds": f"{days[0].seed} to {days[-1].seed}",
        "days that broke a promise": sum(bool(day.broken) for day in days),
        "jobs": sum(jobs.values()),
        "cut-overs": sum(day.cuts for day in days),
        "daemons that died": sum(day.deaths for day in days),
        "faults that struck inside a pass": sum(struck.values()),
        **{f"jobs that ended `{status}`": count for status, count in jobs.most_common()},
    }
    yield from ("| | |", "|---|---|")
    yield from (f"| {what} | {value} |" for what, value in rows.items())


def list_broken(days: Sequence[Report]) -> Iterator[str]:
    """List the promises that days broke, each with how the day came there."""
    for day in days:
        if day.broken:
            yield f"seed {day.seed}: {'; '.join(day.broken)}"
            yield from (f"    {what}" for what in day.told[-15:])


def write_page(lines: Sequence[str]) -> None:
    """Put the results between their marks."""
    text = PAGE.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n" + "\n".join(lines) + f"\n\n{END}{after}")


def tell(text: str) -> None:
    """Print."""
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
