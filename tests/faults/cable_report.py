"""What became of jobs whose cable was cut, as a table: written after each cell, as the kill matrix is."""

from __future__ import annotations

import os
from pathlib import Path

from tests.e2e.cut_link import Ending
from tests.faults.page import make_table

PATH = "PRESSLUFT_FAULTS"
"""Set it to a path to write the table there. What stands there of other modules is kept."""


class CableReport:
    """One table of a page: a row for each moment, a column for each way to cut a cable."""

    def __init__(self, head: str, columns: tuple[str, ...]) -> None:
        self._path = Path(os.environ[PATH]) if PATH in os.environ else None
        self._before = self._path.read_text() + "\n" if self._path and self._path.exists() else ""
        self._head, self._columns = head, columns
        self._rows: dict[str, dict[str, str]] = {}

    def add(self, row: str, column: str, ending: Ending) -> None:
        """Note how one cell ended, and write the table anew."""
        self._rows.setdefault(row, {})[column] = describe(ending)
        if self._path is not None:
            rows = [
                (name, *(cells.get(column, "-") for column in self._columns))
                for name, cells in self._rows.items()
            ]
            table = make_table((self._head, *self._columns), rows)
            self._path.write_text(self._before + "\n".join(table) + "\n")


def describe(ending: Ending) -> str:
    """Say what was served while the cable was cut, how the job ended, in which attempt, and how long after."""
    attempt = "" if ending.job.attempt_count == 1 else f" at attempt {ending.job.attempt_count}"
    return f"{ending.seen}; {ending.job.status}{attempt}, {ending.seconds:.0f} s"
