"""How a running job goes on: its steps in order, and what each outcome leads to. Data in, one decision out.

A job type is a list of `Step`s (`promotion.py`, `upkeep.py`). The engine below walks it with the outcomes known so
far and stops at the first step that has not succeeded. Before the cut-over anything may be dropped and tried again;
from the cut-over on only the node's own word counts (spec.md §5, design §3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, TypeVar
from uuid import UUID

from pydantic import ValidationError

from reconciler.core.environment import EnvironmentEvent
from reconciler.core.job import Cancelled, Deferred, Failed, JobEvent, Retried, TakenOver
from reconciler.core.party import Parties
from reconciler.core.world import World
from reconciler.ports import Json, RunOutcome, RunState
from schemas.intent import Intent
from schemas.observation import NodeReport, Reported
from schemas.state import EnvironmentStatus, ErrorCode
from schemas.status import BackupRecord, Blocked, DriftCheckRecord, JobRecord

RETRY_WAITS: Final = (timedelta(minutes=1), timedelta(minutes=5))  # spec.md §5
GATE_RECHECK: Final = timedelta(minutes=5)
MOST_TAKEOVERS: Final = 10  # in a row, without a node that answers
PROBE, DISCARD = "probe", "discard"
PROBE_TIMEOUT: Final = timedelta(minutes=5)
TRANSPORT_CODES: Final = frozenset(
    {
        ErrorCode.ANSIBLE_PLAY_ERROR,
        ErrorCode.ANSIBLE_HOST_FAILED,
        ErrorCode.ANSIBLE_HOST_UNREACHABLE,
        ErrorCode.ANSIBLE_UNEXPECTED_ERROR,
        ErrorCode.ANSIBLE_UNKNOWN_EXIT,
        ErrorCode.ANSIBLE_TIMEOUT,
    }
)
"""Codes that say that a run broke, but not what became of the node's work."""
SUPERSEDED, FINISHED = "CLAIM_SUPERSEDED", "JOB_FINISHED"  # the node's words that end only the run


class NodeAnswerInvalid(Exception):
    """A node answered something this version does not understand; the message says what."""


@dataclass(frozen=True, slots=True)
class JobView:
    """All that is known about one running job."""

    job: JobRecord
    intent: Intent
    parties: Parties
    world: World

    @property
    def outcomes(self) -> Mapping[str, RunOutcome]:
        """The outcomes of the steps run so far, by step, at the job's present epoch."""
        return self.world.outcomes.get(self.job.id, {})

    @property
    def now(self) -> datetime:
        """The pass's time."""
        return self.world.now

    @property
    def may_wait(self) -> bool:
        """Whether the intent's `wait` has not run out (spec.md §4: from first sight)."""
        wait = getattr(self.intent.spec, "wait", None)
        return wait is not None and self.now < self.job.created_at + wait


@dataclass(frozen=True, slots=True)
class EnvironmentChange:
    """What a job's end does to an environment's record."""

    environment_id: UUID
    event: EnvironmentEvent | None
    fields: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class StartStep:
    """Start this step's playbook."""

    step: str
    playbook: str
    timeout: timedelta
    request: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Keep:
    """Nothing to do: a run is under way."""


@dataclass(frozen=True, slots=True)
class End:
    """The job leaves `running`, or begins a new epoch, with everything that is to be recorded with it."""

    event: JobEvent
    records: tuple[BackupRecord | DriftCheckRecord, ...] = ()
    environments: tuple[EnvironmentChange, ...] = ()
    fields: Mapping[str, object] | None = None


Decision = StartStep | Keep | End


def no_end() -> End | None:
    """The guard of a step that needs none."""
    return None


def accept(_: RunOutcome) -> End | None:
    """The judge of a step whose success is all that matters."""
    return None


def no_request() -> Mapping[str, Json]:
    """The request of a step that needs none."""
    return {}


@dataclass(frozen=True, slots=True)
class Step:
    """One run of a playbook. `guard` is asked right before it starts, `judge` looks at what it returned.

    `changes_live` marks a step after whose start only the node knows how things stand.
    """

    name: str
    playbook: str
    timeout: timedelta
    request: Callable[[], Mapping[str, Json]] = no_request
    guard: Callable[[], End | None] = no_end
    judge: Callable[[RunOutcome], End | None] = accept
    changes_live: bool = False


