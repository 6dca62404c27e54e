"""A named pipe by which a test learns that a process began, and that the last holder of the pipe is gone."""

from __future__ import annotations

import os
import select
from pathlib import Path
from types import TracebackType
from typing import Self

PATIENCE = 30.0
"""Seconds until a wait has failed."""


class ProcessPipe:
    """Opened for reading as a context manager; `path` goes to the process."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        self._descriptor = -1

    def __enter__(self) -> Self:
        self._descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    def read_pid(self) -> int:
        """Return the process id that is written into the pipe, as soon as it is."""
        assert self._poll(select.POLLIN), "the process never began"
        return int(os.read(self._descriptor, 100))

    def wait_for_end(self) -> None:
        """Return when nobody holds the pipe any more."""
        assert self._poll(0), "the process never ended"

    def _poll(self, events: int) -> bool:
        poll = select.poll()
        poll.register(self._descriptor, events)
        return bool(poll.poll(PATIENCE * 1000))
