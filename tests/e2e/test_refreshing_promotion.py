"""A promotion that refreshes first, on real WordPress: production moved, the source has data of its own."""

from __future__ import annotations

import pytest

from schemas.state import BackupScope, BackupStatus, JobStatus
from tests.e2e.world import World

pytestmark = pytest.mark.e2e


def test_a_promotion_that_refreshes_backs_the_source_up_and_goes_through_drift(world: World) -> None:
    assert world.refresh("full").status is JobStatus.SUCCEEDED
    world.edit_theme("2.0.0")
    world.staging.query(
        "INSERT INTO {p}comments (comment_author, comment_content) VALUES ('', 'only on staging')"
    )
    world.production.query(
        "INSERT INTO {p}comments (comment_author, comment_content) VALUES ('', 'came meanwhile')"
    )
    before = world.evidence()
    job = world.promote(refresh="protected", backup="create")
    assert (job.status, job.error_message) == (JobStatus.SUCCEEDED, None)
    assert ">2.0.0<" in world.production.fetch("/").body
    assert world.evidence() == before
    count = "SELECT COUNT(*) FROM {p}comments WHERE comment_content = %s"
    assert world.staging.query(count, "came meanwhile") == ((1,),)
    assert world.staging.query(count, "only on staging") == ((0,),)
    staging = world.service.find_named("acme", "staging").environment.metadata.id
    taken = [backup for backup in world.service.list_backups(staging) if backup.job_id == job.id]
    assert [(one.backup_scope, one.status) for one in taken] == [(BackupScope.FULL, BackupStatus.COMPLETED)]
