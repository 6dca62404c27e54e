"""With `allowed_signers` only what a commit signed by one of those keys brought is an intent."""

from __future__ import annotations

import pytest

from reconciler.ports import RunOutcome, RunSpec
from schemas.state import ErrorCode, JobStatus
from schemas.status import JobRecord
from tests.story import Story, make_fleet_files, make_intent

ADA, EVE, BOB = (f"ssh-ed25519 {letter * 68}" for letter in "ABC")
PROMOTION = make_intent("Promotion", "release", "{source: staging, target: production}")


def make_policy(*keys: str, more: str = "") -> dict[str, bytes | None]:
    named = ", ".join(f"{key} somebody" for key in keys)
    text = make_fleet_files(f"{{allowed_signers: [{named}]{more}}}")["pressluft.yaml"]
    return {"pressluft.yaml": text.encode()}


@pytest.fixture
def story() -> Story:
    story = Story()
    story.back_up()
    story.repo.commit_as_person(make_policy(ADA))
    story.run()
    return story


def ask(story: Story, *, signed: str | None, intent: tuple[str, str] = PROMOTION) -> JobRecord:
    path, text = intent
    story.repo.commit_as_person({path: text.encode()}, signed=signed)
    story.run()
    return next(job for job in story.list_recorded() if job.intent_path == path)


def test_a_signed_intent_is_carried_out(story: Story) -> None:
    assert ask(story, signed=ADA).status is JobStatus.SUCCEEDED


@pytest.mark.parametrize(
    ("signed", "said"),
    [
        pytest.param(None, "is not signed", id="unsigned"),
        pytest.param(EVE, "signed by none of them", id="a stranger"),
    ],
)
def test_an_intent_that_nobody_allowed_brought_is_refused_with_the_reason(
    story: Story, signed: str | None, said: str
) -> None:
    started = len(story.runner.started)
    job = ask(story, signed=signed)
    assert (job.status, job.error_code) == (JobStatus.FAILED, ErrorCode.INTENT_INVALID)
    assert said in str(job.error_message)
    assert len(story.runner.started) == started


def test_a_refused_intent_does_not_burn_the_name_of_a_signed_one(story: Story) -> None:
    path, text = PROMOTION
    assert ask(
        story, signed=None, intent=("intents/acme/squatter.yaml", text.replace("release", "squatter"))
    ).error_code
    assert ask(story, signed=None).error_code is ErrorCode.INTENT_INVALID
    other = text.replace("{source", "{reason: signed now, source")
    story.repo.commit_as_person({path: other.encode()}, signed=ADA)
    story.run()
    assert story.job("release").status is JobStatus.SUCCEEDED


def test_the_keys_are_taken_away_only_by_one_who_holds_one(story: Story) -> None:
    story.repo.commit_as_person({"pressluft.yaml": make_fleet_files()["pressluft.yaml"].encode()})
    job = ask(story, signed=None)
    assert job.error_code is ErrorCode.INTENT_INVALID
    waiting = ask(
        story, signed=ADA, intent=("intents/acme/later.yaml", PROMOTION[1].replace("release", "later"))
    )
    assert waiting.status is JobStatus.QUEUED
    assert "only a commit signed by one of the keys in force" in waiting.waiting_for[0].detail


@pytest.mark.parametrize("signed", [None, EVE])
def test_nobody_makes_himself_an_allowed_signer(story: Story, signed: str | None) -> None:
    story.repo.commit_as_person(make_policy(ADA, EVE), signed=signed)
    story.run()
    story.repo.commit_as_person({"docs/readme.md": b"x"}, signed=ADA)
    assert ask(story, signed=EVE).error_code is ErrorCode.INTENT_INVALID


def test_a_signed_edit_beside_it_does_not_bring_in_a_smuggled_key(story: Story) -> None:
    story.repo.commit_as_person(make_policy(ADA, EVE), signed=EVE)
    story.repo.commit_as_person(make_policy(ADA, EVE, more=", retention: 20d"), signed=ADA)
    assert ask(story, signed=EVE).error_code is ErrorCode.INTENT_INVALID


def test_one_who_holds_a_key_hands_it_on(story: Story) -> None:
    story.repo.commit_as_person(make_policy(BOB), signed=ADA)
    story.run()
    assert ask(story, signed=ADA).error_code is ErrorCode.INTENT_INVALID
    later = ("intents/acme/later.yaml", PROMOTION[1].replace("release", "later"))
    assert ask(story, signed=BOB, intent=later).status is JobStatus.SUCCEEDED


def test_the_keys_are_switched_off_by_a_signed_commit(story: Story) -> None:
    story.repo.commit_as_person({"pressluft.yaml": make_fleet_files()["pressluft.yaml"].encode()}, signed=ADA)
    assert ask(story, signed=None).status is JobStatus.SUCCEEDED
    assert story.repo.read_file(story.repo.store.heads["main"], "status/allowed-signers.txt") is None


def test_a_broken_policy_file_does_not_switch_the_keys_off(story: Story) -> None:
    story.repo.commit_as_person({"pressluft.yaml": b"kind: nonsense\n"}, signed=ADA)
    assert ask(story, signed=None).error_code is ErrorCode.INTENT_INVALID


def test_an_unsigned_cancel_stops_nothing(story: Story) -> None:
    story.runner.answer("stage", lambda _: None)
    job = ask(story, signed=ADA)
    stop = make_intent("Cancel", "stop", f"{{job_id: {job.id}}}")
    assert ask(story, signed=None, intent=stop).error_code is ErrorCode.INTENT_INVALID
    assert story.job("release").status is JobStatus.RUNNING
    stop = make_intent("Cancel", "stop-signed", f"{{job_id: {job.id}}}")
    story.repo.commit_as_person({stop[0]: stop[1].encode()}, signed=ADA)
    story.run()
    story.run()
    assert story.job("release").status is JobStatus.CANCELLED


def test_keys_that_are_asked_for_bind_a_job_that_was_admitted_without_up_to_its_cut_over() -> None:
    story = Story()
    story.back_up()

    def switch_on(spec: RunSpec) -> RunOutcome:
        story.repo.commit_as_person(make_policy(ADA))
        return story.node.answer(spec)

    story.runner.answer("stage", switch_on)
    job = ask(story, signed=None)
    assert (job.status, job.error_code) == (JobStatus.FAILED, ErrorCode.INTENT_INVALID)
    assert "cut_over" not in story.steps("release")


def test_keys_that_are_asked_for_bind_a_job_that_waits(story: Story) -> None:
    waiting = make_intent(
        "Promotion", "late", "{source: staging, target: production, not_before: '2030-01-01T00:00:00Z'}"
    )
    job = ask(story, signed=ADA, intent=waiting)
    assert job.status is JobStatus.QUEUED
    story.repo.commit_as_person(make_policy(BOB), signed=ADA)
    story.clock.advance(days=1500)
    story.run()
    assert story.job("late").error_code is ErrorCode.INTENT_INVALID
