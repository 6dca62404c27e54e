"""A runner over the playbooks beside this file, with what a test needs to start runs and wait for their ends."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

from reconciler.adapters.playbook_runner import AnsiblePlaybookRunner
from reconciler.adapters.process_tree import find_marked
from reconciler.ports import Json, NodeAddress, RunOutcome, RunSpec, RunState
from reconciler.stack.sshd import Sshd
from tests.integration.runner.pipe import PATIENCE

PLAYBOOK_ROOT = Path(__file__).parent
LOCAL = NodeAddress(name="n1", host="localhost", port=None, user="nobody", python_interpreter=sys.executable)


class Stage:
    """A run root of its own; `sshd` is the server whose keys the runner trusts."""

    def __init__(
        self, run_root: Path, *, sshd: Sshd | None = None, playbook_root: Path = PLAYBOOK_ROOT
    ) -> None:
        self.run_root = run_root
        self._changed = threading.Event()
        self.runner = AnsiblePlaybookRunner(
            run_root=run_root,
            playbook_root=playbook_root,
            ssh_key=sshd.client_key if sshd else None,
            known_hosts=sshd.known_hosts if sshd else None,
            on_change=self._changed.set,
        )

    @property
    def mark(self) -> str:
        """What every process of a run of this root carries."""
        return (self.run_root / "mark.txt").read_text()

    def count_processes(self) -> int:
        """Return how many processes of runs of this root are alive."""
        return len(find_marked(self.mark))

    def run(self, spec: RunSpec) -> RunOutcome:
        """Run to the end, which leaves no process behind however it comes."""
        outcome = self.wait(self.runner.start(spec))
        assert self.count_processes() == 0
        return outcome

    def wait(self, key: str) -> RunOutcome:
        """Return the outcome of a run as soon as it has ended."""
        while (outcome := self.runner.outcome(key)).state is RunState.RUNNING:
            assert self._changed.wait(PATIENCE), "no run ended"
            self._changed.clear()
        return outcome


def make_spec(
    playbook: str,
    *,
    node: NodeAddress = LOCAL,
    variables: Mapping[str, Json] | None = None,
    timeout: timedelta = timedelta(seconds=PATIENCE),
) -> RunSpec:
    """Return a step of a new job."""
    return RunSpec(
        job_id=uuid4(),
        epoch=1,
        step="check",
        playbook=playbook,
        node=node,
        variables=variables or {},
        timeout=timeout,
    )


def make_node(sshd: Sshd, *, host: str | None = None, port: int | None = None) -> NodeAddress:
    """Return the node that this sshd serves."""
    return NodeAddress(
        name="n1",
        host=host or sshd.host,
        port=port or sshd.port,
        user=sshd.user,
        python_interpreter=sys.executable,
    )
