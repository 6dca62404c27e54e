"""What every `PlaybookRunner` promises: the fake one and Ansible's are held to the same tests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from reconciler.adapters.playbook_runner import AnsiblePlaybookRunner
from reconciler.ports import PlaybookRunner, RunOutcome, RunSpec, RunState
from tests.fake_runner import FakePlaybookRunner
from tests.integration.runner.pipe import PATIENCE, ProcessPipe
from tests.integration.runner.stage import PLAYBOOK_ROOT, make_spec

REFUSAL = RunOutcome(
    state=RunState.FAILED,
    result={"seen": 2},
    rc=2,
    code="SOURCE_CHANGED",
    message="The source changed meanwhile. Promote again.",
    retry=True,
)
SUCCESS = RunOutcome(state=RunState.SUCCEEDED, result={"first": 1, "both": "late", "second": "none"}, rc=0)
PROGRESS = ["Look at the shop", "counted 3 tables", "Look at the copy"]


@dataclass
class Candidate:
    """A runner, the event it sets on every change, and the three steps that these tests run."""

    runner: PlaybookRunner
    changed: threading.Event
    succeed: RunSpec
    refuse: RunSpec
    sleep: RunSpec
    wait_for_sleep: Callable[[], object]

    def wait(self, key: str) -> RunOutcome:
        while (outcome := self.runner.outcome(key)).state is RunState.RUNNING:
            assert self.changed.wait(PATIENCE), "no run ended"
            self.changed.clear()
        return outcome


@pytest.fixture(params=["fake", "ansible"])
def candidate(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Candidate]:
    changed = threading.Event()
    with ProcessPipe(tmp_path / "pipe") as pipe:
        spec = replace(make_spec("succeed"), epoch=2)
        specs = {
            name: replace(spec, step=name, playbook=name, variables=variables)
            for name, variables in {"succeed": {}, "refuse": {}, "sleep": {"pipe": str(pipe.path)}}.items()
        }
        if request.param == "fake":
            yield Candidate(make_fake(changed), changed, wait_for_sleep=lambda: None, **specs)
            return
        runner = AnsiblePlaybookRunner(
            run_root=tmp_path / "runs",
            playbook_root=PLAYBOOK_ROOT,
            ssh_key=None,
            known_hosts=None,
            on_change=changed.set,
        )
        candidate = Candidate(runner, changed, wait_for_sleep=pipe.read_pid, **specs)
        yield candidate
        runner.cancel(specs["sleep"].key)
        candidate.wait(specs["sleep"].key)


def make_fake(changed: threading.Event) -> FakePlaybookRunner:
    runner = FakePlaybookRunner(on_change=changed.set)

    def succeed(spec: RunSpec) -> RunOutcome:
        for text in PROGRESS:
            runner.say(spec.key, text)
        return SUCCESS

    runner.answer("succeed", succeed)
    runner.answer("refuse", lambda _spec: REFUSAL)
    runner.answer("sleep", lambda _spec: None)
    return runner


def test_a_run_that_succeeds_tells_its_result(candidate: Candidate) -> None:
    key = candidate.runner.start(candidate.succeed)
    assert candidate.wait(key) == SUCCESS


def test_a_run_that_fails_tells_what_its_module_said(candidate: Candidate) -> None:
    key = candidate.runner.start(candidate.refuse)
    assert candidate.wait(key) == REFUSAL


def test_a_run_is_found_by_the_key_of_its_spec(candidate: Candidate) -> None:
    assert candidate.runner.start(candidate.sleep) == candidate.sleep.key
    assert candidate.runner.outcome(candidate.sleep.key) == RunOutcome(state=RunState.RUNNING)


def test_starting_twice_is_starting_once(candidate: Candidate) -> None:
    key = candidate.runner.start(candidate.succeed)
    first = candidate.wait(key)
    events = candidate.runner.events(key)
    assert candidate.runner.start(candidate.succeed) == key
    assert candidate.runner.outcome(key) == first
    assert candidate.runner.events(key) == events


def test_the_runs_of_a_job_are_found_by_job_and_epoch(candidate: Candidate) -> None:
    keys = [candidate.runner.start(candidate.succeed), candidate.runner.start(candidate.refuse)]
    for key in keys:
        candidate.wait(key)
    job_id = candidate.succeed.job_id
    assert candidate.runner.find(job_id, 2) == sorted(keys)
    assert candidate.runner.find(job_id, 1) == []
    assert candidate.runner.find(uuid4(), 2) == []


def test_progress_is_numbered_without_gaps_and_resumable(candidate: Candidate) -> None:
    before = datetime.now(UTC)
    key = candidate.runner.start(candidate.succeed)
    candidate.wait(key)
    events = candidate.runner.events(key)
    assert [(event.number, event.text) for event in events] == list(enumerate(PROGRESS, start=1))
    assert all(before <= event.at <= datetime.now(UTC) for event in events)
    assert candidate.runner.events(key, after=1) == events[1:]
    assert list(candidate.runner.events(key, after=3)) == []


def test_a_cancelled_run_ends_cancelled(candidate: Candidate) -> None:
    key = candidate.runner.start(candidate.sleep)
    candidate.wait_for_sleep()
    candidate.runner.cancel(key)
    assert candidate.wait(key).state is RunState.CANCELLED


def test_cancelling_what_has_ended_changes_nothing(candidate: Candidate) -> None:
    key = candidate.runner.start(candidate.succeed)
    candidate.wait(key)
    candidate.runner.cancel(key)
    candidate.runner.cancel("unknown")
    assert candidate.runner.outcome(key) == SUCCESS


def test_an_unknown_run_is_lost(candidate: Candidate) -> None:
    assert candidate.runner.outcome(candidate.succeed.key).state is RunState.LOST
    assert list(candidate.runner.events(candidate.succeed.key)) == []


def test_a_forgotten_run_is_unknown(candidate: Candidate) -> None:
    key = candidate.runner.start(candidate.refuse)
    candidate.wait(key)
    candidate.runner.forget(key)
    candidate.runner.forget(key)
    assert candidate.runner.find(candidate.refuse.job_id, 2) == []
    assert candidate.runner.outcome(key).state is RunState.LOST


def test_a_run_that_goes_on_cannot_be_forgotten(candidate: Candidate) -> None:
    key = candidate.runner.start(candidate.sleep)
    with pytest.raises(ValueError, match="has not ended"):
        candidate.runner.forget(key)
    assert candidate.runner.outcome(key).state is RunState.RUNNING


def test_another_epoch_is_another_run(candidate: Candidate) -> None:
    first = candidate.runner.start(candidate.refuse)
    second = candidate.runner.start(replace(candidate.refuse, epoch=3, timeout=timedelta(seconds=20)))
    assert first != second
    assert [candidate.wait(first), candidate.wait(second)] == [REFUSAL, REFUSAL]
