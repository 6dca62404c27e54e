"""`pressluft node prepare`: by the playbook, on this machine, as an operator calls it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from reconciler.cli.main import app
from tests.integration.git.people import git
from tests.story import make_fleet_files

NODE = """apiVersion: pressluft/v1
kind: Node
metadata: {{name: web1, id: 7d1f0c3e-0f0a-4f6e-9a52-0a5a4b8d2c11}}
spec: {{host: localhost, python_interpreter: {python}}}
"""


@pytest.fixture
def prepare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Call the command on a fleet with a node that is this machine."""
    fleet = tmp_path / "fleet"
    fleet.mkdir()
    git(fleet, "init", "--quiet", "--initial-branch=main")
    for path, text in (make_fleet_files() | {"nodes/web1.yaml": NODE.format(python=sys.executable)}).items():
        (fleet / path).parent.mkdir(parents=True, exist_ok=True)
        (fleet / path).write_text(text)
    git(fleet, "add", "--all")
    git(fleet, "commit", "--quiet", "-m", "Begin")
    monkeypatch.setenv("PRESSLUFT_STATE_DIR", str(tmp_path / "controller"))
    monkeypatch.setenv("PRESSLUFT_NODE_STATE_DIR", str(tmp_path / "node"))
    monkeypatch.setenv("PRESSLUFT_NODE_CONFIG_DIR", str(tmp_path / "config"))
    return lambda *words: CliRunner().invoke(
        app, ["node", "prepare", *words, "--no-service", "--repo", str(fleet)]
    )


def test_a_node_is_prepared_once_and_a_dry_run_changes_nothing(
    prepare: Callable[..., Result], tmp_path: Path
) -> None:
    program = tmp_path / "node" / "pressluft-recover.zip"
    dry = prepare("web1", "--dry-run")
    assert (dry.exit_code, f"{program} would be written" in dry.output) == (0, True), dry.output
    assert not program.exists()
    done = json.loads(prepare("web1", "--json").output)
    assert done["changed"][0] == str(program)
    assert str(program) in done["recover"]["hint"]
    assert json.loads(prepare("web1", "--json").output)["changed"] == []
    # Ansible sent no more than the module needs: the program must run on that alone.
    command = [*done["recover"]["command"], "--once"]
    subprocess.run(command, check=True, env={"PATH": os.defpath}, timeout=60)


def test_a_node_that_nobody_described_is_refused_with_those_there_are(prepare: Callable[..., Result]) -> None:
    refused = prepare("web9")
    assert refused.exit_code == 1
    assert "there is no node 'web9'" in refused.output
    assert "web1" in refused.output
