"""The facade on 1,000 environments and 20,000 jobs: `make bench ARGS="-k api"`.

One process, one run: start-up, reads, writes, fifty writers at once. Prints what it measured and fails where a
promise of issue 3 is broken; times are of a client on the same machine, one request after the other.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil

from api.tokens import TokenFile
from tests.big_fleet import make_big_fleet
from tests.integration.api.living import make_settings
from tests.integration.api.serving import serve

SITES, JOBS = 500, 20_000
READS, PAGES, WRITES, WRITERS = 1000, 300, 200, 50


def test_the_facade_keeps_its_promises_on_a_big_fleet(tmp_path: Path) -> None:
    fleet = make_big_fleet(tmp_path, sites=SITES, jobs=JOBS)
    settings = make_settings(tmp_path, fleet.path)
    token = TokenFile(settings.token_file).create("bench", sites=[], may_write=True, now=datetime.now(UTC))
    chance = random.Random(7)
    tell(
        f"{SITES * 2} environments, {JOBS} jobs, {psutil.cpu_count()} cores, load {psutil.getloadavg()[0]:.1f}"
    )
    began = time.monotonic()
    with serve(settings) as serving:
        ready = time.monotonic() - began
        process = psutil.Process(serving.process.pid)
        tell(
            f"start-up to ready       {ready:6.2f} s      memory {process.memory_info().rss / 2**20:.0f} MiB"
        )
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=serving.url, headers=headers, timeout=60) as client:
            cold = measure(1, lambda: get(client, "/api/jobs?limit=100"))
            tell(f"first GET /jobs         {cold[0]:6.1f} ms")
            tell(f"history read after      {await_warm(client, began):6.2f} s")
            staging = fleet.environments[1::2]
            environment = measure(READS, lambda: get(client, f"/api/environments/{chance.choice(staging)}"))
            job = measure(READS, lambda: get(client, f"/api/jobs/{chance.choice(fleet.jobs)}"))
            page = measure(PAGES, make_walk(client))
            write = measure(
                WRITES, lambda: post(client, f"/api/environments/{chance.choice(staging)}/drift-check")
            )
            tell(describe("GET /environments/{id}", environment))
            tell(describe("GET /jobs/{id}", job))
            tell(describe("GET /jobs, 100 a page", page))
            tell(describe("POST /drift-check", write))
            with ThreadPoolExecutor(WRITERS) as pool:
                began = time.monotonic()
                made = list(
                    pool.map(
                        lambda number: post(client, f"/api/environments/{staging[number]}/drift-check"),
                        range(WRITERS),
                    )
                )
            tell(f"{WRITERS} writers at once      {(time.monotonic() - began) * 1000:6.0f} ms for all")
            jobs = {answer.json()["job_id"] for answer in made}
            assert len(jobs) == WRITERS
            assert all(get(client, f"/api/jobs/{job_id}").json()["status"] == "queued" for job_id in jobs)
        tell(f"memory at the end       {process.memory_info().rss / 2**20:6.0f} MiB")
    assert percentile(environment, 99) < 15
    assert percentile(job, 99) < 15
    assert percentile(page, 99) < 40
    assert statistics.median(write) < 60
    assert ready < 3


def await_warm(client: httpx.Client, began: float) -> float:
    """Wait until the history was glanced at in the background; returns the seconds since `began`."""
    while "pressluft_jobs_unread 0.0" not in get(client, "/metrics").text:
        assert time.monotonic() - began < 120, "the history is not read in the background"
        time.sleep(0.1)
    return time.monotonic() - began


def make_walk(client: httpx.Client) -> Callable[[], httpx.Response]:
    """Read page after page of all jobs, and begin again at the end."""
    address = "/api/jobs?limit=100"

    def read_next() -> httpx.Response:
        nonlocal address
        answer = get(client, address)
        address = answer.links["next"]["url"] if "next" in answer.links else "/api/jobs?limit=100"
        return answer

    return read_next


def get(client: httpx.Client, path: str) -> httpx.Response:
    """Read, and be sure that it was answered."""
    return client.get(path).raise_for_status()


def post(client: httpx.Client, path: str) -> httpx.Response:
    """Ask, and be sure that it was promised."""
    answer = client.post(path)
    assert answer.status_code == 202, answer.text
    return answer


def measure(times: int, act: Callable[[], object]) -> Sequence[float]:
    """Return how long each call took, in milliseconds."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        act()
        found.append((time.perf_counter() - began) * 1000)
    return found


def percentile(found: Sequence[float], hundredths: int) -> float:
    """Return a percentile."""
    return sorted(found)[min(len(found) - 1, len(found) * hundredths // 100)]


def describe(what: str, found: Sequence[float]) -> str:
    """Write one line of results."""
    p50, p99 = statistics.median(found), percentile(found, 99)
    return f"{what:24}p50 {p50:6.1f} ms   p99 {p99:6.1f} ms   max {max(found):6.1f} ms   ({len(found)} times)"


def tell(line: str) -> None:
    """Print a line that pytest does not hold back."""
    sys.stdout.write(f"\n{line}")
    sys.stdout.flush()
