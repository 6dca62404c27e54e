"""The kill matrix as a table: written after each cell, so that a run that is broken off has told what it saw."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from tests.faults.cell import Cell, Ending, Victim


class Report:
    """Collects how cells ended; without a path nothing is written."""

    def __init__(self, path: str | None) -> None:
        self._path = Path(path) if path else None
        self._endings: dict[Cell, Ending] = {}

    def add(self, cell: Cell, ending: Ending) -> None:
        """Note one cell that ended as it should, and write the table anew."""
        self._endings[cell] = ending
        if self._path is not None:
            self._path.write_text(self.make_page())

    def make_page(self) -> str:
        """Make the page: a row for each step, a column for each victim."""
        seconds = sorted(ending.node_seconds for ending in self._endings.values())
        lines = [
            f"{len(seconds)} cells on {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} processors, load at the end:",
            f"{os.getloadavg()[0]:.1f}. From the kill to the node's own end: median",
            f"{seconds[len(seconds) // 2]:.1f} s, longest {seconds[-1]:.1f} s.",
            "",
            f"| killed after | {' | '.join(Victim)} |",
            f"| --- |{' --- |' * len(Victim)}",
        ]
        rows = dict.fromkeys((cell.way, cell.number, cell.step) for cell in self._endings)
        for way, number, step in rows:
            cells = [self._describe(Cell(way, number, victim)) for victim in Victim]
            lines.append(f"| {way}: {step} | {' | '.join(cells)} |")
        return "\n".join(lines) + "\n"

    def _describe(self, cell: Cell) -> str:
        ending = self._endings.get(cell)
        if ending is None:
            return "-"
        again = " again" if ending.by_node != ending.live else ""
        return f"{ending.by_node} ({ending.node_seconds:.1f} s), {ending.job.status}{again}"
