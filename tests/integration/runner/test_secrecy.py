"""What a run may see, and what it must not show or execute."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.adapters.private_folder import find_private_parent
from reconciler.ports import Json, RunState
from reconciler.stack.sshd import Sshd
from tests.integration.runner.pipe import ProcessPipe
from tests.integration.runner.stage import LOCAL, Stage, make_node, make_spec

OURS = (
    "ANSIBLE_",
    "AWX_",
    "RUNNER_",
    "PRESSLUFT_RUN_ID",
    "PATH",
    "HOME",
    "LANG",
    "LC_",
    "MAX_EVENT_RES",
    "PWD",
)


def test_a_run_inherits_nothing_of_the_daemons_environment(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTIC_PASSWORD", "hunter2")
    monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", "/hunter2")
    monkeypatch.setenv("PYTHONSTARTUP", "/hunter2")
    outcome = stage.run(make_spec("look-around"))
    assert outcome.state is RunState.SUCCEEDED
    assert "hunter2" not in json.dumps(outcome.result)
    names = {
        entry.partition("=")[0] for one in list_ancestors(outcome.result["ancestors"]) for entry in one[1]
    }
    assert {name for name in names if not name.startswith(OURS)} == set()


def test_variables_are_in_no_command_line_and_no_environment(stage: Stage) -> None:
    outcome = stage.run(make_spec("look-around", variables={"note": "needle-in-a-haystack"}))
    ancestors = list_ancestors(outcome.result["ancestors"])
    assert len(ancestors) >= 3  # the worker, ansible-playbook, the supervisor
    assert "needle-in-a-haystack" not in json.dumps(ancestors)


def test_variables_and_artifacts_are_gone_after_the_run(stage: Stage) -> None:
    key = stage.runner.start(make_spec("succeed", variables={"note": "needle-in-a-haystack"}))
    stage.wait(key)
    assert list(find_private_parent().glob(f"pressluft-{stage.mark[:12]}-*")) == []
    kept = [path.read_text() for path in (stage.run_root / key).iterdir()]
    assert "needle-in-a-haystack" not in "".join(kept)


def test_nobody_else_can_read_what_a_run_keeps(stage: Stage, pipe: ProcessPipe) -> None:
    key = stage.runner.start(make_spec("sleep", variables={"pipe": str(pipe.path)}))
    pipe.read_pid()
    (private,) = find_private_parent().glob(f"pressluft-{stage.mark[:12]}-*")
    folders = [stage.run_root, stage.run_root / key, private]
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in folders] == [0o700] * 3
    assert stat.S_IMODE((stage.run_root / key / "ansible.log").stat().st_mode) == 0o600
    stage.runner.cancel(key)
    stage.wait(key)


def test_a_template_in_a_variable_is_text(stage: Stage, tmp_path: Path) -> None:
    text = f"{{{{ lookup('pipe', 'touch {tmp_path}/was-here') }}}} \U0001f600\x7f '\" # : 1"
    outcome = stage.run(make_spec("succeed", variables={"greeting": text, "a": {"b": [text]}}))
    assert outcome.result["second"] == text
    assert not (tmp_path / "was-here").exists()


def test_a_template_in_a_node_is_text(stage: Stage, tmp_path: Path) -> None:
    template = f"{{{{ lookup('pipe', 'touch {tmp_path}/was-here') }}}}"
    outcome = stage.run(make_spec("succeed", node=replace(LOCAL, python_interpreter=template)))
    assert outcome.state is RunState.FAILED
    assert not (tmp_path / "was-here").exists()


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"host": "-oProxyCommand=touch was-here"}, id="an option as the host"),
        pytest.param({"user": "-oProxyCommand=x"}, id="an option as the user"),
        pytest.param({"host": "a b"}, id="two words as the host"),
        pytest.param({"name": "web[1:9]"}, id="a range as the name"),
        pytest.param({"name": "../web"}, id="a path as the name"),
    ],
)
def test_an_address_that_is_none_is_refused(ssh_stage: Stage, sshd: Sshd, fields: dict[str, str]) -> None:
    spec = make_spec("succeed", node=replace(make_node(sshd), **fields))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not a"):
        ssh_stage.runner.start(spec)
    assert ssh_stage.runner.find(spec.job_id, spec.epoch) == []


@pytest.mark.parametrize("playbook", ["../secrets", "/etc/passwd", "-v", ""])
def test_a_playbook_is_a_name_and_no_path(stage: Stage, playbook: str) -> None:
    with pytest.raises(ValueError, match="not a run"):
        stage.runner.start(make_spec(playbook))


def test_a_key_is_no_path(stage: Stage) -> None:
    outside = stage.run_root.parent / "outside"
    outside.mkdir()
    stage.runner.forget("../outside")
    assert outside.exists()
    assert stage.runner.outcome("../outside").state is RunState.LOST


def list_ancestors(value: Json) -> list[tuple[list[str], list[str]]]:
    """Return command line and environment of each process above the module."""
    assert isinstance(value, list)
    pairs = [(one["argv"], one["environ"]) for one in value if isinstance(one, dict)]
    return [([str(a) for a in argv or ()], [str(e) for e in env or () if e]) for argv, env in pairs]  # type: ignore[union-attr]


def test_the_raw_output_outlives_the_run_on_the_controller_alone(stage: Stage) -> None:
    key = stage.runner.start(make_spec("succeed"))
    stage.wait(key)
    stage.runner.forget(key)
    log = stage.run_root.parent / "logs" / f"{key}.log"
    assert "PLAY RECAP" in log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert stat.S_IMODE(log.parent.stat().st_mode) == 0o700
