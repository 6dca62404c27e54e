"""Passes over a fake repo and a fake node: what becomes of intents."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.ports import RunOutcome, RunState
from reconciler.reconcile import run_pass
from schemas.state import BackupScope, DriftStatus, EnvironmentStatus, ErrorCode, JobStatus
from tests.story import CHANGED, STAGING_ID, Story, make_environment, make_resource


@pytest.fixture
def story() -> Story:
    return Story()


def test_a_clean_backed_up_promotion_succeeds_step_by_step(story: Story) -> None:
    story.back_up()
    job = story.promote()
    assert (job.status, job.error_code) == (JobStatus.SUCCEEDED, None)
    assert story.steps("release") == ["check-1", "stage", "cut_over"]
    record = story.environment()
    assert (record.status, record.current_release_id) == (EnvironmentStatus.ACTIVE, job.id)


def test_without_a_backup_the_promotion_is_refused_before_it_touches_the_node(story: Story) -> None:
    job = story.promote()
    assert (job.status, job.error_code) == (JobStatus.FAILED, ErrorCode.BACKUP_GATE_UNMET)
    assert story.steps("release") == []


def test_a_backup_older_than_policy_does_not_open_the_gate(story: Story) -> None:
    story.back_up()
    story.clock.advance(minutes=61)
    assert story.promote().error_code is ErrorCode.BACKUP_GATE_UNMET


def test_a_backup_from_before_the_last_promotion_does_not_open_the_gate(story: Story) -> None:
    story.back_up()
    story.promote("one")
    assert story.promote("two").error_code is ErrorCode.BACKUP_GATE_UNMET


def test_a_backup_that_is_gone_from_the_storage_does_not_open_the_gate(story: Story) -> None:
    story.back_up()
    story.node.backup_valid = False
    job = story.promote()
    assert job.error_code is ErrorCode.BACKUP_GATE_UNMET
    assert "stage" not in story.steps("release")


def test_a_drifted_table_blocks_the_promotion(story: Story) -> None:
    story.back_up()
    story.node.resources.append(make_resource("comments", production=CHANGED))
    job = story.promote()
    assert (job.status, job.error_code) == (JobStatus.FAILED, ErrorCode.DRIFT_GATE_UNMET)
    assert story.steps("release") == ["check-1"]
    assert story.environment(STAGING_ID).drift_status is DriftStatus.DRIFTED
    assert "comments" in str(job.error_message)


def test_without_a_baseline_nothing_is_clean(story: Story) -> None:
    story.back_up()
    story.node.baseline = False
    assert story.promote().error_code is ErrorCode.DRIFT_GATE_UNMET


def test_what_could_not_be_read_is_never_clean(story: Story) -> None:
    story.back_up()
    story.node.resources.append(make_resource("comments", unreadable="the table is locked"))
    job = story.promote()
    assert job.error_code is ErrorCode.DRIFT_CHECK_FAILED
    assert "stage" not in story.steps("release")


def test_a_conflict_blocks_under_policy_block(story: Story) -> None:
    story.back_up()
    story.node.resources.append(
        make_resource(
            "blogname", kind="option", protection="mergeable", production=CHANGED, source="sha256:" + "d" * 64
        )
    )
    assert story.promote().error_code is ErrorCode.OVERWRITE_BLOCKED


def test_a_conflict_is_taken_from_the_source_and_listed_under_policy_warn() -> None:
    story = Story("{overwrite_policy: warn}")
    story.back_up()
    story.node.resources.append(
        make_resource(
            "blogname", kind="option", protection="mergeable", production=CHANGED, source="sha256:" + "d" * 64
        )
    )
    job = story.promote()
    assert job.status is JobStatus.SUCCEEDED
    stage = next(spec for spec in story.runner.started if spec.step == "stage")
    assert stage.variables["pressluft_request"]["plan"]["options"]["take"] == ["blogname"]  # type: ignore[index,call-overload]
    record = story.service.list_drift_checks(STAGING_ID)[0]
    assert [change.name for change in record.merge.conflicts] == ["blogname"]


def test_productions_own_change_is_kept_out_of_the_plan(story: Story) -> None:
    story.back_up()
    story.node.resources += [
        make_resource("mine", kind="option", protection="mergeable", production=CHANGED),
        make_resource("theirs", kind="option", protection="mergeable", source=CHANGED),
    ]
    assert story.promote().status is JobStatus.SUCCEEDED
    stage = next(spec for spec in story.runner.started if spec.step == "stage")
    assert stage.variables["pressluft_request"]["plan"]["options"] == {"take": ["theirs"], "delete": []}  # type: ignore[index,call-overload]


def test_another_source_than_the_pinned_one_is_refused(story: Story) -> None:
    story.back_up()
    job = story.promote(spec=f"{{source: staging, target: production, pin: {'9' * 64}}}")
    assert job.error_code is ErrorCode.SOURCE_CHANGED


def test_the_stop_binds_up_to_the_cut_over_and_drops_what_was_staged(story: Story) -> None:
    story.back_up()

    def stage_while_somebody_stops(spec: object) -> RunOutcome:
        story.commit(
            {
                "pressluft.yaml": "apiVersion: pressluft/v1\nkind: Fleet\nmetadata: {name: pressluft}\n"
                "spec: {promotions: {enabled: false, reason: incident}}\n"
            }
        )
        return RunOutcome(RunState.SUCCEEDED, {"node": story.node.report()}, rc=0)

    story.runner.answer("stage", stage_while_somebody_stops)
    job = story.promote()
    assert (job.status, job.error_code) == (JobStatus.FAILED, ErrorCode.PROMOTIONS_DISABLED)
    assert story.steps("release") == ["check-1", "stage", "discard"]
    assert story.environment().status is EnvironmentStatus.ACTIVE


def test_a_failed_health_check_leaves_the_environment_as_the_node_says(story: Story) -> None:
    story.back_up()
    story.node.overrides["cut_over"] = RunOutcome(
        RunState.FAILED,
        {"node": story.node.report()},
        rc=2,
        code="HEALTH_CHECK_FAILED",
        message="500 on /",
        retry=False,
    )
    job = story.promote()
    assert (job.status, job.error_code) == (JobStatus.FAILED, ErrorCode.HEALTH_CHECK_FAILED)
    assert story.environment().status is EnvironmentStatus.ACTIVE
    assert story.environment().current_release_id is None


def test_a_failed_rollback_leaves_the_environment_failed_and_the_site_with_it(story: Story) -> None:
    story.back_up()
    story.node.overrides["cut_over"] = RunOutcome(
        RunState.FAILED,
        {"node": story.node.report(status="failed")},
        rc=2,
        code="ROLLBACK_FAILED",
        message="x",
        retry=False,
    )
    story.promote()
    assert story.environment().status is EnvironmentStatus.FAILED
    assert story.service.list_sites()[0].record.status is EnvironmentStatus.FAILED  # type: ignore[union-attr]
    assert story.promote("next").error_code is ErrorCode.ENVIRONMENT_NOT_ACTIVE


def test_a_malformed_intent_fails_with_its_place_and_the_others_go_on(story: Story) -> None:
    story.commit(
        {
            "intents/acme/broken.yaml": "apiVersion: pressluft/v1\nkind: Promotion\nmetadata: {name: broken}\n"
            "spec: {sourc: staging, target: production}\n"
        }
    )
    story.back_up()
    jobs = {job.intent_path: job for job in story.service.list_jobs()}
    broken = jobs["intents/acme/broken.yaml"]
    assert (broken.status, broken.error_code) == (JobStatus.FAILED, ErrorCode.INTENT_INVALID)
    assert "intents/acme/broken.yaml:4:" in str(broken.error_message)
    assert {job.status for job in jobs.values()} == {JobStatus.FAILED, JobStatus.SUCCEEDED}


def test_the_corrected_file_is_a_new_job(story: Story) -> None:
    story.back_up()
    story.commit({"intents/acme/release.yaml": "nonsense\n"})
    story.run()
    assert story.promote("release").status is JobStatus.SUCCEEDED


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        pytest.param("{source: stagin, target: production}", "stagin", id="unknown source"),
        pytest.param("{source: staging, target: prod}", "prod", id="unknown target"),
        pytest.param("{source: production, target: staging}", "staging", id="wrong way round"),
        pytest.param("{source: other, target: production}", "other", id="not cloned from the target"),
    ],
)
def test_parties_that_do_not_fit_are_refused_by_name(story: Story, spec: str, named: str) -> None:
    extra = {
        "sites/acme/environments/other.yaml": make_environment("other", STAGING_ID, source="staging").replace(
            str(STAGING_ID), "11111111-1111-4111-8111-111111111111"
        )
    }
    story.commit(extra)
    job = story.promote(spec=spec)
    assert job.error_code is ErrorCode.INTENT_INVALID
    assert named in str(job.error_message)


def test_overlapping_roots_are_refused_by_name(story: Story) -> None:
    clone = make_environment("clone", STAGING_ID, source="production")
    clone = clone.replace(str(STAGING_ID), "11111111-1111-4111-8111-111111111111").replace(
        "/srv/acme/clone", "/srv/acme/production/deep"
    )
    story.commit({"sites/acme/environments/clone.yaml": clone})
    job = story.promote()
    assert job.error_code is ErrorCode.INTENT_INVALID
    assert "overlapping roots" in str(job.error_message)


def test_the_same_intent_never_runs_twice(story: Story) -> None:
    story.back_up()
    story.promote()
    story.commit({"intents/acme/release.yaml": None})
    story.run()
    started = len(story.runner.started)
    story.intend("Promotion", "release", "{source: staging, target: production}")
    story.run()
    assert len(story.runner.started) == started


def test_deleting_a_queued_intent_withdraws_it(story: Story) -> None:
    story.intend(
        "Promotion", "later", "{source: staging, target: production, not_before: '2030-01-01T00:00:00Z'}"
    )
    story.run()
    assert story.job("later").status is JobStatus.QUEUED
    story.commit({"intents/acme/later.yaml": None})
    story.run()
    assert story.job("later").status is JobStatus.CANCELLED


def test_a_waiting_intent_stays_queued_with_its_reason_and_starts_when_the_gate_opens(story: Story) -> None:
    job = story.promote(spec="{source: staging, target: production, wait: PT2H}")
    assert job.status is JobStatus.QUEUED
    assert job.waiting_for[0].code is ErrorCode.BACKUP_GATE_UNMET
    story.back_up()
    story.run()
    assert story.job("release").status is JobStatus.SUCCEEDED


def test_a_wait_that_runs_out_fails_with_the_gates_code(story: Story) -> None:
    story.promote(spec="{source: staging, target: production, wait: PT1H}")
    story.clock.advance(hours=1, seconds=1)
    story.run()
    assert story.job("release").error_code is ErrorCode.BACKUP_GATE_UNMET


def test_backup_create_takes_the_fresh_backup_first(story: Story) -> None:
    job = story.promote(spec="{source: staging, target: production, backup: create}")
    assert job.status is JobStatus.SUCCEEDED
    assert story.steps("release") == ["backup", "check-1", "stage", "cut_over"]


def test_refresh_protected_refreshes_until_a_check_is_clean(story: Story) -> None:
    story.back_up()
    drifted, clean = make_resource("comments", production=CHANGED), make_resource("comments")
    story.node.resources.append(drifted)

    def refresh_in_time(_: object) -> RunOutcome:
        story.node.resources[-1] = clean
        return RunOutcome(RunState.SUCCEEDED, {"node": story.node.report()}, rc=0)

    story.runner.answer("refresh-2", refresh_in_time)
    job = story.promote(spec="{source: staging, target: production, refresh: protected}")
    assert job.status is JobStatus.SUCCEEDED
    assert story.steps("release") == [
        "backup-1",
        "refresh-1",
        "check-1",
        "refresh-2",
        "check-2",
        "stage",
        "cut_over",
    ]


def test_what_a_refresh_takes_from_the_source_is_backed_up_first(story: Story) -> None:
    story.back_up()
    job = story.promote(spec="{source: staging, target: production, refresh: protected}")
    assert story.steps("release")[:2] == ["backup-1", "refresh-1"]
    taken = [backup for backup in story.service.list_backups(STAGING_ID) if backup.job_id == job.id]
    assert [backup.backup_scope for backup in taken] == [BackupScope.FULL]


def test_an_unreachable_node_is_tried_three_times_with_growing_waits(story: Story) -> None:
    story.back_up()
    story.node.overrides["check-1"] = RunOutcome(
        RunState.FAILED, rc=4, code="ANSIBLE_HOST_UNREACHABLE", message="no route", retry=True
    )
    job = story.promote()
    assert (job.status, job.error_code) == (JobStatus.QUEUED, ErrorCode.ANSIBLE_HOST_UNREACHABLE)
    story.clock.advance(seconds=60)
    story.run()
    story.clock.advance(seconds=299)
    story.run()
    assert story.job("release").attempt_count == 2 + 1
    assert story.job("release").status is JobStatus.FAILED
    assert story.environment().status is EnvironmentStatus.ACTIVE


def test_a_lost_run_is_resumed_from_what_the_node_says(story: Story) -> None:
    story.back_up()
    story.runner.answer("cut_over", lambda _: None)
    job = story.promote()
    assert job.status is JobStatus.RUNNING
    story.runner.end(f"{job.id}.1.cut_over", RunOutcome(RunState.LOST))
    story.runner.answer(
        "probe", lambda _: RunOutcome(RunState.SUCCEEDED, {"node": story.node.report(cut="renamed")}, rc=0)
    )
    story.runner.answer("cut_over", story.node.answer)
    story.run()
    job = story.job("release")
    assert (job.status, job.epoch) == (JobStatus.SUCCEEDED, 2)
    assert story.steps("release") == ["check-1", "stage", "cut_over", "probe", "cut_over"]


def test_a_lost_run_before_the_cut_over_starts_over(story: Story) -> None:
    story.back_up()
    story.runner.answer("stage", lambda _: None)
    job = story.promote()
    story.runner.end(f"{job.id}.1.stage", RunOutcome(RunState.LOST))
    story.runner.answer("stage", story.node.answer)
    story.run()
    assert story.job("release").status is JobStatus.SUCCEEDED
    assert story.steps("release") == ["check-1", "stage", "probe", "check-1", "stage", "cut_over"]


def test_one_site_runs_one_job_at_a_time(story: Story) -> None:
    story.runner.answer("backup", lambda _: None)
    story.intend("Backup", "one", "{environment: production}")
    story.intend("Backup", "two", "{environment: staging}")
    story.run()
    assert {story.job("one").status, story.job("two").status} == {JobStatus.RUNNING, JobStatus.QUEUED}


def test_an_edit_of_an_admitted_intent_changes_nothing_and_is_noted(story: Story) -> None:
    story.intend(
        "Promotion", "later", "{source: staging, target: production, not_before: '2030-01-01T00:00:00Z'}"
    )
    story.run()
    story.intend("Promotion", "later", "{source: staging, target: production, backup: create}")
    story.run()
    job = story.job("later")
    assert job.status is JobStatus.QUEUED
    assert "edited" in job.notes[0]


def test_a_broken_site_file_makes_its_jobs_wait_and_no_others(story: Story) -> None:
    story.commit({"sites/acme/environments/staging.yaml": "kind: nonsense\n"})
    story.intend("Backup", "mine", "{environment: production}")
    story.run()
    job = story.job("mine")
    assert job.status is JobStatus.QUEUED
    assert "staging.yaml" in job.waiting_for[0].detail
    story.commit(
        {"sites/acme/environments/staging.yaml": make_environment("staging", STAGING_ID, source="production")}
    )
    story.run()
    assert story.job("mine").status is JobStatus.SUCCEEDED


def test_a_pass_that_finds_nothing_new_commits_nothing(story: Story) -> None:
    story.back_up()
    tip = story.repo.fetch()
    run_pass(story.reconciler)
    assert story.repo.fetch() == tip


def test_the_log_reads_as_the_story(story: Story) -> None:
    story.back_up()
    story.promote()
    subjects = [entry.subject for entry in story.service.read_history("acme")]
    assert "promotion started: acme staging -> production" in subjects
    assert "promotion succeeded: acme staging -> production" in subjects


def test_people_who_push_notes_all_the_time_do_not_keep_a_daemon_from_its_claims(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    story.run()
    story.intend("Backup", "nightly", "{environment: production}")
    push, looked, notes = story.repo.push_changes, [], iter(range(5))
    monkeypatch.setattr(
        story.reconciler.observer, "read_fleet", lambda commit: looked.append(commit) or read(commit)
    )
    read = type(story.reconciler.observer).read_fleet.__get__(story.reconciler.observer)

    def race(*words: Any, **names: Any) -> str:
        number = next(notes, None)
        if number is not None:
            story.commit({f"notes/{number}.md": "x"})
        return push(*words, **names)

    monkeypatch.setattr(story.repo, "push_changes", race)
    story.run()
    assert story.job("nightly").status is JobStatus.SUCCEEDED
    assert len(looked) <= 4, "it looks again only when something changed"


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({"intents/acme/nightly.yaml": None}, id="an intent"),
        pytest.param({"sites/acme/environments/production.yaml": "nonsense"}, id="an environment"),
        pytest.param({"nodes/web-1.yaml": "nonsense"}, id="a node"),
        pytest.param({"pressluft.yaml": "nonsense"}, id="the policy"),
    ],
)
def test_a_claim_that_was_overtaken_by_what_it_was_made_from_is_thrown_away(
    story: Story, monkeypatch: pytest.MonkeyPatch, files: dict[str, str | None]
) -> None:
    story.run()
    story.intend("Backup", "nightly", "{environment: production}")
    push, once = story.repo.push_changes, iter([files])

    def race(*words: Any, **names: Any) -> str:
        story.commit(next(once, {}) or {"notes/x.md": "x"}) if names["expected"] == before else None
        return push(*words, **names)

    before = story.repo.fetch().status
    monkeypatch.setattr(story.repo, "push_changes", race)
    story.run()
    assert story.runner.started == []
