"""The peak memory of every process that a job starts, by what kind of process it is."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

_PERIOD = 0.1
_KINDS = (
    ("--state-dir", "detached program"),
    ("reconciler.adapters.supervisor", "supervisor"),
    ("reconciler run", "daemon"),
    ("ansible-playbook", "ansible-playbook"),
    ("AnsiballZ", "module"),
    ("restic", "restic"),
    ("php", "WP-CLI"),
)


@dataclass
class PeakMemory:
    """Watches the descendants of one process, and whoever names `folder`; a context manager.

    `peaks` are the kernel's own high-water marks of resident memory (VmHWM) in bytes.
    """

    process: int
    folder: Path
    peaks: dict[str, int] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(_PERIOD):
            for pid, words in self._find_processes():
                kind = classify(words)
                self.peaks[kind] = max(self.peaks.get(kind, 0), read_peak(pid))

    def _find_processes(self) -> list[tuple[int, list[str]]]:
        found: dict[int, list[str]] = {}
        for process in psutil.process_iter():
            try:
                words = process.cmdline()
                ours = process.pid == self.process or any(str(self.folder) in word for word in words)
                if ours or self.process in {parent.pid for parent in process.parents()}:
                    found[process.pid] = words
            except psutil.Error:
                continue
        return list(found.items())


def classify(words: list[str]) -> str:
    """Name the kind of a process by its command line. Ansible pipes a module into an interpreter without a word."""
    line = " ".join(words)
    for part, kind in _KINDS:
        if part in line:
            return kind
    return "module" if len(words) == 1 and "python" in line else "other"


def read_peak(pid: int) -> int:
    """The most resident memory that a process ever had, in bytes; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)
