"""Running one playbook now, for commands that work on a node themselves instead of writing an intent."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import timedelta
from uuid import uuid4

from reconciler.adapters.playbook_runner import AnsiblePlaybookRunner
from reconciler.core.variables import make_address
from reconciler.ports import Json, RunOutcome, RunSpec, RunState
from reconciler.settings import Settings, find_bundled
from schemas.fleet import Node

_TIMEOUT = timedelta(minutes=30)


def run_playbook(
    settings: Settings, node: Node, playbook: str, *, variables: Mapping[str, Json], dry_run: bool
) -> RunOutcome:
    """Run `playbook` on one node and return how it ended; `dry_run` is Ansible's check mode.

    Nothing of the run outlives this process. `pressluft_settings` is added to the variables.
    """
    ended = threading.Event()
    runner = AnsiblePlaybookRunner(
        run_root=settings.state_dir / "command-runs",
        playbook_root=find_bundled("ansible"),
        ssh_key=settings.ssh_key,
        known_hosts=settings.known_hosts,
        on_change=ended.set,
    )
    folders: Json = {"state_dir": settings.node_state_dir, "config_dir": settings.node_config_dir}
    spec = RunSpec(
        job_id=uuid4(),
        epoch=1,
        step="command",
        playbook=playbook,
        node=make_address(node),
        variables={"pressluft_settings": folders, **variables},
        timeout=_TIMEOUT,
        dry_run=dry_run,
    )
    key = runner.start(spec)
    while (outcome := runner.outcome(key)).state is RunState.RUNNING:
        ended.wait()
    runner.forget(key)
    return outcome
