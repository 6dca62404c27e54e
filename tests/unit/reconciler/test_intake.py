"""What lies under `intents/`: every file becomes one job, once, or says why not, and none stops the others."""

from __future__ import annotations

from uuid import UUID

import pytest

from reconciler.reconcile import run_pass
from schemas.state import ErrorCode, JobStatus
from tests.fakes import Link
from tests.story import SITE_ID, Story, make_environment, make_fleet_files, make_intent, make_site_files

BETA_ID = UUID("22222222-2222-4222-8222-222222222222")
JOB_ID = UUID("33333333-3333-4333-8333-333333333333")
LATER = "{source: staging, target: production, not_before: '2030-01-01T00:00:00Z'}"


@pytest.fixture
def story() -> Story:
    return Story()


def write_backup(name: str, job_id: UUID | None = None) -> str:
    """Write a backup's file, with an id of its own if there is one."""
    metadata = f"{{name: {name}, id: {job_id}}}" if job_id else f"{{name: {name}}}"
    return (
        f"apiVersion: pressluft/v1\nkind: Backup\nmetadata: {metadata}\nspec: {{environment: production}}\n"
    )


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("intents/Acme/x.yaml", id="a site's name in capitals"),
        pytest.param("intents/my_site/x.yaml", id="an underscore in a site's name"),
        pytest.param("intents/---/x.yaml", id="a site's name of dashes"),
        pytest.param("intents/" + "a" * 200 + "/x.yaml", id="a site's name that is too long"),
        pytest.param("intents/accent-\u00e9/x.yaml", id="a site's name with an accent"),
        pytest.param("intents/acme/x.yml", id="another ending"),
        pytest.param("intents/acme/X Y.yaml", id="a name that is no name"),
        pytest.param("intents/acme/folder.yaml/x.yaml", id="a folder called like a file"),
        pytest.param("intents/nowhere/x.yaml", id="a site that is not there"),
    ],
)
def test_a_misplaced_intent_fails_by_name_and_the_others_go_on(story: Story, path: str) -> None:
    story.commit({path: write_backup("x")})
    story.back_up()
    ended = {job.status: job for job in story.list_recorded()}
    assert set(ended) == {JobStatus.FAILED, JobStatus.SUCCEEDED}
    assert ended[JobStatus.FAILED].error_code is ErrorCode.INTENT_INVALID
    assert "intents/" in str(ended[JobStatus.FAILED].error_message)
    tip = story.repo.fetch()
    run_pass(story.reconciler)
    assert story.repo.fetch() == tip


def test_a_link_a_huge_file_and_bytes_that_are_no_text_fail_and_the_others_go_on(story: Story) -> None:
    story.repo.commit_as_person(
        {
            "intents/acme/link.yaml": Link("../../pressluft.yaml"),
            "intents/acme/huge.yaml": b"a" * 1_000_000,
            "intents/acme/bytes.yaml": b"\xff\xfe\x00",
        }
    )
    story.back_up()
    failed = [job for job in story.list_recorded() if job.status is JobStatus.FAILED]
    assert len(failed) == 3
    assert {job.error_code for job in failed} == {ErrorCode.INTENT_INVALID}


def test_two_files_with_one_id_are_one_job(story: Story) -> None:
    story.commit(
        {
            "intents/acme/one.yaml": write_backup("one", JOB_ID),
            "intents/acme/two.yaml": write_backup("two", JOB_ID),
        }
    )
    story.run()
    assert [(job.id, job.intent_name) for job in story.list_recorded()] == [(JOB_ID, "one")]
    assert len(story.runner.started) == 1


def test_two_sites_with_one_id_are_one_job(story: Story) -> None:
    story.commit(
        {
            **make_site_files("beta", BETA_ID),
            "intents/acme/one.yaml": write_backup("one", JOB_ID),
            "intents/beta/one.yaml": write_backup("one", JOB_ID),
        }
    )
    story.run()
    assert [(job.id, job.site) for job in story.list_recorded()] == [(JOB_ID, "acme")]


def test_the_id_of_an_ended_job_never_runs_again_whatever_carries_it(story: Story) -> None:
    story.commit({"intents/acme/one.yaml": write_backup("one", JOB_ID)})
    story.run()
    story.commit({"intents/acme/one.yaml": None, "intents/acme/two.yaml": write_backup("two", JOB_ID)})
    story.run()
    assert [job.intent_name for job in story.list_recorded()] == ["one"]


def test_an_intent_that_is_moved_is_the_same_job(story: Story) -> None:
    path, text = make_intent("Promotion", "later", LATER)
    text = text.replace("{name: later}", f"{{name: later, id: {JOB_ID}}}")
    story.commit({path: text})
    story.run()
    story.commit({path: None, "intents/acme/moved.yaml": text.replace("name: later", "name: moved")})
    story.run()
    assert [(job.id, job.status) for job in story.list_recorded()] == [(JOB_ID, JobStatus.QUEUED)]


