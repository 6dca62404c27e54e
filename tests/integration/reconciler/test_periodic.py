"""Periodic drift checks by a real daemon and real Ansible: silent while nothing changes, heard when it does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reconciler.daemon import Daemon
from reconciler.stack.mariadb import Login, MariaDB
from schemas.state import DriftStatus
from tests.integration.node.observed_pair import Pair, make_pair
from tests.plain_fleet import PlainFleet

PATIENCE_SECONDS = 180.0


@pytest.fixture
def pair(mariadb: MariaDB, database: Login, tmp_path: Path) -> Iterator[Pair]:
    other = f"{database.user}_s"
    mariadb.create_database(other)
    with mariadb.connect(database.user) as admin:
        yield make_pair(mariadb, admin, tmp_path, {"production": database.user, "staging": other})
    mariadb.drop_database(other)


@contextmanager
def running(daemon: Daemon) -> Iterator[None]:
    thread = threading.Thread(target=daemon.run)
    thread.start()
    try:
        yield
    finally:
        daemon.stop()
        daemon.stop()
        thread.join(timeout=PATIENCE_SECONDS)


def await_that(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.timeout(600)
def test_a_daemon_looks_by_itself_and_commits_only_what_is_new(
    mariadb: MariaDB, pair: Pair, tmp_path: Path
) -> None:
    fleet = PlainFleet(tmp_path, pair, mariadb, policy="{drift_check_interval: PT1S}")
    pair.take_baseline()
    fleet.ask_for_check("first")
    Daemon(fleet.settings).run_once()
    [first] = fleet.list_checks()
    assert first.status is DriftStatus.CLEAN
    before, logs = fleet.count_commits(), fleet.settings.state_dir / "logs"
    looks = len(list(logs.glob("*.log")))
    with running(Daemon(fleet.settings)):
        await_that(lambda: len(list(logs.glob("*.0.check.log"))) > 0)
        assert (fleet.count_commits(), looks) == (before, looks)
        pair.sql("INSERT INTO P.posts (post_title) VALUES ('Three')")
        await_that(lambda: fleet.count_commits() > before)
    newest, *_ = fleet.list_checks()
    assert (newest.status, fleet.count_commits()) == (DriftStatus.DRIFTED, before + 1)
    record = fleet.read_record()
    assert record is not None
    assert (record.drift_status, record.last_drift_check_id) == (DriftStatus.DRIFTED, newest.id)
    assert [item.samples for item in newest.resources if item.name == "posts"] == [("3",)]
