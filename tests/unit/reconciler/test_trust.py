"""What somebody else writes to `status/` is put right at the next look, told, and never used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import structlog

from reconciler.errors import TipMoved
from reconciler.ports import RunOutcome, RunState
from reconciler.reconcile import run_pass
from schemas.document import dump
from schemas.state import EnvironmentStatus, ErrorCode, JobStatus
from schemas.status import make_record_path
from tests.fake_node import FakeNode, make_story
from tests.fakes import FakeFleetRepo
from tests.story import PRODUCTION_ID, STAGING_ID, Story


@pytest.fixture
def told() -> tuple[Story, FakeNode]:
    """A fleet whose daemon has a key, with a promotion behind it."""
    story, node = make_story(repo=FakeFleetRepo(trusts=True))
    story.back_up()
    story.promote("before")
    return story, node


def list_status(story: Story) -> dict[str, object]:
    files = story.repo.store.commits[story.repo.store.heads["main"]].files
    return {path: content for path, content in files.items() if path.startswith("status/")}


def forge_active(story: Story) -> dict[str, bytes | None]:
    record = story.environment().model_copy(update={"status": EnvironmentStatus.FAILED})
    return {make_record_path(record, site="acme"): dump(record)}


def forge_running(story: Story) -> dict[str, bytes | None]:
    job = story.job("before").model_copy(
        update={"status": JobStatus.RUNNING, "locked_by": "worker-1", "epoch": 9}
    )
    return {make_record_path(job, site="acme"): dump(job), "status/acme/ended.txt": b""}


@pytest.mark.parametrize(
    "forge",
    [
        pytest.param(forge_active, id="another state of an environment"),
        pytest.param(forge_running, id="an ended job that runs again"),
        pytest.param(lambda _: {"status/acme/ended.txt": b""}, id="an emptied list of ended jobs"),
        pytest.param(lambda _: {"status/acme": None}, id="a deleted site"),
        pytest.param(lambda _: {"status": None}, id="everything deleted"),
        pytest.param(lambda _: {"status/acme/jobs/2026-03/x.yaml": b"\xff"}, id="nonsense"),
        pytest.param(lambda _: {"status/zeta/site.yaml": b"x"}, id="a site that is not there"),
    ],
)
def test_a_forged_status_is_put_right_by_a_new_commit_and_starts_nothing(
    told: tuple[Story, FakeNode], forge: Callable[[Story], dict[str, bytes | None]]
) -> None:
    story, node = told
    before, started = list_status(story), len(story.runner.started)
    story.repo.commit_as_person(forge(story))
    forged = story.repo.store.heads["main"]
    story.run()
    after = list_status(story)
    differing = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    assert all(path.startswith("status/acme/environments/") for path in differing)
    assert (len(story.runner.started), len(node.cuts)) == (started, 1)
    commits = story.repo.store.commits
    assert commits[story.repo.store.heads["main"]].parent == forged
    tip = story.repo.fetch()
    story.run()
    assert story.repo.fetch() == tip


def test_what_is_forged_anew_right_after_it_was_put_right_is_not_used_either(
    told: tuple[Story, FakeNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    story, _ = told
    push, forged = story.repo.push_changes, iter([forge_active(story)] * 2)

    def push_and_forge(*words: Any, **named: Any) -> str:
        commit = push(*words, **named)
        again = next(forged, None)
        if again is not None:
            story.repo.commit_as_person(again)
        return commit

    story.repo.commit_as_person(forge_active(story))
    monkeypatch.setattr(story.repo, "push_changes", push_and_forge)
    story.run()
    assert story.environment().status is EnvironmentStatus.ACTIVE
    assert next(forged, None) is None


def test_who_forges_without_end_keeps_the_daemon_from_looking_and_nothing_is_used(
    told: tuple[Story, FakeNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    story, _ = told
    push, started = story.repo.push_changes, len(story.runner.started)

    def push_and_forge(*words: Any, **named: Any) -> str:
        commit = push(*words, **named)
        story.repo.commit_as_person(forge_running(story))
        return commit

    story.repo.commit_as_person(forge_running(story))
    monkeypatch.setattr(story.repo, "push_changes", push_and_forge)
    assert not run_pass(story.reconciler).settled
    assert len(story.runner.started) == started


def test_what_was_forged_is_told_on_the_environments_of_its_site_and_in_the_log(
    told: tuple[Story, FakeNode],
) -> None:
    story, _ = told
    story.repo.commit_as_person({"status/acme/ended.txt": b""})
    with structlog.testing.capture_logs() as logs:
        story.run()
    (entry,) = [entry for entry in logs if entry.get("event_kind") == "tampering"]
    assert (entry["log_level"], entry["sites"]) == ("error", ["acme"])
    for env_id in (PRODUCTION_ID, STAGING_ID):
        (note,) = story.environment(env_id).notes
        assert "changed by somebody else and put right" in note
    assert story.environment().status is EnvironmentStatus.ACTIVE


def test_a_failed_environment_that_is_forged_to_be_active_stays_failed(told: tuple[Story, FakeNode]) -> None:
    story, node = told
    story.clock.advance(minutes=2)
    story.back_up()
    said = {"node": node.report(status="failed", cut="switched")}
    node.overrides["cut_over"] = RunOutcome(
        RunState.FAILED, said, rc=2, code="ROLLBACK_FAILED", message="x", retry=False
    )
    story.promote("broken")
    failed = story.environment()
    forged = failed.model_copy(update={"status": EnvironmentStatus.ACTIVE, "state_version": 99})
    story.repo.commit_as_person({make_record_path(forged, site="acme"): dump(forged)})
    story.run()
    assert (failed.status, story.environment().status) == (EnvironmentStatus.FAILED, EnvironmentStatus.FAILED)
    assert story.environment().state_version == failed.state_version + 1


def test_an_older_status_that_is_pushed_over_it_all_is_put_right_as_well(
    told: tuple[Story, FakeNode],
) -> None:
    story, node = told
    old = story.repo.store.heads["main"]
    story.clock.advance(minutes=5)
    story.back_up()
    assert story.promote("later").status is JobStatus.SUCCEEDED
    story.repo.reset_as_person(old)
    story.run()
    assert story.job("later").status is JobStatus.SUCCEEDED
    assert len(node.cuts) == 2
    assert story.repo.store.commits[story.repo.store.heads["main"]].parent == old


def test_a_running_job_whose_record_is_broken_goes_on(told: tuple[Story, FakeNode]) -> None:
    story, _ = told
    story.clock.advance(minutes=5)
    story.back_up()
    story.runner.answer("stage", lambda _: None)
    job = story.promote("broken")
    story.repo.commit_as_person({make_record_path(job, site="acme"): b"\xff nonsense"})
    story.run()
    assert story.job("broken").status is JobStatus.RUNNING


def test_a_forged_backup_record_is_gone_before_the_gate_is_asked(told: tuple[Story, FakeNode]) -> None:
    story, _ = told
    (old,) = story.list_backups()
    story.clock.advance(hours=2)
    young = old.model_copy(update={"completed_at": story.clock.now(), "began_at": story.clock.now()})
    story.repo.commit_as_person({make_record_path(young, site="acme"): dump(young)})
    assert story.promote("later").error_code is ErrorCode.BACKUP_GATE_UNMET


def test_somebody_who_forges_faster_than_we_put_right_only_delays_us(
    told: tuple[Story, FakeNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    story, _ = told
    push, refusals = story.repo.push_changes, iter(range(3))

    def race(*words: Any, **names: Any) -> str:
        if next(refusals, None) is not None:
            raise TipMoved("somebody was faster")
        return push(*words, **names)

    monkeypatch.setattr(story.repo, "push_changes", race)
    story.repo.commit_as_person({"status/acme/ended.txt": b""})
    report = run_pass(story.reconciler)
    assert report.settled
    assert str(story.job("before").id).encode() in (
        story.repo.read_file(story.repo.fetch().status or "", "status/acme/ended.txt") or b""
    )
