"""`pressluft run` as it is, but for its playbooks, which are those of a test: see test_service.py."""

from __future__ import annotations

import os
from pathlib import Path

from reconciler.adapters.playbook_runner import AnsiblePlaybookRunner
from reconciler.cli import run
from reconciler.cli.main import main
from reconciler.daemon import Daemon


class PatientDaemon(Daemon):
    """Runs the playbooks of a folder."""

    def _make_runner(self) -> AnsiblePlaybookRunner:
        return AnsiblePlaybookRunner(
            run_root=self.settings.state_dir / "runs",
            playbook_root=Path(os.environ["PLAYBOOK_ROOT"]),
            ssh_key=None,
            known_hosts=None,
            on_change=self.wake,
        )


if __name__ == "__main__":
    run.Daemon = PatientDaemon  # type: ignore[misc]
    main()
