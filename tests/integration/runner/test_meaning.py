"""What a run makes of the answers of its modules."""

from __future__ import annotations

from dataclasses import replace

from reconciler.ports import RunState
from reconciler.stack.sshd import Sshd
from tests.integration.runner.stage import Stage, make_node, make_spec


def test_the_parts_of_a_result_are_merged_in_the_order_of_tasks(ssh_stage: Stage, sshd: Sshd) -> None:
    outcome = ssh_stage.run(make_spec("succeed", node=make_node(sshd)))
    assert outcome.result == {"first": 1, "both": "late", "second": "none"}
    assert (outcome.rc, outcome.code, outcome.message) == (0, None, "")


def test_a_run_of_one_tag_looks_at_no_other_task(stage: Stage) -> None:
    outcome = stage.run(replace(make_spec("steps"), tag="stage"))
    assert (outcome.state, outcome.result) == (RunState.SUCCEEDED, {"staged": True})


def test_a_failure_that_was_rescued_or_ignored_is_none(stage: Stage) -> None:
    outcome = stage.run(make_spec("rescue"))
    assert (outcome.state, outcome.code) == (RunState.SUCCEEDED, None)
    assert outcome.result == {"put_right": True}


def test_after_a_rescue_the_last_failure_is_the_cause(stage: Stage) -> None:
    outcome = stage.run(make_spec("late"))
    assert (outcome.code, outcome.retry) == ("ROLLBACK_FAILED", False)
    assert outcome.message == "The release did not come back. Reset it."


def test_what_fails_while_cleaning_up_is_not_the_cause(stage: Stage) -> None:
    outcome = stage.run(make_spec("fallout"))
    assert (outcome.code, outcome.message) == ("SCHEMA_UNSUPPORTED", "A trigger is in the way. Drop it.")


def test_a_failing_task_of_somebody_else_is_named(stage: Stage) -> None:
    assert stage.run(make_spec("foreign-failure")).message.startswith("Run what fails: ")
