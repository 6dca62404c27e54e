"""Promotions and rollbacks while visitors come and go, and the same changes by `wp db import` and rsync.

A real WordPress behind nginx and PHP-FPM, whole jobs by daemon and Ansible. Wanted: no failed request, no lost comment,
no page of two releases that was asked for after the switch, no wait of 2 s during a cut.
PRESSLUFT_BENCH_PROMOTIONS (10), PRESSLUFT_BENCH_ROLLBACKS (5), PRESSLUFT_BENCH_SHARE (0.5, of what the site can serve).
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import pytest

from reconciler.stack.account import find_account, make_folder
from reconciler.stack.node_config import write_node_config
from reconciler.stack.site import create_empty_site, create_site, seed_content
from reconciler.stack.stack import Stack
from schemas.state import JobStatus
from schemas.status import JobRecord
from tests.bench.rival import run_shell
from tests.bench.visited_site import (
    Visit,
    describe_load,
    find_lost,
    measure_capacity,
    register_visitors,
    say,
    show_release,
    visited,
)
from tests.bench.visitors import Answer
from tests.e2e.world import World, make_world
from tests.servers import ignore

pytestmark = pytest.mark.timeout(0)  # it takes as long as it takes

PROMOTIONS = int(os.environ.get("PRESSLUFT_BENCH_PROMOTIONS", "10"))
ROLLBACKS = int(os.environ.get("PRESSLUFT_BENCH_ROLLBACKS", "5"))
TICK = 0.02
"""Seconds by which a file system's clock may be behind."""
SHARE = float(os.environ.get("PRESSLUFT_BENCH_SHARE", "0.5"))


@dataclass(frozen=True)
class Cut:
    """One cut-over: when the link was switched (s since the epoch), milliseconds of RENAME and of the gap between."""

    switched: float
    rename_ms: float
    gap_ms: float

    def has_met(self, page: Answer) -> bool:
        """Whether a page was asked for before the link was switched, and not answered before the RENAME."""
        renamed = self.switched - self.gap_ms / 1000
        return page.due <= self.switched + TICK and page.ended >= renamed - TICK


@pytest.fixture(scope="module")
def stack(session_folder: Path) -> Iterator[Stack]:
    """Servers as docs/how-to/set-up-a-node.md has them: compiled PHP outlives a reload."""
    compiled = make_folder(session_folder / "compiled", owner=find_account("www-data"), mode=0o700)
    settings = {"opcache.file_cache": str(compiled)}
    with Stack(session_folder / "load-stack", report=ignore, php_settings=settings) as servers:
        yield servers


@pytest.fixture(scope="module")
def world(stack: Stack, session_folder: Path) -> Iterator[World]:
    """Production with visitors' content, and a copy of it."""
    production, staging = create_site(stack, "p_load"), create_empty_site(stack, "s_load")
    seed_content(production, posts=200, comments=300, uploads=10)
    register_visitors(production)
    show_release(production, 0)
    production.fetch("/")
    folder = session_folder / "load"
    config = write_node_config(stack, session_folder / "load-config", restic_repository=folder / "restic")
    with (config / "node.ini").open("a", encoding="utf-8") as node_ini:
        node_ini.write(f"[fastcgi]\nlisten = {stack.php_fpm.socket}\n")
    world = make_world(folder, production=production, staging=staging, node_config=config, sshd=None)
    succeed(world.refresh("full"))
    yield world
    stack.forget(production.name)
    stack.forget(staging.name)


def succeed(job: JobRecord) -> JobRecord:
    """Return a job that succeeded; anything else ends the run with the job's own words."""
    assert job.status is JobStatus.SUCCEEDED, f"{job.error_code}: {job.error_message}"
    return job


@pytest.fixture
def rate(world: World) -> float:
    """The visits a second that are a share of what the site can serve."""
    capacity = measure_capacity(world.production, world.folder, seconds=15)
    say(f"\n{capacity:.1f} requests/s at most; {SHARE * capacity:.1f}/s come; {describe_load()}")
    return capacity * SHARE


def read_cut(world: World, job: JobRecord) -> Cut:
    """What the node noted of a job's cut-over, and the link itself: its inode changed when it was switched."""
    [path] = Path(world.settings.node_state_dir).glob(f"*/jobs/{job.id}/cut.json")
    noted = json.loads((path.parent / "journal.json").read_text())["cut"]
    return Cut(os.lstat(world.production.current).st_ctime, noted["rename_ms"], noted["gap_ms"])


