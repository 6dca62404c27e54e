"""The peak memory of every process that a job starts, by what kind of process it is."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

_PERIOD = 0.25
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
        try:
            watched = psutil.Process(self.process)
            family = {self.process, *(child.pid for child in watched.children(recursive=True))}
        except psutil.Error:
            family = set()
        found = ((pid, read_words(pid)) for pid in psutil.pids())
        return [
            (pid, words)
            for pid, words in found
            if pid in family or any(str(self.folder) in word for word in words)
        ]


def read_words(pid: int) -> list[str]:
    """The command line of a process; empty where it has ended."""
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return []
    return line.decode(errors="replace").rstrip("\0").split("\0")


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
