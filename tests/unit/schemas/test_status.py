from datetime import UTC, datetime
from uuid import UUID

import pytest

from schemas.document import DocumentInvalid, dump, read_status
from schemas.state import DriftStatus, JobStatus, Preset
from schemas.status import DriftCheckRecord, JobRecord, ResourceChange, make_record_path

ID = UUID("7d9f2b1c-0f3a-4c55-9d3e-2b6f3a1c8e10")
MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
JOB = JobRecord(id=ID, status=JobStatus.QUEUED, site="acme", created_at=MOMENT, updated_at=MOMENT)
JOB_PATH = f"status/acme/jobs/2026-01/{ID}.yaml"


def read_invalid(data: bytes, *, path: str = JOB_PATH) -> DocumentInvalid:
    with pytest.raises(DocumentInvalid) as caught:
        read_status(data, path=path)
    return caught.value


def test_a_record_lies_in_the_month_of_its_creation() -> None:
    assert make_record_path(JOB, site="acme") == JOB_PATH


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        pytest.param("status: queued", "status: done", "spec.status", id="unknown status"),
        pytest.param("site: acme", "site: acme\n  sight: x", "spec.sight", id="unknown field"),
        pytest.param("site: acme", f"site: acme\n  id: {ID}", "spec.id", id="id at the wrong place"),
        pytest.param("epoch: 0", "epoch: zero", "spec.epoch", id="no number"),
        pytest.param("epoch: 0", "epoch: '0'", "spec.epoch", id="quoted number"),
        pytest.param("epoch: 0", "epoch: -1", "spec.epoch", id="negative number"),
        pytest.param(f"  id: {ID}\n", "", "metadata.id", id="no id"),
        pytest.param("  id: 7d", "  id: 8d", "metadata.name", id="another id than the name's"),
        pytest.param("status: queued", "status: failed", "spec.error_code", id="failed without a code"),
    ],
)
def test_a_wrong_record_is_refused_at_the_field(old: str, new: str, field: str) -> None:
    text = dump(JOB).decode()
    assert old in text
    assert read_invalid(text.replace(old, new, 1).encode()).field == field


def test_a_record_under_another_s_name_is_refused() -> None:
    path = JOB_PATH.replace("7d9f", "8d9f")
    assert read_invalid(dump(JOB), path=path).field == "metadata.name"


def test_a_record_may_be_longer_than_what_people_write() -> None:
    kept = [ResourceChange(kind="option", name=f"option_{number}") for number in range(3_000)]
    check = DriftCheckRecord(
        id=ID,
        status=DriftStatus.CLEAN,
        site="acme",
        job_id=ID,
        source_environment_id=ID,
        target_environment_id=ID,
        promotion_preset=Preset.CONTENT_PROTECT,
        protection_digest="0" * 64,
        checked_at=MOMENT,
        merge={"kept": kept},
    )
    written = dump(check)
    assert len(written) > 64 * 1024
    assert read_status(written, path=make_record_path(check, site="acme")) == check
