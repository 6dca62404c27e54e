"""What is broken is said with a code, a message and a next step, and nothing live changes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from reconciler.ports import Branch, CommitMessage
from schemas.state import EnvironmentStatus, ErrorCode, JobStatus
from schemas.status import JobRecord
from tests.e2e.world import World

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module", params=["local"])
def connection(request: pytest.FixtureRequest) -> str:
    """Locally; the unreachable node is one over SSH."""
    return str(request.param)


@pytest.fixture(scope="module", autouse=True)
def _ready(world: World) -> None:
    assert world.refresh("full").status is JobStatus.SUCCEEDED
    world.edit_theme("5.0.0")


def commit_file(world: World, path: str, text: str) -> None:
    """Commit a file as a person would."""
    tip = world.service.repo.fetch()
    changes = {path: text.encode()}
    world.service.repo.push_changes(
        Branch.INTENTS, expected=tip.intents, changes=changes, message=CommitMessage(f"Edit {path}")
    )


@contextmanager
def without_database(world: World) -> Iterator[None]:
    """Stop the database server for a while."""
    world.production.stack.mariadb.stop()
    try:
        yield
    finally:
        world.production.stack.mariadb.start()


@contextmanager
def without_backups(world: World) -> Iterator[None]:
    """Take the backup storage away for a while."""
    storage = world.folder / "restic"
    storage.rename(world.folder / "elsewhere")
    try:
        yield
    finally:
        (world.folder / "elsewhere").rename(storage)


@contextmanager
def unreachable(world: World) -> Iterator[None]:
    """Let the node's file name a port where nobody listens."""
    path = "nodes/local.yaml"
    tip = world.service.repo.fetch()
    folder = world.service.repo.read_folder(str(tip.intents), "nodes")
    assert folder is not None
    text = world.service.repo.read_blob(folder.entries[0].oid).decode()
    commit_file(world, path, text.replace("host: localhost", "host: 127.0.0.1\n  port: 9"))
    try:
        yield
    finally:
        commit_file(world, path, text)


def check_nothing_changed(world: World, before: object) -> None:
    """Look at production by plain means."""
    assert world.evidence() == before
    assert ">5.0.0<" not in world.production.fetch("/").body
    entry = world.service.find_named("acme", "production")
    assert entry.record is not None
    assert entry.record.status is EnvironmentStatus.ACTIVE


def check_explained(job: JobRecord, code: ErrorCode) -> None:
    """A failed or retried attempt has a code and a message that says what to do."""
    assert job.error_code is code
    assert job.error_message
    assert job.status in {JobStatus.FAILED, JobStatus.QUEUED}


def test_a_missing_backup_storage_is_named_and_keeps_the_gate_shut(world: World) -> None:
    before = world.evidence()
    assert world.back_up().status is JobStatus.SUCCEEDED
    with without_backups(world):
        check_explained(world.promote(), ErrorCode.BACKUP_GATE_UNMET)
        check_explained(world.back_up(), ErrorCode.BACKUP_INVALID)
    check_nothing_changed(world, before)


def test_a_dead_database_makes_the_job_wait_for_another_attempt(world: World) -> None:
    before = world.evidence()
    world.back_up()
    with without_database(world):
        job = world.promote()
    check_explained(job, ErrorCode.ANSIBLE_HOST_FAILED)
    assert (job.status, job.attempt_count) == (JobStatus.QUEUED, 1)
    check_nothing_changed(world, before)
    world.withdraw(job)


def test_an_unreachable_node_makes_the_job_wait_for_another_attempt(world: World) -> None:
    before = world.evidence()
    world.back_up()
    with unreachable(world):
        job = world.promote()
    check_explained(job, ErrorCode.ANSIBLE_HOST_UNREACHABLE)
    assert (job.status, job.attempt_count) == (JobStatus.QUEUED, 1)
    check_nothing_changed(world, before)
    world.withdraw(job)


def test_a_malformed_intent_fails_with_its_place_and_its_corrected_version_runs(world: World) -> None:
    path = "intents/acme/spring.yaml"
    good = (
        "apiVersion: pressluft/v1\nkind: DriftCheck\nmetadata: {name: spring}\nspec: {environment: staging}\n"
    )
    commit_file(world, path, good.replace("environment", "enviroment"))
    world.run_daemon()
    broken = next(job for job in world.service.list_jobs() if job.intent_path == path)
    assert (broken.status, broken.error_code) == (JobStatus.FAILED, ErrorCode.INTENT_INVALID)
    assert f"{path}:4:" in str(broken.error_message)
    commit_file(world, path, good)
    world.run_daemon()
    assert {job.status for job in world.service.list_jobs() if job.intent_path == path} == {
        JobStatus.FAILED,
        JobStatus.SUCCEEDED,
    }


def test_after_all_that_a_promotion_still_succeeds(world: World) -> None:
    world.back_up()
    job = world.promote()
    assert (job.status, job.error_message) == (JobStatus.SUCCEEDED, None)
    assert ">5.0.0<" in world.production.fetch("/").body
