"""What is kept of one run on the controller's disk, so that it survives both the run and the daemon.

<run_root>/<key>/
    sheet.json        what the supervisor needs: host, playbook, time-out, private folder, its daemon
    supervisor.txt    which process supervises the run (see `process_tree.read_identity`)
    events.jsonl      progress, a line each
    ansible.log       Ansible's own output and the supervisor's tracebacks; never leaves this machine
    result.json       how it ended; written last and at once, so it is whole or absent
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.adapters.process_tree import is_alive, read_identity
from reconciler.ports import RunEvent, RunOutcome, RunState

if TYPE_CHECKING:  # each supervisor reads this module, and starts sooner without all of the schemas
    from schemas.status import JobRecord


@dataclass(frozen=True, slots=True)
class RunSheet:
    """The supervisor's orders. `timeout` in seconds; `daemon` is the identity of the process that started it
    (see `process_tree.read_identity`)."""

    host: str
    playbook: str
    playbook_root: str
    private_folder: str
    timeout: float
    daemon: str
    dry_run: bool = False
    tag: str = ""


class RunFolder:
    """The files of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = path / "ansible.log"
        self.events = path / "events.jsonl"
        self._sheet = path / "sheet.json"
        self._supervisor = path / "supervisor.txt"
        self._result = path / "result.json"

    @property
    def key(self) -> str:
        """The run's name."""
        return self.path.name

    def write_sheet(self, sheet: RunSheet) -> None:
        """Keep the orders of a run."""
        self._sheet.write_text(json.dumps(asdict(sheet)))

    def read_sheet(self) -> RunSheet | None:
        """Return the orders; None if the daemon died before they were written, or spoke of other things."""
        try:
            return RunSheet(**json.loads(self._sheet.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def write_supervisor(self) -> None:
        """Keep that this process supervises the run."""
        self._supervisor.write_text(read_identity(os.getpid()) or "")

    def is_supervised(self) -> bool:
        """Say whether the run's supervisor is alive."""
        try:
            identity = self._supervisor.read_text()
        except FileNotFoundError:
            return False
        return identity != "" and is_alive(identity)

    def write_result(self, outcome: RunOutcome) -> None:
        """Keep how the run ended: on the disk when this returns, and never half."""
        draft = self._result.with_suffix(".draft")
        with draft.open("w") as file:
            json.dump(asdict(outcome), file)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(self._result)
        folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def read_result(self) -> RunOutcome | None:
        """Return how the run ended; None while nobody wrote it in the words of this version."""
        try:
            kept = json.loads(self._result.read_text())
            return RunOutcome(**{**kept, "state": RunState(kept["state"])})
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return None

    def read_events(self, *, after: int) -> Sequence[RunEvent]:
        """Return the progress lines numbered above `after`, up to the first that is not whole (yet)."""
        try:
            lines = self.events.read_text().split("\n")[after:-1]
        except FileNotFoundError:
            return ()
        events: list[RunEvent] = []
        with contextlib.suppress(ValueError):  # a full disk may have cut a line
            for line in lines:
                events.append(_parse_event(line))  # noqa: PERF401 - what came before the cut is kept
        return events


def make_progress(run_root: Path) -> Callable[[JobRecord], tuple[RunEvent, ...]]:
    """Return what tells a job's progress: the lines of all its runs at its epoch, the oldest first.

    Only where the daemon that runs the job is on this very machine, and while the job runs.
    """

    def find_progress(job: JobRecord) -> tuple[RunEvent, ...]:
        try:
            folders = sorted(
                run_root.glob(f"{job.id}.{job.epoch}.*"), key=lambda path: path.stat().st_ctime_ns
            )
            return tuple(event for path in folders for event in RunFolder(path).read_events(after=0))
        except OSError:
            return ()  # the run ended just now, or its files are not this user's to read

    return find_progress


def _parse_event(line: str) -> RunEvent:
    kept = json.loads(line)
    return RunEvent(number=kept["number"], at=datetime.fromisoformat(kept["at"]), text=kept["text"])