@dataclass(frozen=True, slots=True)
class Flow:
    """A job type: its steps, what its success records, and which environments it leaves `settled`."""

    steps: tuple[Step, ...]
    finish: Callable[[], End]
    discard_playbook: str = ""
    """The playbook with a `discard` step for what was staged; empty where nothing is staged."""


def decide_running(view: JobView, flow: Flow) -> Decision:
    """Decide how a running job goes on."""
    try:
        return walk(view, flow, resume_steps(view, flow))
    except NodeAnswerInvalid as error:
        return wind_up(view, flow, fail(view, ErrorCode.ANSIBLE_UNEXPECTED_ERROR, str(error)))


def walk(view: JobView, flow: Flow, steps: Iterable[Step]) -> Decision:
    """Find the first step that has not succeeded and decide on it."""
    for step in steps:
        outcome = view.outcomes.get(step.name)
        if outcome is None:
            refused = step.guard()
            return wind_up(view, flow, refused) if refused else start(step)
        if outcome.state is RunState.RUNNING:
            return Keep()
        end = step.judge(outcome) if outcome.state is RunState.SUCCEEDED else decide_failure(view, step)
        if end is not None:
            return wind_up(view, flow, end)
    return flow.finish()


def start(step: Step) -> StartStep:
    """Make the order to start a step."""
    return StartStep(step.name, step.playbook, step.timeout, step.request())


def resume_steps(view: JobView, flow: Flow) -> tuple[Step, ...]:
    """Return the steps to walk: a job taken over asks the node first and goes on from what it says."""
    changing = [step for step in flow.steps if step.changes_live]
    if not changing or not is_taken_over(view.job):
        return flow.steps
    probe = Step(PROBE, changing[0].playbook, PROBE_TIMEOUT)
    answer = view.outcomes.get(PROBE)
    if answer is None or answer.state is not RunState.SUCCEEDED:
        return (probe, *flow.steps)
    went_live = read_answer(answer, "node", NodeReport).cut is not None
    return (probe, *changing) if went_live else (probe, *flow.steps)


def is_taken_over(job: JobRecord) -> bool:
    """Whether this epoch began by taking over, rather than by a fresh start."""
    return job.taken_over > 0


def decide_failure(view: JobView, step: Step) -> End:
    """Decide what a run that did not succeed means."""
    outcome = view.outcomes[step.name]
    if outcome.state is RunState.LOST or outcome.code in {SUPERSEDED, FINISHED}:
        return take_over(view, wait=timedelta(0))
    if outcome.state is RunState.CANCELLED:
        return decide_cancelled(view, step)
    code = ErrorCode(outcome.code) if outcome.code in set(ErrorCode) else ErrorCode.ANSIBLE_UNKNOWN_EXIT
    outcome_unknown = (step.changes_live or step.name == PROBE) and code in TRANSPORT_CODES
    if outcome_unknown:
        return take_over(view, wait=RETRY_WAITS[0], code=code, message=outcome.message)
    if outcome.retry and not step.changes_live and view.job.attempt_count < view.job.max_attempts:
        wait = RETRY_WAITS[min(view.job.attempt_count, len(RETRY_WAITS)) - 1]
        event = Retried(view.now, run_after=view.now + wait, code=code, message=outcome.message)
        return End(event, environments=release(view))
    return replace(
        fail(view, code, outcome.message),
        environments=settle_by_word(view, outcome) if step.changes_live else release(view),
        fields={"step": step.name},
    )


def decide_cancelled(view: JobView, step: Step) -> End:
    """Decide on a run that was stopped on request: before the cut-over that is an end."""
    if step.changes_live:
        return take_over(view, wait=timedelta(0))
    event = Cancelled(view.now, summary="cancelled; nothing live was changed")
    return End(event, environments=release(view), fields={"step": step.name})


