"""What is read without a YAML parser is what the strict reader reads, or is left to it."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.canonical import glance_at_job, make_glance, read_canonical
from schemas.document import DocumentInvalid, dump, read_status
from schemas.state import ErrorCode, JobStatus, JobType
from schemas.status import BackupRecord, EnvironmentRecord, JobRecord

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=200) | st.sampled_from(
    [
        "null",
        "~",
        "010",
        "true",
        "a: b",
        "a #b",
        "- a",
        "'",
        "''",
        "|-",
        "a\n  b",
        "\n",
        " a",
        "a ",
        "a\n",
        "x:",
    ]
)
MOMENTS = st.datetimes(datetime(1971, 1, 1), datetime(2999, 1, 1)).map(  # noqa: DTZ001 - given a zone right after
    lambda moment: moment.replace(tzinfo=UTC, microsecond=moment.microsecond // 1000 * 1000)
)
JOBS = st.builds(
    JobRecord,
    id=st.uuids(),
    status=st.sampled_from([JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.SUCCEEDED]),
    job_type=st.none() | st.sampled_from(JobType),
    summary=TEXTS,
    site=st.just("acme"),
    site_id=st.none() | st.uuids(),
    environment_id=st.none() | st.uuids(),
    reason=st.none() | TEXTS,
    error_code=st.none() | st.sampled_from(ErrorCode),
    error_message=st.none() | TEXTS,
    notes=st.lists(TEXTS, max_size=2).map(tuple),
    created_at=MOMENTS,
    updated_at=MOMENTS,
)
NOW = datetime(2026, 3, 1, 12, 0, 5, 123000, tzinfo=UTC)
ID = UUID("7d9f2b1c-0f3a-4c55-9d3e-2b6f3a1c8e10")
JOB = JobRecord(
    id=ID, status=JobStatus.SUCCEEDED, summary="it's: done", site="acme", created_at=NOW, updated_at=NOW
)


def path_of(job_id: UUID) -> str:
    return f"status/acme/jobs/2026-03/{job_id}.yaml"


@given(JOBS)
@example(JOB)
def test_a_job_that_was_dumped_is_read_as_it_was_or_left_to_the_strict_reader(job: JobRecord) -> None:
    data = dump(job)
    quick = read_canonical(data, JobRecord, name=str(job.id))
    assert quick in {None, read_status(data, path=path_of(job.id))}
    assert glance_at_job(data, record_id=str(job.id)) in {None, make_glance(job)}


def test_an_ordinary_record_needs_no_parser() -> None:
    assert read_canonical(dump(JOB), JobRecord, name=str(ID)) == JOB
    assert glance_at_job(dump(JOB), record_id=str(ID)) == make_glance(JOB)
    record = EnvironmentRecord(id=ID, name="staging", site_id=ID, created_at=NOW, updated_at=NOW)
    assert read_canonical(dump(record), EnvironmentRecord, name="staging") == record


def test_several_lines_of_text_need_no_parser() -> None:
    job = JOB.model_copy(update={"error_message": "one. Next: two.\n\n  three: 'four'"})
    assert read_canonical(dump(job), JobRecord, name=str(ID)) == job


@given(st.data())
def test_a_byte_changed_by_hand_never_makes_the_two_readers_disagree(data: st.DataObject) -> None:
    written = dump(JOB)
    at = data.draw(st.integers(0, len(written)))
    piece = data.draw(
        st.sampled_from([b"", b"#", b"'", b"\n", b" ", b":", b"&a ", b"\t", b"- ", b"\xff", b"0"])
    )
    forged = written[:at] + piece + written[at + data.draw(st.integers(0, 2)) :]
    quick = read_canonical(forged, JobRecord, name=str(ID))
    if quick is not None:
        assert quick == read_status(forged, path=path_of(ID))


@pytest.mark.parametrize(
    "line", ["  status: running\n", "  unknown: 1\n", "  id: x\n", "  notes:\n  - a\n", "x: 1\n"]
)
def test_a_repeated_or_unknown_field_is_left_to_the_strict_reader(line: str) -> None:
    forged = dump(JOB) + line.encode()
    assert read_canonical(forged, JobRecord, name=str(ID)) is None


def test_a_record_under_another_name_or_of_another_kind_is_not_read() -> None:
    assert read_canonical(dump(JOB), JobRecord, name=str(UUID(int=1))) is None
    assert read_canonical(dump(JOB), BackupRecord, name=str(ID)) is None
    assert glance_at_job(dump(JOB), record_id=str(UUID(int=1))) is None
    with pytest.raises(DocumentInvalid):
        read_status(dump(JOB), path=path_of(UUID(int=1)))
