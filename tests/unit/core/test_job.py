"""The life of a job: the table is all there is."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.job import (
    ENDED,
    TRANSITIONS,
    Cancelled,
    Deferred,
    Failed,
    JobEvent,
    Retried,
    Started,
    Succeeded,
    TakenOver,
    Waited,
    advance,
)
from reconciler.errors import IllegalTransition
from schemas.state import ErrorCode, JobStatus
from schemas.status import Blocked, JobRecord

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
REASONS = (Blocked(code=ErrorCode.FREEZE_WINDOW, detail="frozen", remedy="wait"),)
EVENTS: tuple[JobEvent, ...] = (
    Started(NOW, by="a", commit="0" * 40),
    TakenOver(NOW, by="b"),
    Waited(NOW, reasons=REASONS),
    Deferred(NOW, reasons=REASONS, run_after=NOW),
    Retried(NOW, run_after=NOW, code=ErrorCode.ANSIBLE_HOST_FAILED, message="x"),
    Succeeded(NOW, summary="done"),
    Failed(NOW, code=ErrorCode.SOURCE_CHANGED, message="x"),
    Cancelled(NOW, summary="stopped"),
)


def make_job() -> JobRecord:
    return JobRecord(id=uuid4(), status=JobStatus.QUEUED, site="acme", created_at=NOW, updated_at=NOW)


@given(st.lists(st.sampled_from(EVENTS), max_size=12))
def test_every_walk_stays_on_the_table(events: list[JobEvent]) -> None:
    job = make_job()
    for event in events:
        expected = TRANSITIONS.get((job.status, type(event)))
        if expected is None:
            with pytest.raises(IllegalTransition):
                advance(job, event)
            continue
        before, job = job, advance(job, event)
        assert job.status is expected
        assert job.epoch >= before.epoch
        assert JobRecord.model_validate(job.model_dump()) == job
        assert (job.finished_at is not None) == (job.status in ENDED)


@pytest.mark.parametrize("status", sorted(ENDED))
def test_an_ended_job_never_moves_again(status: JobStatus) -> None:
    assert not [key for key in TRANSITIONS if key[0] is status]


def test_every_claim_and_takeover_gets_an_epoch_of_its_own() -> None:
    job = advance(make_job(), EVENTS[0])
    taken = advance(job, EVENTS[1])
    assert (job.epoch, taken.epoch) == (1, 2)


def test_a_wait_for_a_gate_is_no_failed_attempt() -> None:
    job = advance(advance(make_job(), EVENTS[0]), EVENTS[3])
    assert (job.attempt_count, job.locked_by) == (0, None)
