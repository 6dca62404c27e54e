"""A `PlaybookRunner` without Ansible, for tests of what calls one. tests/contract holds it to the real one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

import yaml

from reconciler.ports import RunEvent, RunOutcome, RunSpec, RunState

Answer = Callable[[RunSpec], RunOutcome | None]
"""What becomes of a run: its outcome, or None if it goes on until the test ends it."""

_RUNNING = RunOutcome(state=RunState.RUNNING)


@dataclass(slots=True)
class _Run:
    spec: RunSpec
    outcome: RunOutcome = _RUNNING
    events: list[RunEvent] = field(default_factory=list)


class FakePlaybookRunner:
    """Ends each run as the step's answer says, within `start`; `started` holds all specs in order.

    runner = FakePlaybookRunner(on_change=wake.set)
    runner.answer("check", lambda spec: RunOutcome(RunState.SUCCEEDED, {"observation": ...}))
    runner.answer("cut_over", lambda spec: None)      # goes on, until:
    runner.end(key, RunOutcome(RunState.LOST))

    A step without an answer raises LookupError: a test says what it expects.
    """

    def __init__(
        self,
        *,
        on_change: Callable[[], None] = lambda: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.started: list[RunSpec] = []
        self.cancelled: list[str] = []
        self._on_change = on_change
        self._now = now
        self._answers: dict[str, Answer] = {}
        self._runs: dict[str, _Run] = {}

    def answer(self, step: str, answer: Answer) -> None:
        """Say what becomes of runs of this step from now on."""
        self._answers[step] = answer

    def say(self, key: str, text: str) -> None:
        """Add a line of progress to a run."""
        events = self._runs[key].events
        events.append(RunEvent(number=len(events) + 1, at=self._now(), text=text))

    def end(self, key: str, outcome: RunOutcome) -> None:
        """End a run that goes on."""
        self._runs[key].outcome = outcome
        self._on_change()

    def start(self, spec: RunSpec) -> str:
        """Start the run, or find it if `spec.key` is known."""
        yaml.safe_dump(dict(spec.variables))  # the real one writes them as YAML
        if spec.key in self._runs:
            return spec.key
        if spec.step not in self._answers:
            raise LookupError(f"the test has no answer for the step {spec.step!r}")
        self._runs[spec.key] = _Run(spec)
        self.started.append(spec)
        outcome = self._answers[spec.step](spec)
        if outcome is not None:
            self.end(spec.key, outcome)
        return spec.key

    def find(self, job_id: UUID, epoch: int) -> Sequence[str]:
        """Return the keys of all runs of this job and epoch, in order of name."""
        runs = self._runs.items()
        return sorted(key for key, run in runs if (run.spec.job_id, run.spec.epoch) == (job_id, epoch))

    def outcome(self, key: str) -> RunOutcome:
        """Return where the run stands. Unknown keys are `LOST`."""
        run = self._runs.get(key)
        return run.outcome if run else RunOutcome(state=RunState.LOST)

    def events(self, key: str, *, after: int = 0) -> Sequence[RunEvent]:
        """Return the progress lines numbered above `after`."""
        run = self._runs.get(key)
        return run.events[after:] if run else ()

    def cancel(self, key: str) -> None:
        """Cancel a run that goes on, at once."""
        if self.outcome(key).state is RunState.RUNNING:
            self.cancelled.append(key)
            self.end(key, RunOutcome(state=RunState.CANCELLED))

    def forget(self, key: str) -> None:
        """Remove what is kept of an ended run. Raises ValueError while it runs."""
        if self.outcome(key).state is RunState.RUNNING:
            raise ValueError(f"the run {key} has not ended")
        self._runs.pop(key, None)
