"""What exit codes and events of Ansible mean; real playbooks are in tests/integration/runner."""

from __future__ import annotations

from functools import reduce

import pytest
from ansible_collections.pressluft.wordpress.plugins.plugin_utils import overheard
from pydantic import JsonValue

from reconciler.core.ansible_result import (
    MAX_MESSAGE_BYTES,
    PROGRESS_MARK,
    PlaySummary,
    classify_rc,
    clip_message,
    find_progress,
    fold_event,
    judge_play,
)

CLEAN: dict[str, JsonValue] = {"ok": {"n1": 1}, "failures": {}, "dark": {}, "rescued": {}}


def make_event(kind: str, **data: JsonValue) -> dict[str, JsonValue]:
    return {"event": kind, "event_data": data}


def fold(*events: dict[str, JsonValue]) -> PlaySummary:
    return reduce(fold_event, events, PlaySummary())


def fail(*, code: str | None = None, msg: str = "broken") -> dict[str, JsonValue]:
    error: dict[str, JsonValue] = {"code": code, "message": msg, "remedy": ""}
    return make_event(
        "runner_on_failed", task="Work", res={"msg": msg, **({"pressluft_error": error} if code else {})}
    )


@pytest.mark.parametrize(
    ("rc", "unreachable", "timed_out", "expected"),
    [
        pytest.param(1, False, False, ("ANSIBLE_PLAY_ERROR", True), id="1"),
        pytest.param(2, False, False, ("ANSIBLE_HOST_FAILED", True), id="2"),
        pytest.param(4, True, False, ("ANSIBLE_HOST_UNREACHABLE", True), id="4 of a host"),
        pytest.param(4, False, False, ("ANSIBLE_SYNTAX_ERROR", False), id="4 of the parser"),
        pytest.param(5, False, False, ("ANSIBLE_SYNTAX_ERROR", False), id="5"),
        pytest.param(250, False, False, ("ANSIBLE_UNEXPECTED_ERROR", False), id="250"),
        pytest.param(99, False, False, ("ANSIBLE_UNKNOWN_EXIT", False), id="interrupted"),
        pytest.param(0, False, False, ("ANSIBLE_UNKNOWN_EXIT", False), id="0 without success"),
        pytest.param(None, False, False, ("ANSIBLE_UNKNOWN_EXIT", False), id="a signal"),
        pytest.param(None, False, True, ("ANSIBLE_TIMEOUT", True), id="too long"),
    ],
)
def test_an_exit_code_has_one_meaning(
    rc: int | None, expected: tuple[str, bool], *, unreachable: bool, timed_out: bool
) -> None:
    assert classify_rc(rc, unreachable=unreachable, timed_out=timed_out) == expected


@pytest.mark.parametrize(
    "stats",
    [
        pytest.param({}, id="no statistics"),
        pytest.param({**CLEAN, "ok": {}}, id="nothing done"),
        pytest.param({**CLEAN, "ok": {"n2": 1}}, id="another host"),
        pytest.param({**CLEAN, "failures": {"n1": 1}}, id="a failure"),
        pytest.param({**CLEAN, "dark": {"n1": 1}}, id="unreachable"),
    ],
)
def test_an_exit_code_of_0_alone_is_no_success(stats: dict[str, JsonValue]) -> None:
    verdict = judge_play(fold(make_event("playbook_on_stats", **stats)), host="n1", rc=0)
    assert verdict.code == "ANSIBLE_UNKNOWN_EXIT"
    assert "n1" in verdict.message


def test_a_clean_run_of_the_expected_host_is_a_success() -> None:
    assert judge_play(fold(make_event("playbook_on_stats", **CLEAN)), host="n1", rc=0).code is None


def test_a_clean_look_of_the_statistics_does_not_outweigh_an_exit_code() -> None:
    verdict = judge_play(fold(make_event("playbook_on_stats", **CLEAN)), host="n1", rc=250)
    assert verdict.code == "ANSIBLE_UNEXPECTED_ERROR"


def test_a_failure_before_the_node_was_lost_is_not_the_cause() -> None:
    lost = make_event("runner_on_unreachable", res={"msg": "no route"})
    verdict = judge_play(fold(fail(code="BACKUP_INVALID"), lost), host="n1", rc=4)
    assert verdict.code == "ANSIBLE_HOST_UNREACHABLE"
    assert "no route" in verdict.message


def test_a_module_that_does_not_ask_for_a_retry_gets_none() -> None:
    assert judge_play(fold(fail(code="BACKUP_INVALID")), host="n1", rc=2).retry is False


def test_a_failure_with_a_code_says_more_than_an_earlier_one_without() -> None:
    assert judge_play(fold(fail(), fail(code="BACKUP_INVALID")), host="n1", rc=2).code == "BACKUP_INVALID"


@pytest.mark.parametrize("event", [{}, {"event": "runner_on_ok", "event_data": None}, {"event": "EOF"}])
def test_an_event_of_an_unexpected_shape_changes_nothing(event: dict[str, JsonValue]) -> None:
    assert fold(event) == PlaySummary()
    assert find_progress(event) == ((), "")


def test_the_name_of_a_task_waits_until_the_task_is_known_not_to_be_skipped() -> None:
    lines, waiting = find_progress(make_event("playbook_on_task_start", task="Cut over"))
    assert (lines, waiting) == ((), "Cut over")
    assert find_progress(make_event("runner_on_skipped"), waiting=waiting) == ((), "")
    assert find_progress(make_event("runner_on_start"), waiting=waiting) == ((), "Cut over")
    assert find_progress(make_event("runner_on_ok"), waiting=waiting) == (("Cut over",), "")


def test_what_an_action_plugin_displays_is_progress_if_it_says_so() -> None:
    said = {"event": "verbose", "stdout": f"{PROGRESS_MARK}copy tables: 1 of 3 tables"}
    assert find_progress(said, waiting="Stage") == (("Stage", "copy tables: 1 of 3 tables"), "")
    assert find_progress({"event": "verbose", "stdout": "Using ansible.cfg"}, waiting="Stage") == (
        (),
        "Stage",
    )


def test_both_ends_know_a_line_of_progress_by_the_same_mark() -> None:
    assert overheard.MARK == PROGRESS_MARK


def test_a_message_is_cut_to_its_limit_between_characters() -> None:
    clipped = clip_message("ä" * MAX_MESSAGE_BYTES)
    assert clipped == "ä" * (MAX_MESSAGE_BYTES // 2)


def test_no_failure_makes_a_longer_message_than_the_limit() -> None:
    for code in (None, "BACKUP_INVALID"):
        verdict = judge_play(fold(fail(code=code, msg="x" * 20_000)), host="n1", rc=2)
        assert len(verdict.message.encode()) == MAX_MESSAGE_BYTES
