"""Cutting a cable while an environment is refreshed from a production on another node: part of `make faults-nodes`.

The refresh's program is held at each of its own steps while the cable is cut, and let go; and a cable is cut while
rows are on it. The steps are the program's, so that none can be forgotten.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.refresh import STEPS

from reconciler.demo.evidence import PROTECTED_TABLES
from reconciler.stack.site import Site
from schemas.intent import DriftCheck, Refresh
from schemas.state import DriftStatus, EnvironmentStatus, JobStatus
from tests.e2e.cut_link import Ending, Plan, list_databases, list_leftovers, see_through
from tests.e2e.far_world import FarWorld, make_far_world
from tests.faults.cable_report import CableReport
from tests.faults.halting import REFRESH, HaltingPython

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]
SHORT, LONG = 5.0, 75.0
"""TCP gets over the first; after the second ssh has given up, and so have both nodes."""
PATIENCE = 60.0
ON_THE_WAY = "rows on the way"
AFAR = "fetched"
"""A step of refreshes between nodes alone, after `cloning`."""
MOMENTS = (STEPS[0], ON_THE_WAY, AFAR, *STEPS[1:])
LONG_AT = (ON_THE_WAY, "prepared", "settled")
COLUMNS = tuple(f"{scope}, {end}'s cable" for scope in ("full", "protected") for end in ("target", "source"))


@dataclass(frozen=True)
class Cell:
    """Which refresh loses which cable, when, and for how long."""

    moment: str
    scope: str
    end: str
    seconds: float

    @property
    def name(self) -> str:
        """How the cell is called."""
        return f"{self.moment.replace(' ', '-')}-{self.scope}-{self.end}-{self.seconds:.0f}s"


def list_cells() -> list[Cell]:
    """Every moment once with each scope, the ends by turns; and some of them for long with both ends."""
    ends = ("target", "source")
    short = [
        Cell(moment, scope, ends[(number + turn) % 2], SHORT)
        for turn, scope in enumerate(("full", "protected"))
        for number, moment in enumerate(MOMENTS)
    ]
    return short + [Cell(moment, "full", end, LONG) for moment in LONG_AT for end in ends]


@dataclass
class Case:
    """The three hosts and the Python that stops refreshes; each cell changes production once more."""

    far: FarWorld
    python: HaltingPython
    post: int = 0
    count: int = 0

    def change_production(self, *, code: bool) -> str:
        """Give production another post, upload and row; returns the version they are of."""
        self.count += 1
        version, site = f"{self.count}.5.0", self.far.production
        site.query("UPDATE {p}posts SET post_title = %s WHERE ID = %s", version, self.post)
        site.query(
            "INSERT INTO {p}postmeta (post_id, meta_key, meta_value)"
            f" SELECT %s, 'noise', REPEAT('{version} ', 500) FROM seq_1_to_1000",
            self.post,
        )
        (site.uploads / "version.txt").write_text(version)
        if code:
            style = site.current / "wp-content/themes/pressluft-demo/style.css"
            before = style.read_text().partition("Version:")
            style.write_text(f"{before[0]}Version: {version}\n{before[2].partition(chr(10))[2]}")
        return version

    def read_served(self) -> tuple[str, str]:
        """The versions that staging serves: of its theme, which is code, and of the post, which is data."""
        page = self.far.show_staging().body
        return page.partition('theme-version">')[2].partition("<")[0], self.read_post(self.far.staging)

    def read_post(self, site: Site) -> str:
        """The post's title."""
        ((title,),) = site.query("SELECT post_title FROM {p}posts WHERE ID = %s", self.post)
        return str(title)

    def is_on_the_way(self) -> bool:
        """Whether production's rows are being brought to staging's node."""
        return any("__pressluft_far_" in name for name in list_databases(self.far.origin))

    def refresh_through(self, cell: Cell, look: Callable[[], str]) -> Ending:
        """Refresh while the cable is cut."""
        when = self.python.has_halted
        if cell.moment == ON_THE_WAY:
            when = self.is_on_the_way
        else:
            self.python.order(cell.moment)
        job_id = self.far.ask(Refresh, {"environment": "staging", "scope": cell.scope})
        cable = (self.far.target if cell.end == "target" else self.far.origin).cable
        plan = Plan(when=when, seconds=cell.seconds, then=self.python.release, look=look)
        try:
            return see_through(self.far, job_id, cable, plan)
        finally:
            self.python.release()


@pytest.fixture(scope="module")
def case(session_folder: Path) -> Iterator[Case]:
    tools = session_folder / "refresh-tools"
    tools.mkdir()
    python = HaltingPython(tools, REFRESH)
    with make_far_world(session_folder / "refresh", python=str(python.path)) as far:
        case = Case(far, python)
        wanted = "SELECT MIN(ID) FROM {p}posts WHERE post_type = 'post' AND post_status = 'publish'"
        ((post,),) = far.production.query(wanted)
        case.post = int(str(post))
        case.change_production(code=True)
        assert far.refresh("full").status is JobStatus.SUCCEEDED
        yield case


@pytest.fixture(scope="module")
def report() -> CableReport:
    return CableReport("refresh, cut at", COLUMNS)


def name_served(case: Case, *, old: tuple[str, str], new: tuple[str, str]) -> str:
    """Say which of the two staging serves. What is under way on its node needs seconds to end."""
    deadline = time.monotonic() + PATIENCE
    while (served := case.read_served()) not in {old, new}:
        if time.monotonic() > deadline:
            return f"neither old nor new: {served}"
        time.sleep(0.1)
    return "old" if served == old else "new"


def count_rows(site: Site) -> dict[str, object]:
    return {name: site.query(f"SELECT COUNT(*) FROM {{p}}{name}") for name in PROTECTED_TABLES}


@pytest.mark.parametrize("cell", [pytest.param(cell, id=cell.name) for cell in list_cells()])
def test_a_refresh_is_seen_through_whenever_a_cable_is_cut(
    case: Case, report: CableReport, cell: Cell
) -> None:
    far, old = case.far, case.read_served()
    version = case.change_production(code=cell.scope == "full")
    new = (version if cell.scope == "full" else old[0], version)
    before = far.evidence()
    ending = case.refresh_through(cell, lambda: name_served(case, old=old, new=new))
    assert ending.seen in {"old", "new"}
    assert (ending.job.status, ending.job.error_message) == (JobStatus.SUCCEEDED, None)
    assert case.read_served() == new
    check_copy(far, version)
    assert far.evidence() == before
    for_long = " (75 s)" if cell.seconds == LONG else ""
    report.add(f"{cell.moment}{for_long}", f"{cell.scope}, {cell.end}'s cable", ending)


def check_copy(far: FarWorld, version: str) -> None:
    """Staging is a copy, its baseline says so, and nothing of the refresh is left on either node."""
    assert (far.staging.uploads / "version.txt").read_text() == version
    assert count_rows(far.staging) == count_rows(far.production)
    assert list_leftovers(far.target) == list_leftovers(far.origin) == []
    assert len(list((far.staging.root / "releases").iterdir())) == 1
    assert far.act(DriftCheck, {"environment": "staging"}).status is JobStatus.SUCCEEDED
    for name in ("staging", "production"):
        record = far.service.find_named("acme", name).record
        assert record is not None
        assert record.status is EnvironmentStatus.ACTIVE
        assert name == "production" or record.drift_status is DriftStatus.CLEAN


def test_the_moments_are_the_programs_own_steps() -> None:
    assert set(STEPS) < {cell.moment for cell in list_cells()}
