"""`make faults`: every fail point and many random days, with the table that docs/reference/fault-model.md keeps.

Prints each day that broke a promise with its seed: `python -m tests.faults --first SEED --seeds 1` is that day again.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor

from tests.faults.fault import FailPoint, Fault, list_fail_points, list_faults
from tests.faults.page import PAGE, make_table, silence, tell, write_page
from tests.faults.schedule import Report, run_day
from tests.faults.story import list_passes, run_story

MARK = "what `make faults` measured"


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
        write_page(MARK, lines)
    return 1 if broken else 0


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
    return make_table(
        ("fail point", *faults, "promises broken"),
        (
            (point, *(tried[fault] or "" for fault in faults), len(broken))
            for point, (tried, broken) in points.items()
            if tried
        ),
    )


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
    return make_table(("", ""), rows.items())


def list_broken(days: Sequence[Report]) -> Iterator[str]:
    """List the promises that days broke, each with how the day came there."""
    for day in days:
        if day.broken:
            yield f"seed {day.seed}: {'; '.join(day.broken)}"
            yield from (f"    {what}" for what in day.told[-15:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
