"""A promotion that refreshes first, on real WordPress: production never rests, the source has data of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from reconciler.stack.site import Site
from schemas.state import BackupScope, BackupStatus, JobStatus
from tests.e2e.world import World

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module", params=["ssh"])
def connection(request: pytest.FixtureRequest) -> str:
    """It takes a minute each; the way over SSH has all of the other one in it."""
    return str(request.param)


COMMENT = "INSERT INTO {p}comments (comment_author, comment_content) VALUES ('', %s)"


@contextmanager
def commented(site: Site) -> Iterator[list[str]]:
    """Let comments arrive all the time, far closer to each other than a refresh and its check are."""
    stop, written = threading.Event(), ["came before"]
    site.query(COMMENT, written[0])

    def write() -> None:
        while not stop.wait(0.2):
            text = f"comment number {len(written)}"
            site.query(COMMENT, text)
            written.append(text)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield written
    finally:
        stop.set()
        writer.join()


def read_comments(site: Site) -> set[str]:
    return {str(text) for (text,) in site.query("SELECT comment_content FROM {p}comments")}


def test_a_promotion_that_refreshes_goes_through_writes_that_never_end(world: World) -> None:
    assert world.refresh("full").status is JobStatus.SUCCEEDED
    world.edit_theme("2.0.0")
    world.staging.query(COMMENT, "only on staging")
    before = world.evidence()
    with commented(world.production) as written:
        job = world.promote(refresh="protected", backup="create")
    assert (job.status, job.error_message) == (JobStatus.SUCCEEDED, None)
    assert job.summary.endswith("visitors wrote meanwhile, and it is kept: comments")
    assert ">2.0.0<" in world.production.fetch("/").body
    assert set(written) <= read_comments(world.production)
    assert {name for name, _ in before.items() ^ world.evidence().items()} == {"table comments"}
    assert "came before" in read_comments(world.staging)
    assert "only on staging" not in read_comments(world.staging)
    staging = world.service.find_named("acme", "staging").environment.metadata.id
    taken = [backup for backup in world.service.list_backups(staging) if backup.job_id == job.id]
    assert [(one.backup_scope, one.status) for one in taken] == [(BackupScope.FULL, BackupStatus.COMPLETED)]
