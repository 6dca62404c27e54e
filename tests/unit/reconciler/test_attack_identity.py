"""Ways to pass a gate by another name, id or place: each is refused, with its reason."""

from __future__ import annotations

import pytest

from schemas.document import dump
from schemas.state import EnvironmentStatus, ErrorCode, JobStatus
from schemas.status import make_record_path
from tests.fake_node import make_story
from tests.story import (
    PRODUCTION_ID,
    SITE_ID,
    Story,
    make_environment,
    make_intent,
    make_site_files,
)
from tests.unit.reconciler.attack import CLONE_ID, break_environment


@pytest.fixture
def story() -> Story:
    return Story()


def test_a_site_that_gets_another_id_does_not_run_its_old_intents_again(story: Story) -> None:
    story.back_up()
    story.promote()
    started = len(story.runner.started)
    story.commit(make_site_files(site_id=CLONE_ID))
    story.run()
    assert len(story.runner.started) == started
    later = story.promote("later")
    assert later.status is JobStatus.QUEUED
    assert str(SITE_ID) in later.waiting_for[0].detail


def test_a_site_that_hands_its_folder_to_another_does_not_run_its_old_intents_again(story: Story) -> None:
    story.back_up()
    story.promote()
    started = len(story.runner.started)
    story.commit({**make_site_files("zeta"), **make_site_files(site_id=CLONE_ID)})
    for _ in range(3):
        story.run()
    assert len(story.runner.started) == started


def test_an_intent_of_a_site_that_was_not_there_does_not_run_when_it_comes(story: Story) -> None:
    story.commit(
        {"intents/acmee/release.yaml": make_intent("Promotion", "release", "{source: a, target: b}")[1]}
    )
    story.run()
    assert story.job("release").error_code is ErrorCode.INTENT_INVALID
    story.commit(make_site_files("acmee", CLONE_ID))
    story.run()
    assert [job.error_code for job in story.list_recorded()] == [ErrorCode.INTENT_INVALID]


def test_a_broken_node_file_stops_no_job_of_other_nodes(story: Story) -> None:
    story.commit({"nodes/web-9.yaml": "kind: nonsense\n"})
    story.back_up()
    assert story.promote().status is JobStatus.SUCCEEDED


def test_an_environment_that_the_node_calls_failed_is_not_promoted_to_whatever_git_says() -> None:
    story, node = make_story()
    story.back_up()
    node.status = "failed"
    job = story.promote()
    assert job.error_code is ErrorCode.ENVIRONMENT_NOT_ACTIVE
    assert story.steps("release") == ["check-1"]


def test_a_forged_active_does_not_open_the_gate() -> None:
    story, node = make_story()
    story.back_up()
    record = story.environment().model_copy(update={"status": EnvironmentStatus.ACTIVE})
    node.status = "failed"
    story.commit({make_record_path(record, site="acme"): dump(record).decode()})
    assert story.promote().error_code is ErrorCode.ENVIRONMENT_NOT_ACTIVE


def test_a_failed_environment_is_failed_under_another_name_too(story: Story) -> None:
    story.back_up()
    break_environment(story)
    renamed = make_environment("production", PRODUCTION_ID).replace("name: production", "name: live")
    story.commit(
        {
            "sites/acme/environments/production.yaml": make_environment(
                "staging", CLONE_ID, source="live"
            ).replace("name: staging", "name: production", 1),
            "sites/acme/environments/live.yaml": renamed,
            "sites/acme/environments/staging.yaml": None,
        }
    )
    story.run()
    record = story.see().environments[PRODUCTION_ID]
    assert (record.name, record.status) == ("live", EnvironmentStatus.FAILED)
    assert story.see().environments[CLONE_ID].status is EnvironmentStatus.ACTIVE
