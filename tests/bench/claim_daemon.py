"""The daemon as it is, but for the playbooks: what `bench_claim.py` measures. Run: python -m ... REPO STATE_DIR"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from reconciler.adapters.playbook_runner import AnsiblePlaybookRunner
from reconciler.daemon import Daemon, stop_on_signals
from reconciler.ports import Json, RunOutcome, RunSpec, RunState
from reconciler.settings import Settings
from tests.fake_runner import FakePlaybookRunner


class InstantRunner(FakePlaybookRunner):
    """Ends each backup at once."""

    def clean_leftovers(self) -> Sequence[str]:
        """Find nothing."""
        return ()


class FakedDaemon(Daemon):
    """Wakes, reads, plans, signs and pushes as the real one."""

    def _make_runner(self) -> AnsiblePlaybookRunner:
        runner = InstantRunner(on_change=self.wake)
        runner.answer("backup", back_up)
        return runner  # type: ignore[return-value] # the same port


def back_up(_: RunSpec) -> RunOutcome:
    """Answer as a node that took a backup."""
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    made: Json = {
        "snapshot_id": "f" * 64,
        "began_at": now,
        "ended_at": now,
        "size_bytes": 1,
        "repository": "/b",
    }
    return RunOutcome(RunState.SUCCEEDED, {"backup": made, "node": {"status": "active"}}, rc=0)


if __name__ == "__main__":
    repo, state_dir = sys.argv[1:3]
    daemon = FakedDaemon(Settings(repo=repo, state_dir=Path(state_dir), worker="bench", max_jobs=64))
    stop_on_signals(daemon)
    daemon.run()
