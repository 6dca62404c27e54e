"""One run of a playbook in a process of its own: `python -m reconciler.adapters.supervisor RUN_DIR`.

It runs ansible-runner, and lets nothing of the run outlive it. Four things stop a run early: a request (a byte
on stdin), the time-out, SIGTERM, and the death of the daemon (seen through a pidfd: a parent-death *signal*
would also come when the daemon's thread that started us ends). Then every descendant is killed, and only when
none is left the result is written. A run stopped for the daemon's death or by SIGTERM ends as *lost*: nobody
asked for that, and what became of the work only the node knows.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import sys
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from queue import Empty, SimpleQueue

import ansible_runner

from reconciler.adapters.private_folder import INVENTORY
from reconciler.adapters.process_tree import (
    become_subreaper,
    find_descendants,
    kill_all,
    kill_once,
    read_identity,
    reap_children,
)
from reconciler.adapters.run_folder import RunFolder, RunSheet
from reconciler.core.ansible_result import (
    Event,
    PlaySummary,
    classify_rc,
    find_progress,
    fold_event,
    judge_play,
)
from reconciler.ports import RunOutcome, RunState

_KILL_ROUND_SECONDS = 0.05
_SKIPPED_SECONDS = 0.5
"""A task that is skipped says so at once; after this time its name is told."""
_TASK_GOES_ON: Event = {"event": "runner_on_ok"}


class Stop(StrEnum):
    """Why a run is stopped before its end."""

    REQUESTED = "it was cancelled"
    TIMED_OUT = "it took longer than it may"
    ORPHANED = "the daemon that started it died"
    TERMINATED = "its supervisor was told to end"


class Watch:
    """A thread that waits for a reason to stop, and then kills all descendants until told that it is over."""

    def __init__(self, sheet: RunSheet) -> None:
        self.stop: Stop | None = None
        self._deadline = time.monotonic() + sheet.timeout
        self._over = threading.Event()
        self._poll = select.poll()
        self._sources = {
            self._watch_signals(): Stop.TERMINATED,
            self._watch_parent(sheet.daemon): Stop.ORPHANED,
            sys.stdin.fileno(): Stop.REQUESTED,
        }
        for descriptor in self._sources:
            self._poll.register(descriptor, select.POLLIN)
        self._thread = threading.Thread(target=self._guard, daemon=True)

    def start(self) -> None:
        """Start waiting."""
        self._thread.start()

    def end(self) -> None:
        """Stop killing: the caller sweeps up itself from here on."""
        self._over.set()
        if self.stop is not None:
            self._thread.join()

    def _guard(self) -> None:
        self.stop = self._wait()
        # Again and again: ansible-playbook may be about to be started.
        while not self._over.wait(_KILL_ROUND_SECONDS):
            kill_once(find_descendants())

    def _wait(self) -> Stop:
        left = max(0.0, self._deadline - time.monotonic())
        ready = [self._sources[descriptor] for descriptor, _ in self._poll.poll(left * 1000)]
        if not ready:
            return Stop.TIMED_OUT
        if Stop.REQUESTED in ready:
            return Stop.REQUESTED if os.read(sys.stdin.fileno(), 1) else Stop.ORPHANED
        return ready[0]

    @staticmethod
    def _watch_signals() -> int:
        """Return what becomes readable when a signal asks this process to end."""
        readable, writable = os.pipe()
        os.set_blocking(writable, False)
        signal.set_wakeup_fd(writable)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda _number, _frame: None)
        return readable

    @staticmethod
    def _watch_parent(daemon: str) -> int:
        """Return what becomes readable when the daemon dies, at once if it is dead."""
        with contextlib.suppress(ProcessLookupError):
            descriptor = os.pidfd_open(os.getppid())
            if read_identity(os.getppid()) == daemon:
                return descriptor
        return os.open(os.devnull, os.O_RDONLY)


class EventRecorder:
    """Takes ansible-runner's events in a thread of its own: a handler that raises would break the run."""

    def __init__(self, folder: RunFolder) -> None:
        self._written = 0
        self._summary = PlaySummary()
        self._folder = folder
        self._queue: SimpleQueue[Event | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._record, daemon=True)

    def start(self) -> None:
        """Start recording."""
        self._thread.start()

    def take(self, event: Event) -> bool:
        """Take one event; False keeps ansible-runner from writing it to a file as well."""
        self._queue.put(event)
        return False

    def end(self) -> PlaySummary:
        """Return what all events together said."""
        self._queue.put(None)
        self._thread.join()
        return self._summary

    def _record(self) -> None:
        waiting = ""
        while (event := self._take_next(waiting)) is not None:
            self._summary = fold_event(self._summary, event)
            texts, waiting = find_progress(event, waiting=waiting)
            # A full disk takes the log away, but must not change what the run means.
            with contextlib.suppress(OSError):
                self._write_output(event)
                self._write_progress(texts)

    def _take_next(self, waiting: str) -> Event | None:
        """Wait for the next event; the name of a task that waits is told once the task goes on for a moment."""
        try:
            return self._queue.get(timeout=_SKIPPED_SECONDS if waiting else None)
        except Empty:
            return _TASK_GOES_ON

    def _write_output(self, event: Event) -> None:
        output = event.get("stdout")
        if isinstance(output, str) and output:
            with self._folder.log.open("a") as log:
                log.write(f"{output}\n")

    def _write_progress(self, texts: Sequence[str]) -> None:
        if not texts:
            return
        now = datetime.now(UTC).isoformat()
        lines = [
            json.dumps({"number": number, "at": now, "text": text})
            for number, text in enumerate(texts, start=self._written + 1)
        ]
        with self._folder.events.open("a") as events:
            events.write("".join(f"{line}\n" for line in lines))
        self._written += len(lines)


