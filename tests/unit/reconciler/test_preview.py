"""What `pressluft plan` tells of an intent, from git alone."""

from __future__ import annotations

import pytest

from reconciler.core.world import IntentFile
from reconciler.preview import Preview
from reconciler.request import NotFound, Refused, hash_blob
from schemas.document import read_intent
from schemas.state import ErrorCode, JobStatus
from tests.story import CHANGED, Story, make_intent, make_resource

BOTH = "{source: staging, target: production}"
CONFLICT = make_resource(
    "options", protection="mergeable", production=CHANGED, source="sha256:" + "d" * 64, equal=False
)


def preview(story: Story, kind: str = "Promotion", spec: str = BOTH, *, name: str = "planned") -> Preview:
    """Preview an intent that nobody has committed."""
    path, text = make_intent(kind, name, spec)
    data = text.encode()
    return story.service.preview(IntentFile(path, "acme", hash_blob(data), read_intent(data, path=path)))


def list_codes(found: Preview) -> list[ErrorCode]:
    """List the codes of the shut gates."""
    return [reason.code for reason in found.unmet]


def make_ready(policy: str = "{}") -> Story:
    """Make a fleet in which a promotion could go."""
    story = Story(policy)
    story.back_up()
    check(story)
    return story


def check(story: Story) -> None:
    """Have a drift check on record."""
    story.intend("DriftCheck", f"check-{story.clock.now():%H%M%S}", "{environment: staging}")
    story.run()


def test_an_intent_whose_gates_are_open_can_go_and_its_steps_are_told() -> None:
    found = preview(make_ready())
    assert found.can_go
    assert not found.known
    assert found.steps == ("check-1 (env-promote)", "stage (env-promote)", "cut_over (env-promote)")


def test_the_fingerprint_is_that_of_the_last_check() -> None:
    found = preview(make_ready())
    assert found.check is not None
    assert found.check.source_fingerprint == "c" * 64


def test_looking_commits_nothing() -> None:
    story = make_ready()
    before = story.repo.fetch()
    preview(story)
    assert story.repo.fetch() == before


def test_in_a_fleet_that_was_never_met_check_and_backup_are_missing() -> None:
    found = preview(Story())
    assert list_codes(found) == [ErrorCode.DRIFT_GATE_UNMET, ErrorCode.BACKUP_GATE_UNMET]
    assert found.check is None
    assert not found.can_go


@pytest.mark.parametrize(
    ("policy", "code"),
    [
        pytest.param("{promotions: {enabled: false}}", ErrorCode.PROMOTIONS_DISABLED, id="stop"),
        pytest.param(
            "{freeze_windows: [{start: 2026-03-02T00:00:00, duration: P1D, time_zone: UTC}]}",
            ErrorCode.FREEZE_WINDOW,
            id="freeze",
        ),
    ],
)
def test_policy_that_forbids_promotions_is_told(policy: str, code: ErrorCode) -> None:
    assert code in list_codes(preview(make_ready(policy)))


def test_an_old_check_is_no_check() -> None:
    story = make_ready()
    story.clock.advance(minutes=16)
    assert list_codes(preview(story)) == [ErrorCode.DRIFT_GATE_UNMET]


def test_drift_on_record_is_told_but_not_to_an_intent_that_refreshes_first() -> None:
    story = Story()
    story.node.resources = [make_resource("posts", production=CHANGED)]
    story.back_up()
    check(story)
    assert list_codes(preview(story)) == [ErrorCode.DRIFT_GATE_UNMET]
    found = preview(story, spec="{source: staging, target: production, refresh: protected}")
    assert found.can_go
    assert found.steps[:2] == ("backup-1 (backup-create)", "refresh-1 (env-refresh)")


def test_a_conflict_on_record_is_told_unless_policy_overwrites() -> None:
    for policy, codes in (("{}", [ErrorCode.OVERWRITE_BLOCKED]), ("{overwrite_policy: warn}", [])):
        story = Story(policy)
        story.node.resources.append(CONFLICT)
        story.back_up()
        check(story)
        assert list_codes(preview(story)) == codes


def test_rest_is_told_of_a_conflict_on_record_too() -> None:
    story = Story()
    story.node.resources.append(CONFLICT)
    story.back_up()
    check(story)
    path, text = make_intent("Promotion", "planned", BOTH)
    promotion = read_intent(text.encode(), path=path)
    codes = [reason.code for reason in story.service.find_unmet("acme", promotion)]  # type: ignore[arg-type]
    assert codes == [ErrorCode.OVERWRITE_BLOCKED]


@pytest.mark.parametrize(("pin", "codes"), [("c" * 64, []), ("d" * 64, [ErrorCode.SOURCE_CHANGED])])
def test_a_pin_is_compared_with_the_last_check(pin: str, codes: list[ErrorCode]) -> None:
    spec = f"{{source: staging, target: production, pin: {pin}}}"
    assert list_codes(preview(make_ready(), spec=spec)) == codes


def test_an_intent_that_names_what_is_not_there_is_refused_by_name() -> None:
    with pytest.raises(Refused, match="no environment 'nowhere'"):
        preview(Story(), spec="{source: nowhere, target: production}")


def test_an_intent_that_has_ended_would_do_nothing() -> None:
    story = make_ready()
    story.promote("planned")
    found = preview(story)
    assert found.known
    assert found.job.status is JobStatus.SUCCEEDED
    assert not found.can_go


def test_an_edit_of_an_admitted_intent_is_told_to_change_nothing() -> None:
    story = Story()
    story.promote("planned", "{source: staging, target: production, wait: PT2H}")
    found = preview(story)
    assert found.known
    assert "later edits change nothing" in found.notes[0]


def test_a_refresh_says_what_it_takes_away() -> None:
    found = preview(make_ready(), "Refresh", "{environment: staging}")
    assert found.can_go
    assert found.source == "staging"


def test_a_cancellation_says_which_job_it_is_about() -> None:
    story = Story()
    job = story.promote("waiting", "{source: staging, target: production, wait: PT2H}")
    found = preview(story, "Cancel", f"{{job_id: {job.id}}}")
    assert found.job == job
    with pytest.raises(NotFound):
        preview(story, "Cancel", "{job_id: 6ba7b810-9dad-11d1-80b4-00c04fd430c8}")


def test_a_backup_that_grew_old_meanwhile_is_told() -> None:
    story = make_ready()
    story.clock.advance(hours=1)
    check(story)
    assert list_codes(preview(story)) == [ErrorCode.BACKUP_GATE_UNMET]