def take_over(view: JobView, *, wait: timedelta, code: ErrorCode | None = None, message: str = "") -> End:
    """Begin the next epoch, which asks the node first; give up after `unreachable_after`."""
    since = view.job.started_at or view.job.created_at
    takeovers = view.job.taken_over
    unreachable_after = view.world.fleet.fleet.spec.unreachable_after
    if view.now - since > unreachable_after or (not wait and takeovers > MOST_TAKEOVERS):
        text = f"the node has not said what became of the job: {message or 'its runs were lost'}"
        broken = fail(
            view, code or ErrorCode.JOB_TIMEOUT, f"{text}; look at the node, then reset the environment"
        )
        return replace(broken, environments=settle(view, EnvironmentEvent.BROKE))
    event = TakenOver(view.now, by=view.world.worker, run_after=view.now + wait if wait else None)
    return End(event)


def fail(view: JobView, code: ErrorCode, message: str) -> End:
    """Make the end of a job that failed before anything live changed."""
    return End(Failed(view.now, code=code, message=message or code), environments=release(view))


def refuse(view: JobView, unmet: Iterable[Blocked]) -> End | None:
    """Make the end, or the wait, that shut gates lead to; `None` if all are open."""
    reasons = tuple(unmet)
    if not reasons:
        return None
    if view.may_wait:
        deferred = Deferred(view.now, reasons=reasons, run_after=view.now + GATE_RECHECK)
        return End(deferred, environments=release(view))
    return fail(view, reasons[0].code, make_refusal(reasons))


def make_refusal(reasons: Iterable[Blocked]) -> str:
    """Say every reason and what to do about it, a line each."""
    return "\n".join(f"{reason.detail}. Next: {reason.remedy}." for reason in reasons)


def wind_up(view: JobView, flow: Flow, end: End) -> Decision:
    """Drop what was staged before a job ends without a cut-over; the end itself is decided again afterwards."""
    if not flow.discard_playbook or not is_staged_only(view, flow) or isinstance(end.event, TakenOver):
        return end
    dropped = view.outcomes.get(DISCARD)
    if dropped is None:
        return StartStep(DISCARD, flow.discard_playbook, PROBE_TIMEOUT, {})
    if dropped.state is RunState.RUNNING:
        return Keep()
    return end


def is_staged_only(view: JobView, flow: Flow) -> bool:
    """Whether this epoch staged something and has not begun to cut over."""
    changing = {step.name for step in flow.steps if step.changes_live}
    return "stage" in view.outcomes and not changing & view.outcomes.keys()


def release(view: JobView) -> tuple[EnvironmentChange, ...]:
    """Give the environment back as it was."""
    return settle(view, EnvironmentEvent.SETTLED)


def settle(view: JobView, event: EnvironmentEvent, **fields: object) -> tuple[EnvironmentChange, ...]:
    """Change the job's own environment, if the job made it busy at all."""
    record = view.world.status.environments.get(view.parties.environment.metadata.id)
    if record is None:
        return ()
    busy = record.status not in {EnvironmentStatus.ACTIVE, EnvironmentStatus.FAILED}
    return (EnvironmentChange(record.id, event if busy else None, fields),)


def settle_by_word(view: JobView, outcome: RunOutcome) -> tuple[EnvironmentChange, ...]:
    """Settle the environment as the node says it stands after a failed cut-over; silence means `failed`."""
    report = read_report(outcome)
    active = report is not None and report.status == EnvironmentStatus.ACTIVE
    changed_at = report.last_change_at if report else None
    return settle(
        view,
        EnvironmentEvent.SETTLED if active else EnvironmentEvent.BROKE,
        last_change_at=changed_at or view.now,
    )


def read_report(outcome: RunOutcome) -> NodeReport | None:
    """Read how the environment stands by the node's own word."""
    return read_answer(outcome, "node", NodeReport) if "node" in outcome.result else None


AnswerT = TypeVar("AnswerT", bound=Reported)


def read_answer(outcome: RunOutcome, part: str, model: type[AnswerT]) -> AnswerT:
    """Read one part of a node's answer. Raises `NodeAnswerInvalid` when it is missing or malformed."""
    try:
        return model.model_validate(outcome.result[part])
    except KeyError as error:
        raise NodeAnswerInvalid(f"the node's answer has no {part!r}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(piece) for piece in first["loc"])
        raise NodeAnswerInvalid(f"the node's answer {part}.{place}: {first['msg']}") from error
