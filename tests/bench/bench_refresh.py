"""What a second refresh costs, beside the first one and beside one after 1 % changed. Run by `make bench`.

PRESSLUFT_BENCH_ROWS (300,000 rows, every tenth with an address to rewrite) and PRESSLUFT_BENCH_FILES (20,000).
"""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.manifest_cache import SETTLED_SECONDS

from reconciler.stack.mariadb import Login, MariaDB
from tests.integration.node.conftest import admin
from tests.integration.node.refreshed_pair import Refreshing, make_refreshing

__all__ = ["admin"]

ROWS = int(os.environ.get("PRESSLUFT_BENCH_ROWS", "300000"))
FILES = int(os.environ.get("PRESSLUFT_BENCH_FILES", "20000"))


@pytest.fixture
def refreshing(mariadb: MariaDB, admin: Any, database: Login, tmp_path: Path) -> Iterator[Refreshing]:
    with make_refreshing(mariadb, admin, database.user, tmp_path) as made:
        yield made


def test_refreshes(refreshing: Refreshing) -> None:
    refreshing.pair.sql(
        f"INSERT INTO P.posts (ID, post_title) SELECT seq, CONCAT(IF(seq % 10, 'post ', 'https://shop.test/'), seq,"
        f" REPEAT('x', 200)) FROM seq_100_to_{ROWS + 99}"
    )
    uploads = refreshing.pair.path("production", "wp-content/uploads/bench")
    uploads.mkdir()
    for number in range(FILES):
        (uploads / f"{number}.jpg").write_bytes(os.urandom(64) * 200)
    sys.stdout.write(f"\n{ROWS} rows, {FILES} files; load {os.getloadavg()[0]:.1f}\n")
    run(refreshing, "first", scope="full")
    run(refreshing, "nothing changed, too soon for any proof", scope="full")
    settle(refreshing)
    run(refreshing, "nothing changed, checked before", scope="full")
    run(refreshing, "the same, protected data only")
    refreshing.pair.sql("UPDATE P.posts SET post_title = 'changed' WHERE ID % 100 = 0")
    for number in range(0, FILES, 100):
        (uploads / f"{number}.jpg").write_bytes(b"changed")
    run(refreshing, "1 % changed, all over", scope="full")
    settle(refreshing)
    refreshing.pair.sql(f"UPDATE P.posts SET post_title = 'new' WHERE ID > {ROWS - ROWS // 100}")
    for number in range(FILES - FILES // 100, FILES):
        (uploads / f"{number}.jpg").write_bytes(b"new")
    run(refreshing, "1 % changed, the newest", scope="full")


def settle(refreshing: Refreshing) -> None:
    """Let times grow as old as they must be to be believed, and check as a drift check does."""
    time.sleep(SETTLED_SECONDS + 1)
    refreshing.pair.admin.execute("SET GLOBAL innodb_max_purge_lag_wait = 0")
    refreshing.pair.observe()


def run(refreshing: Refreshing, name: str, *, scope: str = "protected") -> None:
    """Refresh as a job of its own, and print what it took."""
    began, used = time.perf_counter(), os.times()
    done = refreshing.run_anew(scope)["refresh"]
    spent = sum(os.times()[:4]) - sum(used[:4])
    sys.stdout.write(
        f"  {name:<40} {time.perf_counter() - began:>7.1f} s  {spent:>6.1f} s of this process'"
        f" CPU; {done['tables']} tables, {done['rows']} rows, {done['files']} files\n"
    )
