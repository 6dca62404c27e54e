"""What a run of `ansible-playbook` means, from its exit code and its events alone.

The exit codes were provoked with ansible-core 2.19 (tests/integration/runner/test_exit_codes.py): 1 a missing
playbook, role or imported file; 2 a failed task; 4 an unreachable host, but also every error of the parser
(YAML, unknown module or keyword); 5 a wrong option or setting; 250 an exception nobody caught; none when a
signal ended it. 0 says nothing by itself: a play that matched no host ends with it too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from reconciler.ports import Json
from schemas.state import ErrorCode

MAX_MESSAGE_BYTES = 10 * 1024
"""spec §5: `error_message` goes into git for ever."""

PROGRESS_MARK = "pressluft progress: "
"""Begins what our action plugins display while a module is at work (`plugin_utils/overheard.py`)."""

_RC_FAILED, _RC_UNREACHABLE, _RC_SYNTAX = 2, 4, 5
_CODES: Mapping[int | None, tuple[ErrorCode, bool]] = {
    1: (ErrorCode.ANSIBLE_PLAY_ERROR, True),
    _RC_FAILED: (ErrorCode.ANSIBLE_HOST_FAILED, True),
    _RC_UNREACHABLE: (ErrorCode.ANSIBLE_HOST_UNREACHABLE, True),
    _RC_SYNTAX: (ErrorCode.ANSIBLE_SYNTAX_ERROR, False),
    250: (ErrorCode.ANSIBLE_UNEXPECTED_ERROR, False),
}
_EXPLANATIONS: Mapping[ErrorCode, str] = {
    ErrorCode.ANSIBLE_PLAY_ERROR: "Ansible could not load the playbook or something it imports",
    ErrorCode.ANSIBLE_HOST_FAILED: "A task failed on the node",
    ErrorCode.ANSIBLE_HOST_UNREACHABLE: "The node could not be reached",
    ErrorCode.ANSIBLE_SYNTAX_ERROR: "Ansible could not read the playbook, the inventory or its settings",
    ErrorCode.ANSIBLE_UNEXPECTED_ERROR: "Ansible itself broke",
    ErrorCode.ANSIBLE_UNKNOWN_EXIT: "Ansible ended in a way that says nothing about the node",
}
_HINT = "the controller's log of this run holds Ansible's own output"

Event = Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class TaskFailure:
    """One failed task. `code` and `retry` are those of a module of ours, None of any other module."""

    message: str
    code: str | None = None
    retry: bool | None = None


@dataclass(frozen=True, slots=True)
class PlaySummary:
    """What the events of a run have said so far. `stats` is None until the playbook came to its end."""

    result: Mapping[str, Json] = field(default_factory=dict)
    failures: tuple[TaskFailure, ...] = ()
    unreachable: str | None = None
    stats: Mapping[str, Json] | None = None


@dataclass(frozen=True, slots=True)
class PlayVerdict:
    """How a run ended; `code` is None only if it succeeded.

    `rc` is told apart: 4 is an unreachable host, 5 whatever could not be parsed.
    """

    rc: int | None
    code: str | None = None
    message: str = ""
    retry: bool | None = None


def classify_rc(
    rc: int | None, *, unreachable: bool = True, timed_out: bool = False
) -> tuple[ErrorCode, bool]:
    """Return the error code (spec §5) and whether it may be retried.

    `rc` is None when a signal ended the run. `unreachable=False` says that no host was reported unreachable,
    so that 4 is the parser's; the rc of a `RunOutcome` is told apart already.
    """
    if timed_out:
        return ErrorCode.ANSIBLE_TIMEOUT, True
    told_apart = find_exit_code(rc, unreachable=unreachable)
    return _CODES.get(told_apart, (ErrorCode.ANSIBLE_UNKNOWN_EXIT, False))


def find_exit_code(rc: int | None, *, unreachable: bool) -> int | None:
    """Return `rc`, with 5 for a parser's 4: ansible-core uses one number for both."""
    return _RC_SYNTAX if rc == _RC_UNREACHABLE and not unreachable else rc


def fold_event(summary: PlaySummary, event: Event) -> PlaySummary:
    """Return the summary with one event of ansible-runner added; unknown events change nothing."""
    data = _find_mapping(event, "event_data")
    returned = _find_mapping(data, "res")
    match event.get("event"):
        case "runner_on_ok":
            return _add_result(summary, returned)
        case "runner_on_failed" if data.get("ignore_errors") is not True:
            failed = replace(summary, failures=(*summary.failures, _make_failure(data, returned)))
            return _add_result(failed, returned)
        case "runner_on_failed":
            return _add_result(summary, returned)
        case "runner_on_unreachable":
            return replace(summary, unreachable=_find_text(returned, "msg") or "no reason given")
        case "playbook_on_stats":
            return replace(summary, stats=data)
    return summary


