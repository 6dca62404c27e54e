"""How to switch: RENAME or link first, which path nginx names, OPcache's looks, reload, a new pool or nothing.

Tables and link are switched to and fro by the very functions of the cut-over, while visitors come at half of what the
site can serve. PRESSLUFT_BENCH_SWITCHES (4) for each way, one every PRESSLUFT_BENCH_PAUSE (8) seconds.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils import exchange, release
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import connect

from reconciler.stack.account import make_folder
from reconciler.stack.command import run_command
from reconciler.stack.php_fpm import PhpFpm
from reconciler.stack.site import FIRST_RELEASE, Site, create_site, seed_content
from reconciler.stack.stack import Stack
from tests.bench.visited_site import (
    Visit,
    describe_load,
    measure_capacity,
    register_visitors,
    say,
    show_code,
    show_data,
    visited,
)
from tests.bench.visitors import Answer
from tests.servers import ignore

SWITCHES = int(os.environ.get("PRESSLUFT_BENCH_SWITCHES", "4"))
PAUSE = float(os.environ.get("PRESSLUFT_BENCH_PAUSE", "8"))
SECOND, OTHER = "second", "p_order__pressluft_bench"
MOVED = ("wp_options", "wp_bench_release")


@dataclass(frozen=True)
class Way:
    """One way to switch. `after` is what PHP is told: `reload`, `pool` (another one takes over) or nothing."""

    name: str
    link_first: bool = False
    root: str = "$realpath_root"
    looks: bool = True
    after: str = "reload"
    keeps_code: bool = False
    """Whether OPcache keeps compiled code in files too, `opcache.file_cache`, which outlive a reload."""


WAYS = (
    Way("RENAME, link, reload"),
    Way("link, RENAME, reload", link_first=True),
    Way("RENAME, link, reload; OPcache has a file cache", keeps_code=True),
    Way("RENAME, link, reload; OPcache never looks", looks=False),
    Way("RENAME, link, no reload", after=""),
    Way("RENAME, link, no reload; OPcache never looks", looks=False, after=""),
    Way("RENAME, link, a new pool", after="pool"),
    Way("RENAME, link, reload; $document_root", root="$document_root"),
    Way("RENAME, link, no reload; $document_root", root="$document_root", after=""),
    Way("RENAME, link, no reload; $document_root, never looks", root="$document_root", looks=False, after=""),
)


@dataclass
class Bench:
    """A site with two releases of code and of two tables, and the pool that serves it."""

    site: Site
    folder: Path
    pool: PhpFpm | None = None
    pools: int = 0

    @property
    def moved(self) -> exchange.Exchange:
        """The exchange from the first release's tables to the second's."""
        return exchange.Exchange(self.site.database_name, OTHER, f"{OTHER}_old", MOVED, MOVED)

    def serve(self, way: Way) -> None:
        """Start a pool and let nginx use it; the one before ends once its last requests have."""
        self.pools += 1
        settings = {"opcache.validate_timestamps": str(int(way.looks)), "opcache.revalidate_freq": "2"}
        if way.keeps_code:
            settings["opcache.file_cache"] = str(self.folder / "compiled")
        fresh = PhpFpm(self.folder / f"pool{self.pools}", report=ignore, settings=settings)
        fresh.start()
        config = self.site.stack.folder / "nginx/sites" / f"{self.site.name}.conf"
        config.write_text(make_site_config(config.read_text(), socket=fresh.socket, root=way.root))
        master = int((self.site.stack.folder / "nginx/nginx.pid").read_text())
        workers = psutil.Process(master).children()
        os.kill(master, signal.SIGHUP)
        before, self.pool = self.pool, fresh
        if before is not None:
            psutil.wait_procs(workers, timeout=60)  # they still hand requests to the old pool
            before.stop()

    def switch(self, way: Way, connection: object, *, number: int) -> tuple[float, float, float]:
        """Switch to the other release; returns when both tables and link were new, and the milliseconds."""
        name, turn = (
            (SECOND, exchange.exchange_tables) if number % 2 else (FIRST_RELEASE, exchange.reverse_tables)
        )
        if way.link_first:
            release.switch_release(self.site.root, name)
            began = time.monotonic()
            rename = turn(connection, self.moved)
        else:
            rename = turn(connection, self.moved)
            began = time.monotonic()
            release.switch_release(self.site.root, name)
        gap, done = (time.monotonic() - began) * 1000, time.time()
        if way.after == "reload" and self.pool is not None:
            self.pool.reload()
        if way.after == "pool":
            self.serve(way)
        return done, rename, gap


def make_site_config(text: str, *, socket: Path, root: str) -> str:
    """The site's nginx configuration with another pool and another way to name the script."""
    for pattern, value in (
        (r"SCRIPT_FILENAME \$\w+", f"SCRIPT_FILENAME {root}"),
        (r"DOCUMENT_ROOT \$\w+", f"DOCUMENT_ROOT {root}"),
        (r"fastcgi_pass [^;]+", f"fastcgi_pass unix:{socket}"),
    ):
        text, count = re.subn(pattern, lambda _, value=value: value, text)
        assert count == 1, pattern
    return text


