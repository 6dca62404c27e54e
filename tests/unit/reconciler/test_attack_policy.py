"""Ways to pass a gate by a commit while a job runs: all binds up to the cut-over, nothing after it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from reconciler.ports import RunOutcome, RunSpec, RunState
from schemas.state import EnvironmentStatus, ErrorCode, JobStatus
from tests.fake_node import make_story
from tests.story import (
    CHANGED,
    PRODUCTION_ID,
    STAGING_ID,
    Story,
    make_environment,
    make_fleet_files,
    make_resource,
    make_site_files,
)
from tests.unit.reconciler.attack import CLONE_ID, STOP, commit_while


@pytest.fixture
def story() -> Story:
    return Story()


def test_a_stricter_age_of_backups_binds_up_to_the_cut_over(story: Story) -> None:
    story.back_up()
    story.node.backup_age = timedelta(minutes=30)
    commit_while(
        story, "stage", {"pressluft.yaml": make_fleet_files("{backup_max_age: 10m}")["pressluft.yaml"]}
    )
    job = story.promote()
    assert job.error_code is ErrorCode.BACKUP_GATE_UNMET
    assert "cut_over" not in story.steps("release")


def test_a_stricter_policy_on_conflicts_binds_up_to_the_cut_over() -> None:
    story = Story("{overwrite_policy: warn}")
    story.back_up()
    story.node.resources.append(
        make_resource(
            "x", kind="option", protection="mergeable", production=CHANGED, source="sha256:" + "d" * 64
        )
    )
    commit_while(story, "stage", make_fleet_files())
    assert story.promote().error_code is ErrorCode.OVERWRITE_BLOCKED
    assert "cut_over" not in story.steps("release")


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({"pressluft.yaml": STOP}, id="the stop"),
        pytest.param({"pressluft.yaml": "kind: nonsense\n"}, id="a broken policy"),
        pytest.param({"nodes/web-1.yaml": "kind: nonsense\n"}, id="a broken node file"),
        pytest.param({"sites/acme/environments/staging.yaml": None}, id="a deleted source"),
        pytest.param({"sites/acme/site.yaml": "nonsense\n"}, id="a broken site file"),
        pytest.param({"intents/acme/release.yaml": None}, id="a deleted intent"),
        pytest.param(
            {"sites/acme/site.yaml": make_site_files(site_id=CLONE_ID)["sites/acme/site.yaml"]},
            id="another id of the site",
        ),
    ],
)
def test_a_cut_over_that_has_begun_is_told_as_it_ended_whatever_people_commit(
    story: Story, files: dict[str, str | None]
) -> None:
    story.back_up()
    commit_while(story, "cut_over", files)
    job = story.promote()
    assert (job.status, job.error_code) == (JobStatus.SUCCEEDED, None)
    record = story.see().environments[PRODUCTION_ID]
    assert (record.status, record.current_release_id) == (EnvironmentStatus.ACTIVE, job.id)


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({"pressluft.yaml": STOP}, id="the stop"),
        pytest.param({"sites/acme/environments/staging.yaml": None}, id="a deleted source"),
        pytest.param({"sites/acme/environments/staging.yaml": "nonsense\n"}, id="a broken source"),
    ],
)
def test_a_resumed_cut_over_is_seen_through_whatever_people_commit(files: dict[str, str | None]) -> None:
    story, node = make_story()
    story.back_up()
    story.runner.answer("cut_over", lambda _: None)
    job = story.promote()
    node.diaries[job.id].cut = "renamed"
    story.commit(files)
    story.runner.answer("cut_over", node.answer)
    story.runner.end(f"{job.id}.1.cut_over", RunOutcome(RunState.LOST))
    story.run()
    assert story.job("release").status is JobStatus.SUCCEEDED
    assert story.steps("release")[-2:] == ["probe", "cut_over"]


@pytest.mark.parametrize(
    ("files", "code"),
    [
        pytest.param({"pressluft.yaml": STOP}, ErrorCode.PROMOTIONS_DISABLED, id="the stop of the fleet"),
        pytest.param(
            {
                "sites/acme/site.yaml": make_site_files()["sites/acme/site.yaml"].replace(
                    "spec: {}", "spec: {promotions: {enabled: false}}"
                )
            },
            ErrorCode.PROMOTIONS_DISABLED,
            id="the stop of the site",
        ),
        pytest.param(
            make_fleet_files("{freeze_windows: [{start: '2026-03-02T00:00:00', duration: P1D}]}"),
            ErrorCode.FREEZE_WINDOW,
            id="a freeze",
        ),
        pytest.param(
            {"sites/acme/environments/staging.yaml": None}, ErrorCode.INTENT_INVALID, id="a deleted source"
        ),
        pytest.param(
            {
                "sites/acme/environments/production.yaml": make_environment("production", STAGING_ID),
                "sites/acme/environments/staging.yaml": make_environment(
                    "staging", PRODUCTION_ID, source="production"
                ),
            },
            ErrorCode.INTENT_INVALID,
            id="swapped environments",
        ),
        pytest.param(
            {
                "sites/acme/environments/staging.yaml": make_environment(
                    "staging", CLONE_ID, source="production"
                )
            },
            ErrorCode.INTENT_INVALID,
            id="another source under the same name",
        ),
        pytest.param(
            {
                "sites/acme/environments/clone.yaml": make_environment(
                    "clone", CLONE_ID, source="production"
                ).replace("/srv/acme/clone", "/srv/acme/staging/deep")
            },
            ErrorCode.INTENT_INVALID,
            id="an overlapping root",
        ),
    ],
)
@pytest.mark.parametrize("step", ["check-1", "stage"])
def test_what_people_commit_before_the_cut_over_binds(
    story: Story, step: str, files: dict[str, str | None], code: ErrorCode
) -> None:
    story.back_up()
    commit_while(story, step, files)
    job = story.promote()
    assert (job.status, job.error_code) == (JobStatus.FAILED, code)
    assert "cut_over" not in story.steps("release")
    assert story.see().environments[PRODUCTION_ID].status is EnvironmentStatus.ACTIVE


@pytest.mark.parametrize(
    "broken",
    [
        "pressluft.yaml",
        "nodes/web-1.yaml",
        "sites/acme/site.yaml",
        "sites/acme/environments/staging.yaml",
    ],
)
def test_a_file_that_breaks_before_the_cut_over_makes_the_job_wait_for_it(story: Story, broken: str) -> None:
    story.back_up()
    whole = make_fleet_files()[broken]
    commit_while(story, "stage", {broken: "kind: nonsense\n"})
    job = story.promote()
    assert job.status is JobStatus.QUEUED
    assert broken in job.waiting_for[0].detail
    assert story.steps("release") == ["check-1", "stage", "discard"]
    story.runner.answer("stage", story.node.answer)
    story.commit({broken: whole})
    story.run()
    assert story.job("release").status is JobStatus.SUCCEEDED


@pytest.mark.parametrize(
    "files",
    [
        pytest.param(
            {"nodes/web-1.yaml": make_fleet_files()["nodes/web-1.yaml"].replace("localhost", "10.0.0.9")},
            id="the node's address",
        ),
        pytest.param(
            {
                "sites/acme/environments/production.yaml": make_environment(
                    "production", PRODUCTION_ID, extra="  protect: {tables: [bookings]}\n"
                )
            },
            id="more protection",
        ),
    ],
)
def test_a_job_whose_files_change_begins_again_with_them(story: Story, files: dict[str, str]) -> None:
    story.back_up()
    committed: list[str] = []

    def answer(spec: RunSpec) -> RunOutcome:
        if not committed:
            committed.append(spec.key)
            story.commit(dict(files))
        return story.node.answer(spec)

    story.runner.answer("stage", answer)
    job = story.promote()
    assert (job.status, job.epoch) == (JobStatus.SUCCEEDED, 2)
    assert story.steps("release") == ["check-1", "stage", "discard", "check-1", "stage", "cut_over"]
    of_job = [spec for spec in story.runner.started if spec.job_id == job.id]
    assert len({spec.node.host for spec in of_job if spec.epoch == 1}) == 1