@pytest.mark.parametrize(
    "edited",
    [
        pytest.param("nonsense\n", id="into garbage"),
        pytest.param(write_backup("later"), id="into another kind"),
        pytest.param(write_backup("later", JOB_ID), id="into another id"),
        pytest.param(write_backup("other"), id="into another name"),
    ],
)
def test_an_edit_of_a_waiting_intent_neither_withdraws_it_nor_runs_later(story: Story, edited: str) -> None:
    path, text = make_intent("Promotion", "later", LATER)
    story.commit({path: text})
    story.run()
    story.commit({path: edited})
    story.run()
    job = story.job("later")
    assert job.status is JobStatus.QUEUED
    assert "edited" in job.notes[0]
    story.clock.at = story.clock.at.replace(year=2030, month=2)
    story.run()
    story.run()
    assert [found.id for found in story.list_recorded()] == [job.id]
    assert story.job("later").error_code is ErrorCode.BACKUP_GATE_UNMET


def test_a_new_intent_under_the_name_of_an_ended_one_with_its_own_id_is_a_new_job(story: Story) -> None:
    story.commit({"intents/acme/one.yaml": write_backup("one")})
    story.run()
    story.commit({"intents/acme/one.yaml": write_backup("one", JOB_ID)})
    story.run()
    assert len(story.list_recorded()) == 2


@pytest.mark.parametrize("broken", ["sites/acme/site.yaml", "pressluft.yaml"])
def test_a_file_that_breaks_withdraws_no_waiting_job(story: Story, broken: str) -> None:
    story.intend("Promotion", "release", "{source: staging, target: production, wait: PT2H}")
    story.run()
    job = story.job("release")
    story.commit({broken: "nonsense\n"})
    story.run()
    assert (story.job("release").id, story.job("release").status) == (job.id, JobStatus.QUEUED)
    assert broken in story.job("release").waiting_for[0].detail
    story.commit({broken: make_fleet_files()[broken]})
    story.back_up()
    story.run()
    assert story.job("release").status is JobStatus.SUCCEEDED


def test_an_intent_for_a_site_that_broke_is_seen_waiting_under_its_own_id(story: Story) -> None:
    story.run()
    story.commit({"sites/acme/site.yaml": "nonsense\n"})
    story.intend("Backup", "safe", "{environment: production}")
    story.run()
    waiting = story.job("safe")
    assert waiting.status is JobStatus.QUEUED
    assert "sites/acme/site.yaml" in waiting.waiting_for[0].detail
    story.commit(make_site_files())
    story.run()
    assert [job.id for job in story.list_recorded()] == [waiting.id]
    assert story.job("safe").status is JobStatus.SUCCEEDED


def test_a_site_that_breaks_shows_no_job_a_second_time(story: Story) -> None:
    story.back_up()
    (ended,) = story.service.list_jobs()
    story.commit({"sites/acme/site.yaml": "nonsense\n"})
    assert [job.id for job in story.service.list_jobs()] == [ended.id]


def test_an_intent_for_a_site_that_was_never_whole_waits_and_then_runs_once(story: Story) -> None:
    beta = {
        "sites/beta/environments/production.yaml": make_environment("production", JOB_ID).replace(
            "acme", "beta"
        ),
        "intents/beta/safe.yaml": write_backup("safe"),
    }
    story.commit({**beta, "sites/beta/site.yaml": "nonsense\n"})
    story.run()
    assert story.job("safe").status is JobStatus.QUEUED
    story.commit(make_site_files("beta", BETA_ID))
    for _ in range(3):
        story.run()
    assert [job.status for job in story.list_recorded()] == [JobStatus.SUCCEEDED]
    assert len(story.runner.started) == 1


def test_a_site_that_is_renamed_keeps_its_records_in_one_place(story: Story) -> None:
    story.back_up()
    promoted = story.promote()
    files = make_fleet_files()
    moved = {path.replace("sites/acme", "sites/aardvark"): text for path, text in files.items()}
    moved["sites/aardvark/site.yaml"] = make_site_files("aardvark", SITE_ID)["sites/aardvark/site.yaml"]
    story.commit({path: None for path in files if path.startswith("sites/")})
    story.commit({path: text for path, text in moved.items() if path.startswith("sites/")})
    for _ in range(2):
        story.run()
    record = story.environment()
    assert record.current_release_id == promoted.id
    paths = story.see().paths
    assert paths[record.id] == {"status/aardvark/environments/production.yaml"}
    assert paths[SITE_ID] == {"status/aardvark/site.yaml"}


def test_a_backup_and_a_promotion_of_one_commit_run_in_their_order(story: Story) -> None:
    story.commit(
        dict(
            [
                make_intent("Backup", "a-backup", "{environment: production}"),
                make_intent("Promotion", "b-promotion", "{source: staging, target: production}"),
            ]
        )
    )
    story.run()
    assert story.job("b-promotion").status is JobStatus.SUCCEEDED
