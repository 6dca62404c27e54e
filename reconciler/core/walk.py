"""How a running job goes on: along its steps with the outcomes known so far, to one decision.

Before the cut-over anything may be dropped and tried again. Once a step that changes what is live was started, or
the node says that it was, only the node's own word counts, and no gate is asked again (spec.md §5, design §3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Final, cast

from pydantic import JsonValue, ValidationError

from reconciler.core.baseline import find_baseline_changes
from reconciler.core.environment import EnvironmentEvent
from reconciler.core.flow import (
    Decision,
    End,
    Flow,
    JobView,
    Keep,
    NodeAnswerInvalid,
    StartStep,
    Step,
    defer,
    fail,
    is_untouched,
    no_end,
    read_answer,
    read_report,
    release,
    settle,
    settle_by_word,
)
from reconciler.core.job import Cancelled, Failed, Retried, TakenOver
from reconciler.core.party import Misfit, Parties, Unsettled
from reconciler.ports import Json, RunOutcome, RunState
from schemas.document import DocumentInvalid
from schemas.observation import NodeReport, Reported
from schemas.state import ErrorCode
from schemas.status import Blocked

RETRY_WAITS: Final = (timedelta(minutes=1), timedelta(minutes=5))  # spec.md §5
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


class JobWord(Reported):
    """Where a job stands by the node's journal (the `job` of a probe and of `JOB_FINISHED`)."""

    finished: bool
    result: Mapping[str, JsonValue] | None = None
    error: Mapping[str, object] | None = None


def decide_running(view: JobView, flow: Flow) -> Decision:
    """Decide how a running job goes on; an answer that is not understood is an end too."""
    try:
        return keep_gains(walk(view, flow), view, flow)
    except (NodeAnswerInvalid, ValidationError, DocumentInvalid) as error:
        # The latter two: the answer is well-formed but makes a record that could never be read back.
        end = fail(view, ErrorCode.ANSIBLE_UNEXPECTED_ERROR, f"the node's answer makes no sense: {error}")
        if has_gone_live(view, flow):
            return replace(end, environments=settle(view, EnvironmentEvent.BROKE))
        return wind_up(view, flow, end)


def keep_gains(decision: Decision, view: JobView, flow: Flow) -> Decision:
    """Record with any end what the job has gained so far, and which baselines its steps left."""
    if not isinstance(decision, End):
        return decision
    known = {record.id for record in decision.records}
    gained = tuple(record for record in flow.gain() if record.id not in known)
    changes = (*decision.environments, *find_baseline_changes(view))
    return replace(decision, records=(*decision.records, *gained), environments=changes)


def walk(view: JobView, flow: Flow) -> Decision:
    """Find the first step that has not succeeded and decide on it."""
    for step in list_steps(view, flow):
        outcome = view.outcomes.get(step.name)
        if outcome is None:
            return start(view, flow, step)
        if outcome.state is RunState.RUNNING:
            return Keep()
        if is_silent(outcome, step):
            return take_over(view, outcome)
        end = step.judge(outcome) if outcome.state is RunState.SUCCEEDED else decide_failure(view, step)
        if end is not None:
            return wind_up(view, flow, place(end, step))
    return flow.finish()


def list_steps(view: JobView, flow: Flow) -> Iterable[Step]:
    """List the steps to walk.

    A job that went live is walked from that step on: what its gates were judged by is past, and the cut-over is seen
    through. A job that was taken over asks the node first whether it went live.
    """
    changing = [step for step in flow.steps if step.changes_live]
    if has_gone_live(view, flow):
        begun = next(number for number, step in enumerate(flow.steps) if is_begun(view, step))
        return flow.steps[begun:]
    steps = tuple(replace(step, guard=make_guard(view, step)) for step in flow.steps)
    if not changing or not is_taken_over(view):
        return steps
    probe = Step(PROBE, changing[0].playbook, PROBE_TIMEOUT)
    answer = view.outcomes.get(PROBE)
    if answer is None or answer.state is RunState.RUNNING or is_silent(answer, probe):
        return (probe,)
    went_live = read_answer(answer, "node", NodeReport).cut is not None
    return [replace(step, guard=no_end) for step in changing] if went_live else steps


