"""Two daemons that were given one name do not take each other's jobs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
import structlog

from reconciler.adapters.instance import hold_instance
from reconciler.errors import SettingsInvalid
from reconciler.reconcile import run_pass
from schemas.state import JobStatus
from tests.fake_node import FakeNode, make_story
from tests.story import Story


@pytest.fixture
def running() -> tuple[Story, FakeNode]:
    """A promotion that is being staged by one of two daemons called worker-1."""
    story, node = make_story()
    story.reconciler = replace(story.reconciler, instance=uuid4())
    story.back_up()
    story.runner.answer("stage", lambda _: None)
    story.promote()
    return story, node


def test_a_namesake_leaves_a_running_job_alone_and_says_so(running: tuple[Story, FakeNode]) -> None:
    story, _ = running
    other = replace(story.make_reconciler("worker-1"), instance=uuid4(), runner=story.make_runner())
    tip = story.repo.fetch()
    with structlog.testing.capture_logs() as logs:
        report = run_pass(other)
    assert story.repo.fetch() == tip
    assert report.running == 0
    assert [entry["log_level"] for entry in logs if "another daemon goes by this name" in entry["event"]] == [
        "error"
    ]
    assert story.job("release").locked_instance == story.reconciler.instance


def test_a_namesake_takes_over_after_the_deadline_as_any_other_daemon(
    running: tuple[Story, FakeNode],
) -> None:
    story, node = running
    story.runner = story.make_runner()
    story.runner.answer("stage", node.answer)
    other = replace(story.make_reconciler("worker-1"), instance=uuid4(), runner=story.runner)
    story.clock.advance(hours=8)
    for _ in range(3):
        run_pass(other)
    job = story.job("release")
    assert (job.epoch, job.locked_instance) == (2, other.instance)
    assert story.steps("release")[0] == "probe"


def test_the_same_daemon_goes_on_with_its_job_after_a_restart(running: tuple[Story, FakeNode]) -> None:
    story, node = running
    story.runner = story.make_runner()
    story.runner.answer("stage", node.answer)
    again = replace(
        story.make_reconciler("worker-1"), instance=story.reconciler.instance, runner=story.runner
    )
    for _ in range(3):
        run_pass(again)
    assert story.job("release").epoch == 2


def test_the_jobs_of_other_daemons_take_no_slot_of_ours(running: tuple[Story, FakeNode]) -> None:
    story, _ = running
    other = replace(story.make_reconciler("worker-2"), max_jobs=1)
    assert run_pass(other).running == 0
    assert story.job("release").status is JobStatus.RUNNING


def test_a_daemon_is_the_same_after_a_restart_and_alone_in_its_folder(tmp_path: Path) -> None:
    with (
        hold_instance(tmp_path) as first,
        pytest.raises(SettingsInvalid, match="another daemon"),
        hold_instance(tmp_path),
    ):
        pass
    with hold_instance(tmp_path) as again:
        assert again == first


def test_a_daemon_whose_id_was_overwritten_is_another_one_and_stays_it(tmp_path: Path) -> None:
    with hold_instance(tmp_path) as first:
        pass
    (tmp_path / "instance").write_text("longer than any id, " * 5)
    with hold_instance(tmp_path) as anew:
        assert anew != first
    with hold_instance(tmp_path) as again:
        assert again == anew
