"""kill -9 of every process involved in a cut-over: in the suite a few cells, all of them by `make faults-cutover`."""

from __future__ import annotations

import os

import pytest

from tests.faults.cell import Arena, Cell, Victim, Way, check_verdict, list_cells
from tests.faults.report import Report

pytestmark = pytest.mark.e2e
EVERY = "PRESSLUFT_FAULTS"
"""Set it to run every cell, and to a path to write the table there."""
SAMPLE = (Cell(Way.FORWARD, 2, Victim.ALL), Cell(Way.FORWARD, 3, Victim.ALL))
"""The last moment of the old release and the first of the new one, with nobody left but the node's recovery."""


def find_cells() -> list[Cell]:
    return list_cells() if os.environ.get(EVERY) else list(SAMPLE)


@pytest.fixture(scope="module")
def report() -> Report:
    return Report(os.environ.get(EVERY))


@pytest.mark.parametrize("cell", [pytest.param(cell, id=cell.name) for cell in find_cells()])
def test_production_is_entirely_old_or_new_and_the_job_tells_the_truth(
    arena: Arena, report: Report, cell: Cell
) -> None:
    ending = arena.fight(cell)
    check_verdict(cell, ending)
    report.add(cell, ending)


def test_the_cells_come_from_the_programs_own_steps() -> None:
    assert {cell.step for cell in list_cells()} >= {step for way in Way for step in way.steps}
    assert set(SAMPLE) <= set(list_cells())
