"""Ways to pass a gate by commit, clock, race or replay: each is refused, with its reason."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from reconciler.ports import RunOutcome, RunSpec, RunState
from schemas.document import dump
from schemas.intent import Promotion
from schemas.state import BackupScope, BackupStatus, DriftStatus, EnvironmentStatus, ErrorCode, JobStatus
from schemas.status import BackupRecord, make_record_path
from tests.fake_node import make_story
from tests.story import (
    CHANGED,
    PRODUCTION_ID,
    SITE_ID,
    STAGING_ID,
    Story,
    make_environment,
    make_fleet_files,
    make_intent,
    make_resource,
    make_site_files,
)

STOP = make_fleet_files("{promotions: {enabled: false, reason: incident}}")["pressluft.yaml"]
CLONE_ID = UUID("11111111-1111-4111-8111-111111111111")


@pytest.fixture
def story() -> Story:
    return Story()


def forge_backup(story: Story, **changes: object) -> None:
    """Commit a backup record as a person."""
    now = story.clock.now()
    record = BackupRecord(
        id=uuid4(),
        status=BackupStatus.COMPLETED,
        site_id=SITE_ID,
        environment_id=PRODUCTION_ID,
        job_id=uuid4(),
        checksum="f" * 64,
        created_at=now,
        began_at=now,
        completed_at=now,
    ).model_copy(update=changes)
    story.commit({make_record_path(record, site="acme"): dump(record).decode()})


def test_a_forged_backup_record_does_not_open_the_gate_that_the_node_keeps(story: Story) -> None:
    story.run()
    forge_backup(story)
    story.node.backup_valid = False
    job = story.promote()
    assert job.error_code is ErrorCode.BACKUP_GATE_UNMET
    assert story.steps("release") == ["check-1"]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"environment_id": STAGING_ID}, id="of another environment"),
        pytest.param({"backup_scope": BackupScope.DB}, id="of the database alone"),
        pytest.param({"status": BackupStatus.RUNNING}, id="not read back"),
        pytest.param({"status": BackupStatus.EXPIRED}, id="expired"),
    ],
)
def test_a_backup_record_that_does_not_fit_opens_nothing(story: Story, changes: dict[str, object]) -> None:
    story.run()
    forge_backup(story, **changes)
    assert story.promote().error_code is ErrorCode.BACKUP_GATE_UNMET
    assert story.steps("release") == []


def test_a_backup_from_the_future_opens_nothing(story: Story) -> None:
    story.run()
    ahead = story.clock.now() + timedelta(minutes=5)
    forge_backup(story, completed_at=ahead)
    assert story.promote().error_code is ErrorCode.BACKUP_GATE_UNMET


def test_a_node_whose_clock_is_a_little_ahead_still_has_a_fresh_backup(story: Story) -> None:
    story.back_up()
    story.clock.advance(seconds=-20)
    assert story.promote().status is JobStatus.SUCCEEDED


def test_a_clock_that_went_back_does_not_make_an_old_backup_younger(story: Story) -> None:
    story.back_up()
    story.clock.advance(hours=-3)
    assert story.promote().error_code is ErrorCode.BACKUP_GATE_UNMET


def test_a_copied_backup_record_counts_only_in_its_own_place(story: Story) -> None:
    story.run()
    now = story.clock.now()
    record = BackupRecord(
        id=uuid4(),
        status=BackupStatus.COMPLETED,
        site_id=SITE_ID,
        environment_id=PRODUCTION_ID,
        job_id=uuid4(),
        created_at=now,
        began_at=now,
        completed_at=now,
    )
    path = make_record_path(record, site="acme").replace("2026-03", "2026-04")
    story.commit({path: dump(record).decode()})
    assert story.promote().error_code is ErrorCode.BACKUP_GATE_UNMET


def test_a_backup_stays_good_for_as_long_as_its_job_is_staging(story: Story) -> None:
    story.back_up()
    story.runner.answer("stage", lambda _: None)
    job = story.promote()
    story.clock.advance(hours=3)
    story.runner.end(f"{job.id}.1.stage", RunOutcome(RunState.SUCCEEDED, {"node": story.node.report()}, rc=0))
    story.run()
    assert story.job("release").status is JobStatus.SUCCEEDED


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


def commit_while(story: Story, step: str, files: dict[str, str | None] | dict[str, str]) -> None:
    """Let a person commit files while a step runs."""

    def answer(spec: RunSpec) -> RunOutcome:
        story.commit(dict(files))
        return story.node.answer(spec)

    story.runner.answer(step, answer)


# What is seen through: a cut-over that has begun.


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


def test_a_backup_that_grows_old_during_the_cut_over_does_not_undo_it(story: Story) -> None:
    story.back_up()
    story.runner.answer("cut_over", lambda _: None)
    job = story.promote()
    story.clock.advance(hours=2)
    story.run()
    assert story.job("release").status is JobStatus.RUNNING
    story.runner.end(
        f"{job.id}.1.cut_over", RunOutcome(RunState.SUCCEEDED, {"node": story.node.report()}, rc=0)
    )
    story.run()
    assert story.job("release").status is JobStatus.SUCCEEDED


# What is not: everything before it.


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


def break_environment(story: Story) -> None:
    """Let a promotion fail so that production is failed."""
    story.node.overrides["cut_over"] = RunOutcome(
        RunState.FAILED,
        {"node": story.node.report(status="failed", cut="switched")},
        rc=2,
        code="ROLLBACK_FAILED",
        message="x",
        retry=False,
    )
    story.promote("breaking")
    del story.node.overrides["cut_over"]
    assert story.environment().status is EnvironmentStatus.FAILED


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(lambda node: {**node.observation(), "resources": []}, id="that looked at nothing"),
        pytest.param(lambda node: {**node.observation(), "baseline": None}, id="without a baseline"),
        pytest.param(
            lambda node: {
                **node.observation(),
                "resources": [make_resource("posts", production=None)],
            },
            id="that lost a table",
        ),
    ],
)
def test_a_check_that_proves_nothing_opens_nothing(
    story: Story, monkeypatch: pytest.MonkeyPatch, answer: Callable[[object], object]
) -> None:
    story.back_up()
    made = answer(story.node)
    monkeypatch.setattr(type(story.node), "observation", lambda _: made)
    assert story.promote().error_code is ErrorCode.DRIFT_GATE_UNMET


def test_tables_that_are_defined_differently_are_named_and_nothing_is_staged(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    story.back_up()
    differences = [{"table": "posts", "difference": "column post_color only on the source"}]
    made = {**story.node.observation(), "schema_differences": differences}
    monkeypatch.setattr(type(story.node), "observation", lambda _: made)
    job = story.promote()
    assert job.error_code is ErrorCode.SCHEMA_UNSUPPORTED
    assert "post_color" in str(job.error_message)
    assert story.steps("release") == ["check-1"]


def test_an_earlier_round_of_refreshing_is_never_what_is_staged(story: Story) -> None:
    story.back_up()
    story.node.resources.append(make_resource("comments", production=CHANGED))
    seen: list[str] = []

    def answer(spec: RunSpec) -> RunOutcome:
        outcome = story.node.answer(spec)
        if spec.step == "check-1":
            story.node.resources[-1] = make_resource("comments")
            story.node.resources.append(
                make_resource("late", kind="option", protection="mergeable", source=CHANGED)
            )
        seen.append(spec.step)
        return outcome

    for step in ("check-1", "check-2"):
        story.runner.answer(step, answer)
    job = story.promote(spec="{source: staging, target: production, refresh: protected}")
    assert job.status is JobStatus.SUCCEEDED
    stage = next(spec for spec in story.runner.started if spec.step == "stage")
    assert stage.variables["pressluft_request"]["plan"]["options"]["take"] == ["late"]  # type: ignore[index,call-overload]


def test_three_refreshes_in_vain_end_with_drift(story: Story) -> None:
    story.back_up()
    story.node.resources.append(make_resource("comments", production=CHANGED))
    job = story.promote(spec="{source: staging, target: production, refresh: protected}")
    assert job.error_code is ErrorCode.DRIFT_GATE_UNMET
    assert story.steps("release")[-1] == "check-3"


def test_a_gate_that_opens_only_between_drop_and_end_does_not_cut_over_what_was_dropped() -> None:
    story, node = make_story()
    story.back_up()
    commit_while(story, "stage", {"pressluft.yaml": STOP})

    def discard(spec: RunSpec) -> RunOutcome:
        story.commit({"pressluft.yaml": make_fleet_files()["pressluft.yaml"]})
        story.runner.answer("stage", node.answer)
        return node.answer(spec)

    story.runner.answer("discard", discard)
    job = story.promote()
    assert job.status is JobStatus.SUCCEEDED
    steps = story.steps("release")
    assert steps[steps.index("discard") + 1 :][-2:] == ["stage", "cut_over"]


# Waiting is not spinning.


def test_a_job_that_waits_for_a_live_gate_commits_nothing_until_its_time(story: Story) -> None:
    story.back_up()
    story.node.resources.append(make_resource("comments", production=CHANGED))
    job = story.promote(spec="{source: staging, target: production, wait: PT2H}")
    assert job.status is JobStatus.QUEUED
    tip = story.repo.fetch()
    for _ in range(5):
        story.run()
    assert story.repo.fetch() == tip
    story.clock.advance(minutes=5)
    story.run()
    assert story.job("release").epoch == 2


def test_a_job_whose_wait_runs_out_asks_the_node_a_last_time_then_and_fails(story: Story) -> None:
    story.back_up()
    story.node.resources.append(make_resource("comments", production=CHANGED))
    job = story.promote(spec="{source: staging, target: production, wait: PT7S}")
    assert job.status is JobStatus.QUEUED
    story.clock.advance(seconds=7)
    story.run()
    job = story.job("release")
    assert (job.status, job.error_code, job.epoch) == (JobStatus.FAILED, ErrorCode.DRIFT_GATE_UNMET, 2)


def test_a_job_that_waits_takes_its_own_backup_once_while_it_is_fresh(story: Story) -> None:
    story.node.resources.append(make_resource("comments", production=CHANGED))
    story.promote(spec="{source: staging, target: production, wait: PT2H, backup: create}")
    for _ in range(4):
        story.clock.advance(minutes=6)
        story.run()
    assert story.steps("release").count("backup") == 1
    story.node.resources.pop()
    story.clock.advance(minutes=6)
    story.run()
    assert story.job("release").status is JobStatus.SUCCEEDED


def test_a_wait_longer_than_a_node_may_be_away_is_no_absence(story: Story) -> None:
    story.node.resources.append(make_resource("comments", production=CHANGED))
    story.promote(spec="{source: staging, target: production, wait: P7D, backup: create}")
    story.clock.advance(days=2)
    story.node.resources.pop()
    lost: list[str] = []

    def lose_once(spec: RunSpec) -> RunOutcome:
        if not lost:
            lost.append(spec.key)
            return RunOutcome(RunState.LOST)
        return story.node.answer(spec)

    story.runner.answer("check-1", lose_once)
    story.run()
    assert lost
    assert story.job("release").status is JobStatus.SUCCEEDED


def test_not_before_holds_when_the_clock_goes_back(story: Story) -> None:
    story.back_up()
    spec = "{source: staging, target: production, not_before: '2026-03-02T12:30:00Z'}"
    story.promote(spec=spec)
    story.clock.advance(hours=-1)
    story.run()
    assert story.job("release").status is JobStatus.QUEUED
    story.clock.advance(hours=1, minutes=31)
    story.run()
    assert story.job("release").status is JobStatus.SUCCEEDED


# What REST is told.


def test_a_check_from_before_a_refresh_is_no_check_of_the_new_baseline(story: Story) -> None:
    story.intend("DriftCheck", "look", "{environment: staging}")
    story.back_up()
    assert story.service.find_unmet("acme", make_promotion()) == ()
    story.intend("Refresh", "fresh", "{environment: staging}")
    story.run()
    assert story.environment(STAGING_ID).drift_status is DriftStatus.UNKNOWN
    codes = {reason.code for reason in story.service.find_unmet("acme", make_promotion())}
    assert ErrorCode.DRIFT_GATE_UNMET in codes


def make_promotion() -> Promotion:
    """Make the promotion that a REST caller asks for."""
    return Promotion.model_validate(
        {"metadata": {"name": "asked"}, "spec": {"source": "staging", "target": "production"}}
    )
