"""Ways to pass a gate by the intent itself: replayed, renamed, restored, copied, raced or written cleverly."""

from __future__ import annotations

import pytest

from schemas.state import ErrorCode, JobStatus
from tests.fake_node import FakeNode, make_story
from tests.story import STAGING_ID, Story, make_environment, make_intent, make_site_files
from tests.unit.reconciler.attack import CLONE_ID

PATH, TEXT = make_intent("Promotion", "release", "{source: staging, target: production}")


@pytest.fixture
def promoted() -> tuple[Story, FakeNode]:
    """A site whose promotion `release` has succeeded, with gates that are still open."""
    story, node = make_story()
    story.back_up()
    assert story.promote().status is JobStatus.SUCCEEDED
    story.clock.advance(minutes=5)
    story.back_up()
    return story, node


def assert_nothing_ran(story: Story, node: FakeNode) -> None:
    for _ in range(3):
        story.run()
        story.clock.advance(minutes=6)
    assert len(node.cuts) == 1


def test_an_intent_that_is_deleted_and_restored_does_not_run_again(promoted: tuple[Story, FakeNode]) -> None:
    story, node = promoted
    story.commit({PATH: None})
    story.run()
    story.commit({PATH: TEXT})
    assert_nothing_ran(story, node)


def test_an_intent_under_another_file_name_does_not_run_again(promoted: tuple[Story, FakeNode]) -> None:
    story, node = promoted
    story.commit({PATH: None, "intents/acme/again.yaml": TEXT})
    assert_nothing_ran(story, node)


def test_an_edited_intent_does_not_run_again(promoted: tuple[Story, FakeNode]) -> None:
    story, node = promoted
    story.commit({PATH: TEXT.replace("{source", "{reason: once more, source")})
    assert_nothing_ran(story, node)


def test_an_intent_of_a_history_that_was_wound_back_does_not_run_again(
    promoted: tuple[Story, FakeNode],
) -> None:
    story, node = promoted
    story.repo.reset_as_person(None)
    story.commit({**{path: text.decode() for path, text in list_people_files(story).items()}})
    story.restart(fresh_runner=True)
    for _ in range(4):
        story.run()
        story.clock.advance(minutes=6)
    assert len(node.cuts) == 1, "the node keeps the ids that it finished"


def list_people_files(story: Story) -> dict[str, bytes]:
    """What people wrote, as of the newest commit that anybody made."""
    newest = list(story.repo.store.commits.values())[-1]
    files = {path: data for path, data in newest.files.items() if isinstance(data, bytes)}
    return {path: data for path, data in files.items() if not path.startswith("status/")}


def test_the_id_of_an_ended_job_is_no_way_in_for_another_intent(promoted: tuple[Story, FakeNode]) -> None:
    story, node = promoted
    ended = story.job("release").id
    text = TEXT.replace("{name: release}", f"{{name: clever, id: {ended}}}")
    story.commit({"intents/acme/clever.yaml": text})
    assert_nothing_ran(story, node)


def test_an_intent_in_the_folder_of_another_site_is_that_sites_and_fits_nothing_there() -> None:
    story, node = make_story()
    story.back_up()
    story.commit({**make_site_files("beta", CLONE_ID), "intents/beta/release.yaml": TEXT})
    story.run()
    assert story.job("release").error_code is ErrorCode.INTENT_INVALID
    assert node.cuts == []


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param("{source: staging, target: production, force: true}", id="a force flag"),
        pytest.param("{source: staging, target: production, skip_gates: [drift]}", id="gates to skip"),
        pytest.param("{source: staging, target: production, target: staging}", id="a key twice"),
        pytest.param("{source: &a staging, target: *a}", id="an alias"),
        pytest.param("{source: ../beta/staging, target: production}", id="a path out of the site"),
        pytest.param("{source: production, target: staging}", id="the wrong way round"),
        pytest.param("{source: production, target: production}", id="one for both"),
        pytest.param("{source: staging, target: production, wait: P8D}", id="too long a wait"),
        pytest.param("{source: staging, target: production, backup: skip}", id="no backup"),
    ],
)
def test_an_intent_that_asks_for_more_than_there_is_is_refused(spec: str) -> None:
    story, node = make_story()
    story.back_up()
    story.intend("Promotion", "release", spec)
    story.run()
    (job,) = [job for job in story.list_recorded() if job.intent_path == PATH]
    assert (job.status, job.error_code) == (JobStatus.FAILED, ErrorCode.INTENT_INVALID)
    assert node.cuts == []


def test_two_intents_that_race_for_one_target_meet_the_gates_one_after_the_other() -> None:
    story, node = make_story()
    story.back_up()
    other = make_intent("Promotion", "second", "{source: staging, target: production}")
    story.commit({PATH: TEXT, other[0]: other[1]})
    story.run()
    assert {story.job(name).status for name in ("release", "second")} == {
        JobStatus.SUCCEEDED,
        JobStatus.FAILED,
    }
    refused = next(job for job in map(story.job, ("release", "second")) if job.status is JobStatus.FAILED)
    assert refused.error_code is ErrorCode.BACKUP_GATE_UNMET, (
        "the first changed production: the backup is too old"
    )
    assert len(node.cuts) == 1


@pytest.mark.parametrize(
    "staging",
    [
        pytest.param(
            ("database: {name: acme_staging}", "database: {name: acme_production}"), id="its database"
        ),
        pytest.param(("root: /srv/acme/staging", "root: /srv/acme/production"), id="its folder"),
        pytest.param(
            ("root: /srv/acme/staging", "root: /srv/acme/production/releases/x"), id="a folder in it"
        ),
        pytest.param(("type: staging", "type: production"), id="its type"),
    ],
)
def test_staging_that_is_given_what_is_productions_promotes_nothing(staging: tuple[str, str]) -> None:
    story, node = make_story()
    story.back_up()
    text = make_environment("staging", STAGING_ID, source="production").replace(*staging)
    if "type: production" in text:
        text = text.replace("source: production", "source: null")
    story.commit({"sites/acme/environments/staging.yaml": text})
    assert story.promote().error_code is ErrorCode.INTENT_INVALID
    assert node.cuts == []


def test_a_source_that_was_cloned_from_elsewhere_is_not_promoted() -> None:
    story, node = make_story()
    story.back_up()
    text = make_environment("clone", CLONE_ID, source="staging")
    story.commit({"sites/acme/environments/clone.yaml": text})
    job = story.promote(spec="{source: clone, target: production}")
    assert job.error_code is ErrorCode.INTENT_INVALID
    assert node.cuts == []
