"""A small part of the long day on real git: every promise is kept, and what has ended is let go of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.status import BackupRecord, JobRecord
from tests.faults.day import LongDay, begin_day
from tests.faults.fleet import ENDED
from tests.faults.kept import measure_kept

JOBS, MINUTES, SITES = 200, 12, 20
LITTLE = 100
"""Bytes for each job: a record of it is thirty times as much, the mark of a claim twice."""


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LongDay]:
    """A day that is over, and tidied up after."""
    with begin_day(tmp_path_factory.mktemp("day"), jobs=JOBS, minutes=MINUTES, sites=SITES) as day:
        day.run(lambda _: None)
        day.tidy()
        day.keep_up()
        for _ in range(10):  # until all backups have expired that may, and are cleaned up
            day.fleet.clock.advance(hours=1)
            for machine in day.fleet.machines:
                machine.look()
                day.fleet.deliver_all()
        yield day


def test_every_promise_is_kept_though_something_breaks_every_minute(day: LongDay) -> None:
    assert day.fleet.broken_promises == []
    jobs = day.fleet.list_jobs()
    assert {job.status for job in jobs} <= ENDED
    assert sum(job.intent_path is not None for job in jobs) == JOBS
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


def test_of_all_backups_a_daemon_keeps_those_that_have_not_expired(day: LongDay) -> None:
    for machine in day.fleet.machines:
        observer = machine.reconciler.observer
        backups = observer.read_status(day.remote.find_word()).backups
        records = [record for reader in observer._sites.values() for record in reader._records.values()]
        assert sum(isinstance(record, BackupRecord) for record in records) == sum(map(len, backups.values()))
        assert set(map(len, backups.values())) <= {1, 2}, "the newest, and what stands behind a release"
        assert None in records, "none has expired"


def test_a_daemon_that_lived_through_the_day_keeps_no_more_than_one_that_just_began(day: LongDay) -> None:
    for machine in day.fleet.machines:
        kept = measure_kept(machine)
        machine.start(keeps_runs=False)
        machine.look()
        assert kept < measure_kept(machine) + JOBS * LITTLE


def test_no_file_that_is_gone_is_held_open(day: LongDay) -> None:
    places = (str(file.readlink()) for file in Path("/proc/self/fd").iterdir() if file.is_symlink())
    assert [place for place in places if "mirror.git" in place and place.endswith("(deleted)")] == []
