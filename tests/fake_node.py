"""A node that remembers: its journal, epochs and finished jobs, as docs/reference/node-protocol.md has them.

`story.Node` answers whatever a test wants to hear. This one can be killed, lost and asked again, and counts how
often production was really exchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from uuid import UUID

from reconciler.ports import Json, RunOutcome, RunSpec, RunState
from tests.fake_runner import FakePlaybookRunner
from tests.fakes import FakeFleetRepo
from tests.story import Node, Story

LOST = RunOutcome(RunState.LOST)
LAST_STEPS = {
    "backup_create": "backup",
    "env_refresh": "refresh",
    "release_rollback": "rollback",
    "health_check": "reset",
}
"""The step with which a job ends on the node; a promotion ends with its cut-over."""


@dataclass
class Diary:
    """What the node knows of one job."""

    epoch: int = 0
    staged: bool = False
    cut: str | None = None
    finished: bool = False
    result: dict[str, Json] = field(default_factory=dict)
    error: dict[str, Json] | None = None


@dataclass
class FakeNode(Node):
    """Answers by what it did before. `fault`, asked for each run, may lose it before or after its work."""

    fault: Callable[[RunSpec], str] = lambda _: ""
    unhealthy: bool = False
    diaries: dict[UUID, Diary] = field(default_factory=dict)
    cuts: list[tuple[UUID, int]] = field(default_factory=list)
    served: UUID | None = None
    status: str = "active"

    def answer(self, spec: RunSpec) -> RunOutcome:
        """Do the step's work, or lose it."""
        if spec.step in self.overrides:
            return self.overrides[spec.step]
        fault = self.fault(spec)
        if fault == "before":
            return LOST
        if fault.isupper():
            return self.fail(spec, code=fault, retry=True)
        outcome = self.work(spec)
        return LOST if fault == "after" else outcome

    def work(self, spec: RunSpec) -> RunOutcome:
        """Do one step as the real node does."""
        diary = self.diaries.setdefault(spec.job_id, Diary())
        if spec.step == "probe":
            return self.succeed(spec, {"job": self.make_word(diary)})
        if spec.epoch < diary.epoch:
            return self.fail(spec, code="CLAIM_SUPERSEDED")
        if diary.finished and spec.step != "cut_over":
            return self.fail(spec, code="JOB_FINISHED", job=self.make_word(diary))
        diary.epoch = spec.epoch
        if spec.step == "stage":
            diary.staged = True
        if spec.step == "discard" and diary.cut is None:
            diary.staged = False
        if spec.step == "cut_over":
            return self.cut_over(spec, diary)
        if spec.step.startswith("reset"):
            self.status = "active"
        result = self.make_result(spec)
        job, request = spec.variables["pressluft_job"], spec.variables["pressluft_request"]
        is_last = not isinstance(request, dict) or request.get("is_last", True)
        if isinstance(job, dict) and LAST_STEPS.get(str(job["type"])) == job["step"] and is_last:
            diary.finished, diary.result = True, dict(result)
        return self.succeed(spec, result)

    def cut_over(self, spec: RunSpec, diary: Diary) -> RunOutcome:
        """Exchange once; asked again, say how it ended."""
        if not diary.finished:
            if not diary.staged:
                return self.fail(spec, code="ANSIBLE_HOST_FAILED", retry=True)
            self.cuts.append((spec.job_id, spec.epoch))
            self.last_change_at = self.clock.now()
            diary.finished, diary.cut = True, "reversed" if self.unhealthy else "healthy"
            if self.unhealthy:
                diary.error = {"code": "HEALTH_CHECK_FAILED", "message": "500 on /", "remedy": "Mend it."}
            else:
                self.served = spec.job_id
                diary.result = {"health": {"healthy": True}}
        if diary.error:
            return self.fail(spec, code=str(diary.error["code"]))
        return self.succeed(spec, diary.result)

    def make_word(self, diary: Diary) -> dict[str, Json]:
        """Make the `job` of a probe."""
        return {
            "finished": diary.finished,
            "cut": diary.cut,
            "running": False,
            "result": diary.result,
            "error": diary.error,
        }

    def succeed(self, spec: RunSpec, result: dict[str, Json]) -> RunOutcome:
        """Make the outcome of a step that did its work."""
        return RunOutcome(RunState.SUCCEEDED, {**result, "node": self.speak(spec)}, rc=0)

    def fail(self, spec: RunSpec, *, code: str, retry: bool = False, **result: Json) -> RunOutcome:
        """Make the outcome of a step that the node itself refused."""
        said = {**result, "node": self.speak(spec)}
        return RunOutcome(RunState.FAILED, said, rc=2, code=code, message=f"{code} on the node", retry=retry)

    def speak(self, spec: RunSpec) -> dict[str, Json]:
        """Make the `node` of an answer."""
        diary = self.diaries.get(spec.job_id, Diary())
        return self.report(cut=diary.cut, status=self.status)


class LingeringRunner(FakePlaybookRunner):
    """Shows each run under way once before it shows its end, as every real run is seen."""

    def outcome(self, key: str) -> RunOutcome:
        """Return where the run stands; the first look finds it running."""
        found = super().outcome(key)
        if key in self.looked_at or found.state is RunState.LOST:
            return found
        self.looked_at.add(key)
        return RunOutcome(RunState.RUNNING)

    @cached_property
    def looked_at(self) -> set[str]:
        """The runs that were looked at."""
        return set()


class LingeringStory(Story):
    """A story in which every step lasts longer than a look."""

    def create_runner(self) -> FakePlaybookRunner:
        """Make the runner."""
        return LingeringRunner(now=self.clock.now)


def make_story(
    policy: str = "{}", *, repo: FakeFleetRepo | None = None, kind: type[Story] = Story
) -> tuple[Story, FakeNode]:
    """Make a story whose node remembers, and that node."""
    story = kind(policy, repo=repo, make_node=FakeNode)
    assert isinstance(story.node, FakeNode)
    return story, story.node
