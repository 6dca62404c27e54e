"""Real playbooks for every way a run can end (spec §5)."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.core.ansible_result import classify_rc
from reconciler.ports import RunState
from reconciler.stack.ports import find_free_port
from reconciler.stack.sshd import Sshd
from tests.integration.runner.stage import PLAYBOOK_ROOT, Stage, make_node, make_spec


@pytest.mark.parametrize(
    ("playbook", "rc", "code", "retry"),
    [
        pytest.param("not-there", 1, "ANSIBLE_PLAY_ERROR", True, id="missing playbook"),
        pytest.param("unknown-role", 1, "ANSIBLE_PLAY_ERROR", True, id="missing role"),
        pytest.param("foreign-failure", 2, "ANSIBLE_HOST_FAILED", True, id="failed task"),
        pytest.param("broken-yaml", 5, "ANSIBLE_SYNTAX_ERROR", False, id="broken YAML"),
        pytest.param("unknown-module", 5, "ANSIBLE_SYNTAX_ERROR", False, id="unknown module"),
        pytest.param("crash", 250, "ANSIBLE_UNEXPECTED_ERROR", False, id="exception in Ansible"),
        pytest.param("kill-ansible", None, "ANSIBLE_UNKNOWN_EXIT", False, id="killed"),
        pytest.param("nobody", 0, "ANSIBLE_UNKNOWN_EXIT", False, id="no host matched"),
        pytest.param("idle", 0, "ANSIBLE_UNKNOWN_EXIT", False, id="every task skipped"),
    ],
)
def test_a_run_that_fails_says_in_which_way(
    stage: Stage, playbook: str, rc: int | None, code: str, *, retry: bool
) -> None:
    outcome = stage.run(make_spec(playbook))
    assert (outcome.state, outcome.rc, outcome.code, outcome.retry) == (RunState.FAILED, rc, code, retry)
    assert classify_rc(outcome.rc) == (code, retry)
    assert outcome.message


def test_a_wrong_setting_is_an_error_of_syntax(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "playbooks").mkdir(parents=True)
    (root / "ansible.cfg").write_text("[defaults]\npoll_interval = often\n")
    (root / "playbooks" / "idle.yml").write_text((PLAYBOOK_ROOT / "playbooks" / "idle.yml").read_text())
    outcome = Stage(tmp_path / "runs", playbook_root=root).run(make_spec("idle"))
    assert (outcome.rc, outcome.code) == (5, "ANSIBLE_SYNTAX_ERROR")


def test_a_node_that_does_not_answer_is_unreachable(ssh_stage: Stage, sshd: Sshd) -> None:
    outcome = ssh_stage.run(make_spec("succeed", node=make_node(sshd, port=find_free_port())))
    assert (outcome.rc, outcome.code, outcome.retry) == (4, "ANSIBLE_HOST_UNREACHABLE", True)
    assert "Connection refused" in outcome.message


def test_a_node_with_another_host_key_is_unreachable(ssh_stage: Stage, sshd: Sshd) -> None:
    outcome = ssh_stage.run(make_spec("succeed", node=make_node(sshd, host="localhost")))
    assert outcome.code == "ANSIBLE_HOST_UNREACHABLE"
    assert "Host key verification failed" in outcome.message


def test_the_message_of_a_failed_run_holds_nothing_of_the_raw_output(stage: Stage) -> None:
    outcome = stage.run(make_spec("unknown-module"))
    assert "nobody.nothing.never" not in outcome.message
    log = stage.run_root / next(iter(stage.run_root.glob("*.check"))) / "ansible.log"
    assert "nobody.nothing.never" in log.read_text()
