"""What the nodes have and lack: each is asked by one read-only playbook, a few at a time."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Final
from uuid import uuid4

from reconciler.adapters.playbook_runner import AnsiblePlaybookRunner
from reconciler.core.flow import NodeAnswerInvalid, read_answer
from reconciler.core.variables import describe_environment, make_address
from reconciler.errors import PressluftError
from reconciler.ports import RunOutcome, RunSpec, RunState
from reconciler.settings import Settings, find_bundled
from schemas.fleet import Environment, Node
from schemas.observation import Examination, Finding
from schemas.state import ErrorCode, FindingState

STEP: Final = "examine"
TIMEOUT: Final = timedelta(minutes=2)
Fleet = Mapping[str, tuple[Node, Sequence[Environment]]]


def examine_nodes(settings: Settings, nodes: Fleet) -> dict[str, tuple[Finding, ...]]:
    """Ask every node; one that does not answer is told as such and holds up no other."""
    ended = threading.Condition()

    def tell() -> None:
        with ended:
            ended.notify_all()

    with tempfile.TemporaryDirectory(prefix="pressluft-doctor-") as folder:
        runner = AnsiblePlaybookRunner(
            run_root=Path(folder, "runs"),
            playbook_root=find_bundled("ansible"),
            ssh_key=settings.ssh_key,
            known_hosts=settings.known_hosts,
            on_change=tell,
        )
        with ThreadPoolExecutor(max_workers=settings.max_jobs) as pool:
            asked = {
                name: pool.submit(ask_node, runner, make_spec(settings, *node), ended)
                for name, node in sorted(nodes.items())
            }
            return {name: answer.result() for name, answer in asked.items()}


def make_spec(settings: Settings, node: Node, environments: Sequence[Environment]) -> RunSpec:
    """Make the run that examines one node."""
    job_id = uuid4()
    return RunSpec(
        job_id=job_id,
        epoch=0,
        step=STEP,
        playbook="node-check",
        node=make_address(node),
        variables={
            "pressluft_job": {"id": str(job_id), "epoch": 0, "type": "health_check", "step": STEP},
            "pressluft_settings": {
                "state_dir": settings.node_state_dir,
                "config_dir": settings.node_config_dir,
            },
            "pressluft_request": {"environments": [describe_environment(env) for env in environments]},
        },
        timeout=TIMEOUT,
    )


def ask_node(runner: AnsiblePlaybookRunner, spec: RunSpec, ended: threading.Condition) -> tuple[Finding, ...]:
    """Run the playbook on one node and read its answer."""
    try:
        key = runner.start(spec)
    except (PressluftError, ValueError) as error:
        return (make_silence(str(error)),)
    with ended:
        ended.wait_for(lambda: runner.outcome(key).state is not RunState.RUNNING)
    return read_findings(runner.outcome(key))


def read_findings(outcome: RunOutcome) -> tuple[Finding, ...]:
    """Read what the node said, or why it said nothing."""
    if outcome.state is not RunState.SUCCEEDED:
        reach = outcome.code == ErrorCode.ANSIBLE_HOST_UNREACHABLE
        return (make_silence(outcome.message, name="reach" if reach else "answer"),)
    try:
        return read_answer(outcome, "examination", Examination).findings
    except NodeAnswerInvalid as error:
        return (make_silence(str(error)),)


def make_silence(said: str, *, name: str = "answer") -> Finding:
    """Make the finding of a node that did not answer."""
    remedy = "log in with the daemon's ssh_key, as nodes/NODE.yaml says, and look at host, port, user and interpreter"
    return Finding(name=name, state=FindingState.MISSING, detail=said, remedy=remedy)
