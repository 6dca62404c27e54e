"""What a running job is made of: its steps, what starts and ends them, and how a node's answers are read.

A job type is a list of `Step`s (`promotion.py`, `upkeep.py`); `walk.py` goes along it with the outcomes known so far.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeVar
from uuid import UUID

from pydantic import ValidationError

from reconciler.core.environment import EnvironmentEvent
from reconciler.core.job import Deferred, Failed, JobEvent
from reconciler.core.party import Misfit, Parties, Unsettled
from reconciler.core.world import World
from reconciler.ports import Json, RunOutcome
from schemas.intent import Intent
from schemas.observation import NodeReport, Reported
from schemas.state import EnvironmentStatus, ErrorCode
from schemas.status import BackupRecord, Blocked, DriftCheckRecord, JobRecord

GATE_RECHECK: Final = timedelta(minutes=5)
"""How long a job that waits leaves the node alone between two looks; the end of its `wait` is a last one."""


class NodeAnswerInvalid(Exception):
    """A node answered something this version does not understand; the message says what."""


@dataclass(frozen=True, slots=True)
class JobView:
    """All that is known about one running job.

    `parties` are those of the commit that the claim saw: whatever people commit meanwhile, the job's steps speak of
    the same environments. `today` are those of the newest commit.
    """

    job: JobRecord
    intent: Intent
    parties: Parties
    world: World
    today: Parties | Misfit | Unsettled

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
        return self.patience > timedelta(0)

    @property
    def patience(self) -> timedelta:
        """How much is left of the intent's `wait`; not above zero where it ran out or there is none."""
        wait: timedelta | None = getattr(self.intent.spec, "wait", None)
        return timedelta(0) if wait is None else self.job.created_at + wait - self.now


Records = tuple[BackupRecord | DriftCheckRecord, ...]


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
    records: Records = ()
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


def no_records() -> Records:
    """What a job gains before its end where only the end counts."""
    return ()


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
    gain: Callable[[], Records] = no_records
    """What the steps so far have left that is worth a record even if the job does not go on."""


def fail(view: JobView, code: ErrorCode, message: str) -> End:
    """Make the end of a job that failed before anything live changed."""
    return End(Failed(view.now, code=code, message=message or code), environments=release(view))


def refuse(view: JobView, unmet: Iterable[Blocked]) -> End | None:
    """Make the end, or the wait, that shut gates lead to; `None` if all are open."""
    reasons = tuple(unmet)
    if not reasons:
        return None
    if view.may_wait:
        return defer(view, reasons, wait=min(GATE_RECHECK, view.patience))
    return fail(view, reasons[0].code, make_refusal(reasons))


def defer(view: JobView, reasons: tuple[Blocked, ...], *, wait: timedelta) -> End:
    """Give the slot back and begin anew, at the earliest after `wait`."""
    deferred = Deferred(view.now, reasons=reasons, run_after=view.now + wait)
    return End(deferred, environments=release(view))


def make_refusal(reasons: Iterable[Blocked]) -> str:
    """Say every reason and what to do about it, a line each."""
    return "\n".join(f"{reason.detail}. Next: {reason.remedy}." for reason in reasons)


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
    """Read how the environment stands by the node's own word; `None` where it said nothing we understand."""
    try:
        return read_answer(outcome, "node", NodeReport)
    except NodeAnswerInvalid:
        return None


def is_untouched(outcome: RunOutcome) -> bool:
    """Whether the node itself says that the failed step changed nothing live."""
    report = read_report(outcome)
    return report is not None and report.cut is None and report.status == EnvironmentStatus.ACTIVE


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