def find_progress(event: Event, *, waiting: str = "") -> tuple[Sequence[str], str]:
    """Return the lines of progress that an event stands for, and the name of a task that waits to be told.

    A task's name waits, as `waiting` of the next call, until something tells that the task was not skipped: each
    playbook lists the tasks of all its steps. A module's own lines come while it is at work, or with its result.
    """
    data = _find_mapping(event, "event_data")
    told = (waiting,) if waiting else ()
    match event.get("event"):
        case "playbook_on_task_start" | "playbook_on_handler_task_start":
            return told, _find_text(data, "task")
        case "runner_on_skipped":
            return (), ""
        case "verbose":
            displayed = _find_text(event, "stdout")
            if displayed.startswith(PROGRESS_MARK):
                return (*told, displayed[len(PROGRESS_MARK) :]), ""
        case "runner_on_ok" | "runner_on_failed":
            lines = _find_mapping(data, "res").get("pressluft_progress")
            own = (line for line in lines if isinstance(line, str)) if isinstance(lines, list) else ()
            return (*told, *own), ""
    return (), waiting


def judge_play(summary: PlaySummary, *, host: str, rc: int | None) -> PlayVerdict:
    """Decide how a run ended: it succeeded if its exit code, its statistics and its host all say so."""
    if rc == 0 and _is_clean(summary.stats or {}, host):
        return PlayVerdict(rc=0)
    told_apart = find_exit_code(rc, unreachable=summary.unreachable is not None)
    code, retry = classify_rc(told_apart)
    failure = _find_cause(summary) if told_apart == _RC_FAILED else None
    if failure is None:
        return PlayVerdict(told_apart, code, _explain(summary, rc=told_apart, host=host), retry)
    if failure.code is None:
        return PlayVerdict(told_apart, code, failure.message, retry)
    return PlayVerdict(told_apart, failure.code, failure.message, failure.retry)


def clip_message(text: str) -> str:
    """Return `text` in at most 10 KiB of UTF-8, cut between characters."""
    return text.encode()[:MAX_MESSAGE_BYTES].decode(errors="ignore")


def _is_clean(stats: Mapping[str, Json], host: str) -> bool:
    """Say whether the host ran something, and nothing on it failed (rescued and ignored failures are none)."""
    counts = {name: _find_mapping(stats, name).get(host, 0) for name in ("ok", "failures", "dark")}
    done = counts["ok"]
    return isinstance(done, int) and done > 0 and counts["failures"] == 0 and counts["dark"] == 0


def _find_cause(summary: PlaySummary) -> TaskFailure | None:
    """Return the failure that ended the play.

    The first one is the cause and what fails in an `always` afterwards is fallout; but where a `rescue`
    caught something, the first was dealt with and the last is what the play ended with. A failure that
    carries a code says more than one that does not.
    """
    spoken = [failure for failure in summary.failures if failure.code is not None] or summary.failures
    if not spoken:
        return None
    return spoken[-1] if any(_find_mapping(summary.stats or {}, "rescued").values()) else spoken[0]


def _explain(summary: PlaySummary, *, rc: int | None, host: str) -> str:
    if rc == _RC_UNREACHABLE:
        reached = _EXPLANATIONS[ErrorCode.ANSIBLE_HOST_UNREACHABLE]
        return clip_message(f"{reached}: {summary.unreachable}")
    if rc == 0:
        return f"The playbook ended without having done anything on {host}; {_HINT}."
    code, _ = classify_rc(rc)
    ending = "ended by a signal" if rc is None else f"exit code {rc}"
    return f"{_EXPLANATIONS[code]} ({ending}); {_HINT}."


def _add_result(summary: PlaySummary, returned: Mapping[str, Json]) -> PlaySummary:
    part = _find_mapping(returned, "pressluft")
    return replace(summary, result={**summary.result, **part}) if part else summary


def _make_failure(data: Mapping[str, Json], returned: Mapping[str, Json]) -> TaskFailure:
    error = _find_mapping(returned, "pressluft_error")
    code = _find_text(error, "code")
    if not code:
        text = _find_text(returned, "msg") or _HINT
        return TaskFailure(message=clip_message(f"{_find_text(data, 'task') or 'A task'}: {text}"))
    parts = (_find_text(error, "message") or _find_text(returned, "msg"), _find_text(error, "remedy"))
    return TaskFailure(
        message=clip_message(" ".join(part for part in parts if part)),
        code=code,
        retry=error.get("retry") is True,
    )


def _find_mapping(data: Mapping[str, Json], name: str) -> Mapping[str, Json]:
    value = data.get(name)
    return value if isinstance(value, dict) else {}


def _find_text(data: Mapping[str, Json], name: str) -> str:
    value = data.get(name)
    return value if isinstance(value, str) else ""
