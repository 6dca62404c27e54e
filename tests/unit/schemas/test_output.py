"""What is written reads back as the same value, for whatever values there are."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.document import dump, read_document, read_status
from schemas.fleet import Fleet, FleetSpec, FreezeWindow, Promotions
from schemas.intent import Promotion, PromotionSpec, Reset, ResetSpec, Rollback, RollbackSpec
from schemas.model import Metadata
from schemas.state import (
    BackupStatus,
    DriftStatus,
    EnvironmentStatus,
    ErrorCode,
    JobStatus,
    JobType,
    Preset,
    Proof,
    ResourceClass,
    ResourceKind,
    Verdict,
)
from schemas.status import (
    BackupRecord,
    Blocked,
    DriftCheckRecord,
    EnvironmentRecord,
    JobRecord,
    MergePlan,
    ResourceChange,
    ResourceVerdict,
    SiteRecord,
    StatusRecord,
    make_record_path,
)
from tests.unit.schemas.documents import ALL, PROMOTION, PROMOTION_PATH

IDS = st.uuids()
NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
LOCAL_TIMES = st.datetimes(datetime(1970, 1, 2), datetime(2999, 12, 30))  # noqa: DTZ001 - local on purpose
MOMENTS = LOCAL_TIMES.map(lambda moment: moment.replace(tzinfo=UTC))
AWKWARD = (
    *("null", "~", "no", "on", "010", "1:30", "2026-01-02", "{", "&a", "*a", "!x", "|", "'", '"', "\\", "---", "..."),
    *("- x", "# x", "a: b", " lead", "trail ", "two\nlines", "\nfirst", "last\n", "  in\n out", "a\n\n\nb\n\n", "\t"),
)  # fmt: skip
MESSAGES = st.text(max_size=80) | st.sampled_from(AWKWARD)
COUNTS = st.integers(0, 2**53)
CHANGES = st.lists(st.builds(ResourceChange, kind=st.sampled_from(ResourceKind), name=MESSAGES), max_size=3)
BLOCKED = st.builds(Blocked, code=st.sampled_from(ErrorCode), detail=MESSAGES, remedy=MESSAGES)
HEX = st.text("0123456789abcdef", min_size=64, max_size=64)

JOBS = st.builds(
    JobRecord,
    id=IDS,
    status=st.sampled_from(sorted(set(JobStatus) - {JobStatus.FAILED})),
    job_type=st.none() | st.sampled_from(JobType),
    summary=MESSAGES,
    site=NAMES,
    environment_id=st.none() | IDS,
    intent_path=st.none() | MESSAGES,
    epoch=COUNTS,
    waiting_for=st.lists(BLOCKED, max_size=3),
    notes=st.lists(MESSAGES, max_size=3),
    error_code=st.none() | st.sampled_from(ErrorCode),
    error_message=st.none() | MESSAGES,
    locked_at=st.none() | MOMENTS,
    created_at=MOMENTS,
    updated_at=MOMENTS,
)
ENVIRONMENTS = st.builds(
    EnvironmentRecord,
    id=IDS,
    name=NAMES,
    site_id=IDS,
    status=st.sampled_from(EnvironmentStatus),
    last_change_at=st.none() | MOMENTS,
    notes=st.lists(MESSAGES, max_size=3),
    created_at=MOMENTS,
    updated_at=MOMENTS,
)
SITES = st.builds(
    SiteRecord, id=IDS, name=NAMES, created_at=MOMENTS, updated_at=MOMENTS, state_version=COUNTS
)
BACKUPS = st.builds(
    BackupRecord,
    id=IDS,
    status=st.sampled_from(BackupStatus),
    site_id=IDS,
    environment_id=IDS,
    job_id=IDS,
    checksum=st.none() | HEX,
    size_bytes=st.none() | COUNTS,
    created_at=MOMENTS,
)
VERDICTS = st.builds(
    ResourceVerdict,
    kind=st.sampled_from(ResourceKind),
    name=MESSAGES,
    protection=st.sampled_from(ResourceClass),
    verdict=st.sampled_from(Verdict),
    proof=st.sampled_from(Proof),
    before=st.none() | MESSAGES,
    samples=st.lists(MESSAGES, max_size=3),
)
CHECKS = st.builds(
    DriftCheckRecord,
    id=IDS,
    status=st.sampled_from(DriftStatus),
    site=NAMES,
    job_id=IDS,
    source_environment_id=IDS,
    target_environment_id=IDS,
    promotion_preset=st.sampled_from(Preset),
    protection_digest=HEX,
    checked_at=MOMENTS,
    resources=st.lists(VERDICTS, max_size=3),
    merge=st.builds(MergePlan, promoted=CHANGES, conflicts=CHANGES, unchanged=COUNTS),
)


@settings(deadline=None)
@given(st.one_of(JOBS, ENVIRONMENTS, SITES, BACKUPS, CHECKS))
def test_a_record_reads_back_as_it_was_written(record: StatusRecord) -> None:
    site = record.name if isinstance(record, SiteRecord) else "acme"
    written = dump(record)
    assert read_status(written, path=make_record_path(record, site=site)) == record
    assert dump(record) == written


TEXTS = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp", "Cn", "Cf")), min_size=1, max_size=60
)
LENGTHS = st.integers(1, 366 * 86_400).map(lambda seconds: timedelta(seconds=seconds))
PROMOTIONS = st.builds(
    Promotion,
    metadata=st.builds(Metadata, name=NAMES, id=st.none() | IDS),
    spec=st.builds(
        PromotionSpec,
        source=NAMES,
        target=st.just("the-target"),
        reason=st.none() | TEXTS | MESSAGES.filter(lambda text: text.isprintable() and text != ""),
        wait=st.none() | LENGTHS.filter(lambda length: length <= timedelta(days=7)),
        not_before=st.none() | MOMENTS,
    ),
)
FLEETS = st.builds(
    Fleet,
    metadata=st.builds(Metadata, name=NAMES),
    spec=st.builds(
        FleetSpec,
        retention=LENGTHS,
        drift_check_interval=st.none() | LENGTHS,
        promotions=st.builds(Promotions, enabled=st.booleans(), reason=st.none() | TEXTS),
        freeze_windows=st.lists(st.builds(FreezeWindow, start=LOCAL_TIMES, duration=LENGTHS), max_size=2),
        allowed_signers=st.none() | st.lists(st.just(f"ssh-ed25519 {'A' * 68} ada"), max_size=2),
    ),
)


@settings(deadline=None)
@given(st.one_of(PROMOTIONS, FLEETS))
def test_a_document_reads_back_as_it_was_written(document: Promotion | Fleet) -> None:
    assert read_document(dump(document), path="draft.yaml") == document


@pytest.mark.parametrize(("path", "data"), ALL.items(), ids=ALL.keys())
def test_a_document_of_people_survives_being_written(path: str, data: bytes) -> None:
    document = read_document(data, path=path)
    assert read_document(dump(document), path=path) == document


def test_a_written_intent_is_as_short_as_a_person_s() -> None:
    assert dump(read_document(PROMOTION, path=PROMOTION_PATH)).decode() == (
        "apiVersion: pressluft/v1\n"
        "kind: Promotion\n"
        "metadata:\n"
        "  name: spring-release\n"
        "spec:\n"
        "  source: staging\n"
        "  target: production\n"
        "  reason: New checkout theme\n"
    )


def test_an_empty_spec_is_written() -> None:
    reset = Reset(metadata=Metadata(name="x"), spec=ResetSpec())
    assert dump(reset).endswith(b"spec: {}\n")


def test_an_empty_list_that_is_no_default_is_written() -> None:
    nobody = Fleet(metadata=Metadata(name="x"), spec=FleetSpec(allowed_signers=()))
    document = read_document(dump(nobody), path="pressluft.yaml")
    assert isinstance(document, Fleet)
    assert document.spec.allowed_signers == ()


def test_equal_values_are_written_without_anchors() -> None:
    rollback = Rollback(metadata=Metadata(name="x"), spec=RollbackSpec(environment="a", overwrite=("t", "t")))
    assert b"&" not in dump(rollback)


def test_other_yaml_readers_see_the_same_texts() -> None:
    job = make_job(summary="no", notes=("010", "2026-01-02"))
    spec = yaml.safe_load(dump(job))["spec"]
    assert (spec["summary"], spec["notes"]) == ("no", ["010", "2026-01-02"])
    assert spec["created_at"] == "2026-01-02T03:04:05Z"


def test_several_lines_are_written_as_several_lines() -> None:
    written = dump(make_job(summary="What happened.\nWhat to do next.")).decode()
    assert "  summary: |-\n    What happened.\n    What to do next.\n" in written


def test_a_failed_job_says_why() -> None:
    with pytest.raises(ValidationError):
        JobRecord(**make_job().model_dump() | {"status": JobStatus.FAILED})
    with pytest.raises(ValidationError):
        JobRecord(
            **make_job().model_dump() | {"status": JobStatus.FAILED, "error_code": ErrorCode.JOB_TIMEOUT}
        )


def test_a_verdict_has_at_most_20_samples() -> None:
    with pytest.raises(ValidationError):
        ResourceVerdict(
            kind=ResourceKind.TABLE,
            name="posts",
            protection=ResourceClass.PROTECTED,
            verdict=Verdict.DRIFTED,
            proof=Proof.DIGEST,
            samples=tuple(str(key) for key in range(21)),
        )


def make_job(*, summary: str = "", notes: tuple[str, ...] = ()) -> JobRecord:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    return JobRecord(
        id=UUID("7d9f2b1c-0f3a-4c55-9d3e-2b6f3a1c8e10"),
        status=JobStatus.QUEUED,
        site="acme",
        summary=summary,
        notes=notes,
        created_at=moment,
        updated_at=moment,
    )
