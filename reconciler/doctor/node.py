"""What the nodes have and lack: each is asked by one read-only playbook, a few at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

from reconciler.cli.playbook import run_playbook
from reconciler.core.flow import NodeAnswerInvalid, read_answer
from reconciler.core.variables import describe_environment
from reconciler.errors import PressluftError
from reconciler.ports import Json, RunOutcome, RunState
from reconciler.settings import Settings
from schemas.fleet import Environment, Node
from schemas.observation import Examination, Finding
from schemas.state import ErrorCode, FindingState

Fleet = Mapping[str, tuple[Node, Sequence[Environment]]]


def examine_nodes(settings: Settings, nodes: Fleet) -> dict[str, tuple[Finding, ...]]:
    """Ask every node; one that does not answer is told as such and holds up no other."""
    with ThreadPoolExecutor(max_workers=settings.max_jobs) as pool:
        asked = {name: pool.submit(ask_node, settings, *node) for name, node in sorted(nodes.items())}
        return {name: answer.result() for name, answer in asked.items()}


def ask_node(settings: Settings, node: Node, environments: Sequence[Environment]) -> tuple[Finding, ...]:
    """Run the playbook on one node and read its answer."""
    variables: dict[str, Json] = {
        "pressluft_job": {"id": str(uuid4()), "epoch": 0, "type": "health_check", "step": "examine"},
        "pressluft_request": {"environments": [describe_environment(env) for env in environments]},
    }
    try:
        outcome = run_playbook(settings, node, "node-check", variables=variables, dry_run=True)
    except (PressluftError, ValueError) as error:
        return (make_silence(str(error)),)
    return read_findings(outcome)


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