def make_guard(view: JobView, step: Step) -> Callable[[], End | None]:
    """Make the guard of a step before the cut-over: the fleet's files first, then what the step asks itself."""
    return lambda: find_shaken(view) or step.guard()


def find_shaken(view: JobView) -> End | None:
    """Find out whether people changed, since the claim, the files that say who takes part or who may ask."""
    unproven = view.world.unproven.get(view.job.id)
    if unproven:
        return fail(view, ErrorCode.INTENT_INVALID, unproven)
    match view.today:
        case Misfit(message):
            return fail(
                view, ErrorCode.INTENT_INVALID, f"{message}. Next: correct it and commit a new intent."
            )
        case Unsettled(message):
            remedy = "correct the file that is named and commit it"
            return defer(view, (make_reason(ErrorCode.INTENT_INVALID, message, remedy),), wait=timedelta(0))
        case Parties() as today if not today.is_same_as(view.parties):
            detail = "the files of its environments or node were changed while the job ran"
            reason = make_reason(ErrorCode.SOURCE_CHANGED, detail, "nothing: the job begins again with them")
            return defer(view, (reason,), wait=timedelta(0))
    return None


def make_reason(code: ErrorCode, detail: str, remedy: str) -> Blocked:
    """Make the reason why a job gives its slot back."""
    return Blocked(code=code, detail=detail, remedy=remedy)


def has_gone_live(view: JobView, flow: Flow) -> bool:
    """Whether this epoch started a step that changes what is live."""
    return any(is_begun(view, step) for step in flow.steps)


def is_begun(view: JobView, step: Step) -> bool:
    """Whether a step that changes what is live was started."""
    return step.changes_live and step.name in view.outcomes


def is_taken_over(view: JobView) -> bool:
    """Whether this epoch began by taking over, rather than by a fresh start."""
    return view.job.taken_over > 0


def start(view: JobView, flow: Flow, step: Step) -> Decision:
    """Start a step, unless its guard says otherwise."""
    if DISCARD in view.outcomes and step.guard() is None:
        return take_over(view)  # what was staged is gone, and the reason for it as well: begin anew
    refused = step.guard()
    if refused is not None:
        return wind_up(view, flow, place(refused, step))
    return StartStep(step.name, step.playbook, step.timeout, step.request())


def place(end: End, step: Step) -> End:
    """Say at which step a job ended."""
    if isinstance(end.event, Failed | Cancelled):
        return replace(end, fields={"step": step.name, **(end.fields or {})})
    return end


def is_silent(outcome: RunOutcome, step: Step) -> bool:
    """Whether nobody knows what became of the step: only the node can say."""
    if outcome.state is RunState.RUNNING:
        return False
    if step.name == PROBE:
        return outcome.state is not RunState.SUCCEEDED or read_report(outcome) is None
    if outcome.state is RunState.SUCCEEDED:
        return False
    if outcome.state is RunState.LOST or outcome.code in {SUPERSEDED, FINISHED}:
        return True
    if not step.changes_live or is_untouched(outcome):
        return False
    return outcome.state is RunState.CANCELLED or find_code(outcome) in TRANSPORT_CODES


def find_code(outcome: RunOutcome) -> ErrorCode:
    """Return the code of a failed run; a module's own wins (`core/ansible_result.py`)."""
    return ErrorCode(outcome.code) if outcome.code in set(ErrorCode) else ErrorCode.ANSIBLE_UNKNOWN_EXIT