def main() -> int:
    """Supervise the run of the folder named by the only argument."""
    folder = RunFolder(Path(sys.argv[1]))
    sheet = folder.read_sheet()
    if sheet is None:
        return 2
    become_subreaper()
    folder.write_supervisor()
    watch, recorder = Watch(sheet), EventRecorder(folder)
    watch.start()
    recorder.start()
    try:
        rc = _run_playbook(sheet, recorder)
    finally:
        watch.end()
        left = kill_all(find_descendants)
        reap_children()
        shutil.rmtree(sheet.private_folder, ignore_errors=True)
    summary = recorder.end()
    if watch.stop is None or summary.stats is not None:
        folder.write_result(make_own_outcome(summary, host=sheet.host, rc=rc))
    else:
        folder.write_result(make_stopped_outcome(summary, stop=watch.stop, is_gone=not left))
    return 0


def make_own_outcome(summary: PlaySummary, *, host: str, rc: int | None) -> RunOutcome:
    """Return the outcome of a playbook that came to its own end."""
    verdict = judge_play(summary, host=host, rc=rc)
    return RunOutcome(
        state=RunState.FAILED if verdict.code else RunState.SUCCEEDED,
        result=summary.result,
        rc=verdict.rc,
        code=verdict.code,
        message=verdict.message,
        retry=verdict.retry,
    )


def make_stopped_outcome(summary: PlaySummary, *, stop: Stop, is_gone: bool) -> RunOutcome:
    """Return the outcome of a run that was stopped; `is_gone` says that nothing of it is left."""
    message = f"The run was stopped: {stop}."
    if stop is Stop.REQUESTED and is_gone:
        return RunOutcome(state=RunState.CANCELLED, result=summary.result, message=message)
    if stop is Stop.TIMED_OUT and is_gone:
        code, retry = classify_rc(None, timed_out=True)
        return RunOutcome(
            RunState.FAILED, summary.result, code=code, message=message, retry=retry, timed_out=True
        )
    return RunOutcome(state=RunState.LOST, result=summary.result, message=message)


def _run_playbook(sheet: RunSheet, recorder: EventRecorder) -> int | None:
    """Run it to its end, or until it is killed; returns the exit code, None if a signal ended it."""
    runner = ansible_runner.run(
        private_data_dir=sheet.private_folder,
        project_dir=sheet.playbook_root,
        playbook=sheet.playbook,
        inventory=str(Path(sheet.private_folder, INVENTORY)),
        forks=1,
        cmdline="--check" if sheet.dry_run else None,
        tags=sheet.tag or None,  # a task that is skipped costs a process, one that is not looked at nothing
        quiet=True,
        settings={"suppress_output_file": True},
        event_handler=recorder.take,
        cancel_callback=lambda: False,  # without one, ansible-runner takes SIGTERM for itself
    )
    rc = runner.rc
    return rc if isinstance(rc, int) else None


if __name__ == "__main__":
    sys.exit(main())