def show(title: str, world: World, visit: Visit) -> None:
    """Print what visitors met."""
    lost = find_lost(world.production, visit)
    kinds = sorted({found.kind for found in visit.answers})
    each = ", ".join(f"{sum(found.kind == kind for found in visit.answers)} {kind}" for kind in kinds)
    say(
        f"{title}: {len(visit.answers)} requests ({each}), {len(visit.failed)} failed,"
        f" {len(visit.comments)} comments taken, {lost} lost, {len(visit.mixed)} pages of two releases,"
        f" longest wait {visit.find_longest():.2f} s; {describe_load()}"
    )
    for answer in visit.failed[:5]:
        say(f"    {answer.kind}: {answer.problem}")


def show_cuts(visit: Visit, cuts: list[Cut]) -> None:
    """Print how long cuts took and what visitors met during them."""
    for name in ("rename_ms", "gap_ms"):
        values = [getattr(cut, name) for cut in cuts]
        say(f"  {name}: median {median(values):.2f}, longest {max(values):.2f}, of {len(values)}")
    waits = [visit.find_longest(since=cut.switched - 1, until=cut.switched + 10) for cut in cuts]
    say(
        f"  longest wait from 1 s before to 10 s after a switch: median {median(waits):.2f} s, {max(waits):.2f} s"
    )
    late = find_late_mixed(visit, cuts)
    say(f"  pages of two releases: {len(visit.mixed)}, of these not under way at a switch: {len(late)}")
    for page in late[:5]:
        nearest = min(page.due - cut.switched for cut in cuts)
        say(f"    {page.marker}, asked for {nearest:.3f} s after the switch, waited {page.seconds:.3f} s")


def find_late_mixed(visit: Visit, cuts: list[Cut]) -> list[Answer]:
    """Pages of two releases that were not under way between a RENAME and its link."""
    return [page for page in visit.mixed if not any(cut.has_met(page) for cut in cuts)]


def test_promotions_and_rollbacks_under_load(world: World, rate: float) -> None:
    cuts: list[Cut] = []
    began = time.monotonic()
    with visited(world.production, world.folder / "promotions.jsonl", rate=rate) as visit:
        for number in range(1, PROMOTIONS + 1):
            show_release(world.staging, number)
            cuts.append(read_cut(world, succeed(world.promote(refresh="protected", backup="create"))))
            if number > PROMOTIONS - ROLLBACKS:
                succeed(world.back_up())
                cuts.append(read_cut(world, succeed(world.roll_back())))
    say(f"\n{PROMOTIONS} promotions, {ROLLBACKS} rollbacks in {time.monotonic() - began:.0f} s")
    show("by Pressluft", world, visit)
    show_cuts(visit, cuts)
    assert [(found.kind, found.problem) for found in visit.failed] == []
    assert find_lost(world.production, visit) == 0
    assert find_late_mixed(visit, cuts) == []
    assert max(visit.find_longest(since=cut.switched - 1, until=cut.switched + 10) for cut in cuts) < 2


def test_the_same_by_import_and_rsync(world: World, rate: float, tmp_path: Path) -> None:
    seconds: list[float] = []
    with visited(world.production, world.folder / "rival.jsonl", rate=rate) as visit:
        for number in range(1, PROMOTIONS + 1):
            show_release(world.staging, 100 + number)
            began = time.monotonic()
            copy_as_people_do(world, tmp_path / "staging.sql")
            seconds.append(time.monotonic() - began)
    show(f"{PROMOTIONS} by wp db import and rsync, median {median(seconds):.1f} s each", world, visit)


def copy_as_people_do(world: World, dump: Path) -> None:
    """Export staging, import it over production, replace addresses, copy the code."""
    production, staging = world.production, world.staging
    staging.wp("db", "export", str(dump))
    production.wp("db", "import", str(dump))
    production.wp("search-replace", staging.url, production.url, "--all-tables", "--precise")
    run_shell(
        "rsync -a --delete --exclude wp-config.php --exclude wp-content/uploads --exclude wp-content/mu-plugins"
        f" {staging.current}/ {production.current}/"
    )