def decide_failure(view: JobView, step: Step) -> End:
    """Decide what a run that did not succeed means, once it is known what it left behind."""
    outcome = view.outcomes[step.name]
    is_harmless = not step.changes_live or is_untouched(outcome)
    if outcome.state is RunState.CANCELLED:
        event = Cancelled(view.now, summary="cancelled; nothing live was changed")
        return End(event, environments=release(view))
    code, attempts = find_code(outcome), view.job.attempt_count
    if outcome.retry and is_harmless and attempts < view.job.max_attempts:
        wait = RETRY_WAITS[min(attempts, len(RETRY_WAITS)) - 1]
        retried = Retried(view.now, run_after=view.now + wait, code=code, message=outcome.message)
        return End(retried, environments=release(view))
    settled = release(view) if is_harmless else settle_by_word(view, outcome)
    return replace(fail(view, code, outcome.message), environments=settled)


def take_over(view: JobView, outcome: RunOutcome | None = None) -> End:
    """Begin the next epoch, which asks the node first; give up after `unreachable_after`.

    The first of a row begins at once, later ones wait, so that a node that is away is not asked in a circle.
    """
    job = view.job
    since = job.locked_at if job.taken_over and job.locked_at else view.now
    code, known = describe_silence(outcome)
    if view.now - since > view.world.fleet.fleet.spec.unreachable_after:
        text = f"the node has not said what became of the job: {known}. Next: look at the node, then reset"
        return replace(fail(view, code, text), environments=settle(view, EnvironmentEvent.BROKE))
    wait = (timedelta(0), *RETRY_WAITS)[min(job.taken_over, len(RETRY_WAITS))]
    event = TakenOver(
        view.now,
        by=view.world.worker,
        run_after=view.now + wait if wait else None,
        spent=view.world.spent.get(job.id, 0),
        instance=view.world.instance,
    )
    return End(event, fields={"error_code": code, "error_message": known})


def describe_silence(outcome: RunOutcome | None) -> tuple[ErrorCode, str]:
    """Say why nobody knows what became of a run: by its own reason, or because it is gone."""
    if outcome is None or outcome.code in {None, SUPERSEDED, FINISHED}:
        return ErrorCode.JOB_TIMEOUT, (outcome.message if outcome else "") or "its runs were lost"
    return find_code(outcome), outcome.message or "its run failed without a word"


def wind_up(view: JobView, flow: Flow, end: End) -> Decision:
    """Drop what was staged before a job ends without a cut-over; the end itself is decided again afterwards."""
    if not flow.discard_playbook or not is_staged_only(view, flow):
        return end
    dropped = view.outcomes.get(DISCARD)
    if dropped is None:
        return StartStep(DISCARD, flow.discard_playbook, PROBE_TIMEOUT, {})
    return Keep() if dropped.state is RunState.RUNNING else end


def is_staged_only(view: JobView, flow: Flow) -> bool:
    """Whether something may be staged, by this epoch or the one it took over, and nothing is live."""
    may_be_staged = "stage" in view.outcomes or is_taken_over(view)
    return may_be_staged and not has_gone_live(view, flow)


def accept_end(view: JobView, flow: Flow) -> JobView:
    """Where the node says that the job ended there, take that end as the outcome of the job's last step."""
    last = flow.steps[-1].name
    for outcome in view.outcomes.values():
        end = find_end(outcome)
        if end is not None:
            outcomes = {**view.world.outcomes, view.job.id: {**view.outcomes, last: end}}
            return replace(view, world=replace(view.world, outcomes=outcomes))
    return view


def find_end(outcome: RunOutcome) -> RunOutcome | None:
    """Find how the job ended in what a node answered to a probe, or to a step of a job that it had ended."""
    try:
        word = read_answer(outcome, "job", JobWord)
    except NodeAnswerInvalid:
        return None
    if not word.finished:
        return None
    result = cast("dict[str, Json]", {**outcome.result, **(word.result or {})})
    if not word.error:
        return RunOutcome(RunState.SUCCEEDED, result, rc=0)
    said = " ".join(str(word.error[part]) for part in ("message", "remedy") if word.error.get(part))
    return RunOutcome(RunState.FAILED, result, code=str(word.error.get("code")), message=said, retry=False)
