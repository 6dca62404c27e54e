"""How far a long step is, for whoever watches: one small file that is replaced now and then (node-protocol.md).

It decides nothing and promises nothing: it is never fsynced, and a full disk only takes it away.
"""

from __future__ import annotations

import contextlib
import json
import os
import time

PROGRESS_FILE = "progress.json"
_SECONDS, _SHARE = 1.0, 0.01
"""A file a second, and after 100 s one for each hundredth of the time so far: hundreds of lines in hours."""
_COUNTS = ("tables", "rows", "bytes", "files")


class Progress:
    """What is being done, and how much of it is done. Without a `path` nobody watches, and nothing is written.

    `tables`, `rows` and `files` are counts, `bytes` those of the statements sent, `seconds` the time since `begin`.
    """

    def __init__(self, path="", *, job=None):
        self._path = path
        self._whose = {"epoch": job.epoch, "step": job.step} if job else {}
        self._began = self._written = time.monotonic()
        self._content = dict.fromkeys(_COUNTS, 0)

    def begin(self, doing, *, tables=0, rows=0):
        """Say what comes now, and of how many tables and (by the server's estimate) rows; 0 is unknown."""
        self._began = time.monotonic()
        expected = {"doing": doing, "tables_total": tables, "rows_expected": rows}
        self._content = dict(dict.fromkeys(_COUNTS, 0), **expected, **self._whose)
        self._write(self._began)

    def add(self, **counts):
        """Count on."""
        for name, count in counts.items():
            self._content[name] += count
        now = time.monotonic()
        if now - self._written >= max(_SECONDS, _SHARE * (now - self._began)):
            self._write(now)

    def end(self):
        """Leave nothing behind."""
        if self._path:
            with contextlib.suppress(OSError):
                os.unlink(self._path)

    def _write(self, now):
        if not self._path:
            return
        self._written = now
        content = json.dumps(dict(self._content, seconds=round(now - self._began, 1)))
        draft = self._path + ".new"
        with contextlib.suppress(OSError):
            with open(draft, "w", encoding="utf-8") as stream:
                stream.write(content)
            os.rename(draft, self._path)


SILENT = Progress()
"""For what nobody watches."""


@contextlib.contextmanager
def open_progress(state):
    """The progress of a step of the job that holds this environment; gone when the step ends."""
    progress = Progress(state.journal().make_path(PROGRESS_FILE), job=state.job)
    try:
        yield progress
    finally:
        progress.end()
