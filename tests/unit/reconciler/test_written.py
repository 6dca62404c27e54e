"""Whatever a node answers, the daemon writes nothing that it cannot read back."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from reconciler.ports import Json, RunOutcome, RunSpec, RunState
from schemas.document import DocumentInvalid, PathKind, classify_path, read_status
from schemas.state import EnvironmentStatus, ErrorCode, JobStatus
from tests.fake_node import make_story
from tests.story import PRODUCTION_ID, Story, make_resource


@pytest.fixture
def story() -> Story:
    return Story()


def list_unreadable(story: Story) -> list[str]:
    """List the records on record that the strict reader refuses."""
    tip = story.repo.fetch().status or ""
    refused = []
    for path, content in story.repo.store.commits[tip].files.items():
        if path.startswith("status/") and classify_path(path) is not PathKind.ENDED:
            try:
                read_status(content if isinstance(content, bytes) else b"", path=path)
            except DocumentInvalid as error:
                refused.append(str(error))
    return refused


@pytest.mark.parametrize(
    "snapshot",
    [
        pytest.param("sha256:" + "f" * 64, id="with its algorithm"),
        pytest.param("f" * 8, id="short"),
        pytest.param("", id="empty"),
        pytest.param("F" * 64, id="in capitals"),
        pytest.param(None, id="null"),
        pytest.param(7, id="a number"),
    ],
)
def test_a_backup_of_any_name_is_on_record_readably_or_failed(story: Story, snapshot: Json) -> None:
    now = story.node.stamp(story.clock.now())
    made: Json = {
        "snapshot_id": snapshot,
        "began_at": now,
        "ended_at": now,
        "size_bytes": 1,
        "repository": "/b",
    }
    story.runner.answer("backup", lambda _: succeed(story, {"backup": made}))
    story.back_up()
    job = story.list_recorded()[0]
    assert list_unreadable(story) == []
    if job.status is JobStatus.SUCCEEDED:
        assert story.service.list_backups(PRODUCTION_ID)[0].checksum == "f" * 64
    else:
        assert job.error_code is ErrorCode.ANSIBLE_UNEXPECTED_ERROR


def succeed(story: Story, result: Mapping[str, Json]) -> RunOutcome:
    """Make the outcome of a run that says it did its work."""
    return RunOutcome(RunState.SUCCEEDED, {**result, "node": story.node.report()}, rc=0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        pytest.param("size_bytes", -1, id="a negative size"),
        pytest.param("size_bytes", 2**70, id="a huge size"),
        pytest.param("began_at", "1969-01-01T00:00:00Z", id="before the epoch"),
        pytest.param("ended_at", "9999-12-31T23:59:59Z", id="at the calendar's end"),
        pytest.param("repository", "\x00\x1b[31m\ud800/b", id="control characters"),
        pytest.param("repository", "x" * 50_000, id="an endless place"),
    ],
)
def test_a_backup_with_an_odd_answer_is_on_record_readably_or_failed(
    story: Story, field: str, value: Json
) -> None:
    now = story.node.stamp(story.clock.now())
    made: dict[str, Json] = {
        "snapshot_id": "f" * 64,
        "began_at": now,
        "ended_at": now,
        "size_bytes": 1,
        "repository": "/b",
        field: value,
    }
    story.runner.answer("backup", lambda _: succeed(story, {"backup": made}))
    story.back_up()
    assert list_unreadable(story) == []
    assert story.list_recorded()[0].status in {JobStatus.SUCCEEDED, JobStatus.FAILED}


@pytest.mark.parametrize(
    "resource",
    [
        pytest.param(make_resource("posts", samples=[str(n) for n in range(21)]), id="21 samples"),
        pytest.param(make_resource("posts", samples=["\udcff\x00"]), id="a sample that is no text"),
        pytest.param(make_resource("p" * 20_000), id="an endless name"),
        pytest.param(make_resource("posts", production="sha256:" + "z" * 9), id="an odd digest"),
        pytest.param(make_resource("posts", proof="faith"), id="an unknown proof"),
        pytest.param({"kind": "table"}, id="half a resource"),
    ],
)
def test_a_check_with_an_odd_answer_ends_its_job_readably(story: Story, resource: Json) -> None:
    story.back_up()
    story.node.resources = [resource]
    job = story.promote()
    assert job.status in {JobStatus.FAILED, JobStatus.SUCCEEDED}
    assert list_unreadable(story) == []
    assert story.environment().status is EnvironmentStatus.ACTIVE


@pytest.mark.parametrize("fingerprint", ["", "c" * 64, "sha256:" + "c" * 10, "md5:" + "c" * 32])
def test_a_fingerprint_of_any_shape_ends_the_job_readably(
    story: Story, monkeypatch: pytest.MonkeyPatch, fingerprint: str
) -> None:
    story.back_up()
    made = {**story.node.observation(), "source_fingerprint": fingerprint}
    monkeypatch.setattr(type(story.node), "observation", lambda _: made)
    job = story.promote()
    assert list_unreadable(story) == []
    assert (job.status is JobStatus.SUCCEEDED) == (len(fingerprint) == 64)
    assert ("cut_over" in story.steps("release")) == (len(fingerprint) == 64)


@pytest.mark.parametrize(
    "message",
    [
        pytest.param("\udcff\ud800 broken surrogates", id="surrogates"),
        pytest.param("\x00\x07\x1b[2J", id="control characters"),
        pytest.param("\u2028\ufeff\x85", id="odd spaces"),
        pytest.param("\U0001f4a5" * 20_000, id="endless"),
        pytest.param("", id="empty"),
        pytest.param(" \n\n Pressluft-Status: succeeded\n", id="a trailer"),
        pytest.param("- a: [\n: {", id="yaml"),
    ],
)
@pytest.mark.parametrize("step", ["check-1", "stage", "cut_over"])
def test_any_message_of_a_failure_is_on_record_readably(story: Story, step: str, message: str) -> None:
    story.back_up()
    story.node.overrides[step] = RunOutcome(
        RunState.FAILED,
        {"node": story.node.report(cut="reversed")},
        rc=2,
        code="HEALTH_CHECK_FAILED",
        message=message,
        retry=False,
    )
    job = story.promote()
    assert (job.status, job.error_code) == (JobStatus.FAILED, ErrorCode.HEALTH_CHECK_FAILED)
    assert job.error_message
    assert len(job.error_message.encode()) <= 10 * 1024
    assert list_unreadable(story) == []


@pytest.mark.parametrize("code", ["", "NO_SUCH_CODE", "health_check_failed", None])
def test_any_code_of_a_failure_ends_the_job_with_one_of_ours(story: Story, code: str | None) -> None:
    story.back_up()
    story.node.overrides["check-1"] = RunOutcome(
        RunState.FAILED, {}, rc=9, code=code, message="x", retry=False
    )
    assert story.promote().error_code is ErrorCode.ANSIBLE_UNKNOWN_EXIT


@pytest.mark.parametrize(
    "report",
    [
        pytest.param(None, id="nothing"),
        pytest.param("active", id="a text"),
        pytest.param({"status": "active", "last_change_at": "yesterday"}, id="a time that is none"),
    ],
)
def test_a_cut_over_that_succeeded_is_told_so_whatever_is_said_beside(story: Story, report: Json) -> None:
    story.back_up()
    story.node.overrides["cut_over"] = RunOutcome(RunState.SUCCEEDED, {"node": report}, rc=0)
    job = story.promote()
    assert job.status is JobStatus.SUCCEEDED
    assert story.environment().last_change_at is not None


def test_a_backup_survives_the_failure_of_its_promotion() -> None:
    story, node = make_story()

    def fail_once(spec: RunSpec) -> str:
        return "IDENTITY_MISMATCH" if spec.step == "check-1" else ""

    node.fault = fail_once
    story.promote(spec="{source: staging, target: production, backup: create}")
    for _ in range(3):
        story.clock.advance(minutes=6)
        story.run()
    assert story.job("release").error_code is ErrorCode.IDENTITY_MISMATCH
    assert story.service.list_backups(PRODUCTION_ID)
