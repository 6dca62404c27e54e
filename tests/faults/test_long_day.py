"""A small part of the long day on real git: every promise is kept, and what has ended is let go of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.status import JobRecord
from tests.faults.day import LongDay, begin_day
from tests.faults.fleet import ENDED

JOBS, MINUTES, SITES = 200, 12, 20


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LongDay]:
    """A day that is over, and tidied up after."""
    with begin_day(tmp_path_factory.mktemp("day"), jobs=JOBS, minutes=MINUTES, sites=SITES) as day:
        day.run(lambda _: None)
        day.tidy()
        day.keep_up()
        for machine in day.fleet.machines:
            machine.look()
        yield day


def test_every_promise_is_kept_though_something_breaks_every_minute(day: LongDay) -> None:
    assert day.fleet.broken_promises == []
    jobs = day.fleet.list_jobs()
    assert (len(jobs), {job.status for job in jobs} <= ENDED) == (JOBS, True)
    assert day.faults.total() == MINUTES


def test_a_daemon_keeps_no_job_that_ended_and_no_intent_that_is_gone(day: LongDay) -> None:
    for machine in day.fleet.machines:
        observer = machine.reconciler.observer
        records = [record for reader in observer._sites.values() for record in reader._records.values()]
        assert records
        assert not any(isinstance(record, JobRecord) for record in records)
        assert not any(observer._intents.values())
        assert observer._admitted == {}
        assert machine.runner.runs == machine.runner.specs == {}


def test_no_file_that_is_gone_is_held_open(day: LongDay) -> None:
    places = (str(file.readlink()) for file in Path("/proc/self/fd").iterdir() if file.is_symlink())
    assert [place for place in places if "mirror.git" in place and place.endswith("(deleted)")] == []
