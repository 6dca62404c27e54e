"""What an attacker does, for the tests of the gates."""

from __future__ import annotations

from uuid import UUID, uuid4

from reconciler.ports import RunOutcome, RunSpec, RunState
from schemas.document import dump
from schemas.state import BackupStatus, EnvironmentStatus
from schemas.status import BackupRecord, make_record_path
from tests.story import (
    PRODUCTION_ID,
    SITE_ID,
    Story,
    make_fleet_files,
)

STOP = make_fleet_files("{promotions: {enabled: false, reason: incident}}")["pressluft.yaml"]
CLONE_ID = UUID("11111111-1111-4111-8111-111111111111")


def forge_backup(story: Story, **changes: object) -> None:
    """Commit a backup record as a person."""
    now = story.clock.now()
    record = BackupRecord(
        id=uuid4(),
        status=BackupStatus.COMPLETED,
        site_id=SITE_ID,
        environment_id=PRODUCTION_ID,
        job_id=uuid4(),
        checksum="f" * 64,
        created_at=now,
        began_at=now,
        completed_at=now,
    ).model_copy(update=changes)
    story.commit({make_record_path(record, site="acme"): dump(record).decode()})


def commit_while(story: Story, step: str, files: dict[str, str | None] | dict[str, str]) -> None:
    """Let a person commit files while a step runs."""

    def answer(spec: RunSpec) -> RunOutcome:
        story.commit(dict(files))
        return story.node.answer(spec)

    story.runner.answer(step, answer)


def break_environment(story: Story) -> None:
    """Let a promotion fail so that production is failed."""
    story.node.overrides["cut_over"] = RunOutcome(
        RunState.FAILED,
        {"node": story.node.report(status="failed", cut="switched")},
        rc=2,
        code="ROLLBACK_FAILED",
        message="x",
        retry=False,
    )
    story.promote("breaking")
    del story.node.overrides["cut_over"]
    assert story.environment().status is EnvironmentStatus.FAILED