@pytest.fixture(scope="module")
def bench(stack: Stack, session_folder: Path) -> Iterator[Bench]:
    """The site, its second release and the second release's tables."""
    site = create_site(stack, "p_order")
    seed_content(site, posts=200, comments=100, uploads=5)
    register_visitors(site)
    show_code(site.current, 2)
    show_data(site, 2)
    run_command(["cp", "-a", site.root / "releases" / FIRST_RELEASE, site.root / "releases" / SECOND])
    site.query(f"CREATE DATABASE {OTHER}")
    for table in MOVED:
        site.query(f"CREATE TABLE {OTHER}.{table} LIKE {table}")
        site.query(f"INSERT INTO {OTHER}.{table} SELECT * FROM {table}")
    show_code(site.current, 1)
    show_data(site, 1)
    folder = session_folder / "order"
    folder.mkdir(mode=0o755)
    make_folder(folder / "compiled", owner=stack.nginx.account, mode=0o700)
    made = Bench(site, folder)
    yield made
    if made.pool is not None:
        made.pool.stop()
    stack.forget(site.name)


@contextmanager
def serving(bench: Bench, way: Way) -> Iterator[object]:
    """The first release, served that way, and a connection to switch with."""
    with ExitStack() as stack:
        connection = stack.enter_context(closing(connect(str(bench.site.stack.mariadb.client_file))))
        bench.serve(way)
        release.switch_release(bench.site.root, FIRST_RELEASE)
        for _ in range(8):
            bench.site.fetch("/")
        yield connection


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_a_way_to_switch(bench: Bench, way: Way) -> None:
    with serving(bench, way) as connection:
        rate = measure_capacity(bench.site, bench.folder, seconds=6) / 2
        done = []
        with visited(bench.site, bench.folder / f"way{WAYS.index(way)}.jsonl", rate=rate) as visit:
            time.sleep(PAUSE)
            for number in range(1, 2 * (SWITCHES // 2) + 1):
                done.append(bench.switch(way, connection, number=number))
                time.sleep(PAUSE)
    show(way, visit, done)


def show(way: Way, visit: Visit, done: list[tuple[float, float, float]]) -> None:
    """Print what visitors met around the switches."""
    moments = [moment for moment, _, _ in done]
    flight = [page for page in visit.mixed if any(page.due <= moment <= page.ended for moment in moments)]
    stale = [wait for page in visit.answers if (wait := find_stale(page, moments))]
    waits = sorted(visit.find_longest(since=moment - 0.5, until=moment + PAUSE - 0.5) for moment in moments)
    say(
        f"\n{way.name}: {len(visit.answers)} requests at {visit.rate:.1f}/s, {len(visit.failed)} failed\n"
        f"    pages of two releases: {len(flight)} in flight at a switch,"
        f" {len(visit.mixed) - len(flight)} asked for later;"
        f" wholly old pages asked for later: {len(stale)}, up to {max(stale, default=0):.1f} s\n"
        f"    RENAME up to {max(rename for _, rename, _ in done):.1f} ms,"
        f" gap up to {max(gap for _, _, gap in done):.1f} ms, longest wait at a switch: median"
        f" {waits[len(waits) // 2]:.2f} s, {waits[-1]:.2f} s; {describe_load()}"
    )
    for answer in visit.failed[:3]:
        say(f"    {answer.kind}: {answer.problem}")


def find_stale(page: Answer, moments: list[float]) -> float:
    """How long after a switch a wholly old page was asked for, in seconds; 0 for all other pages.

    A switch is noted when it is done: who asks within a second before that may see the next release already.
    """
    if any(0 <= moment - page.due < 1 for moment in moments):
        return 0.0
    past = [moment for moment in moments if moment < page.due]
    wanted = "2" if len(past) % 2 else "1"
    is_old = bool(past) and len(set(page.marker)) == 1 and page.marker[0] != wanted
    return page.due - past[-1] if is_old else 0.0
