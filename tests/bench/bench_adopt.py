"""`make bench`: what visitors meet while a real site is adopted and made plain again, over and over.

For nginx with `$document_root` and with `$realpath_root`: requests, those that failed, the longest of all beside the
longest of as many seconds in which nothing is moved, and the one system call that exchanges the docroot.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import make_environment

from reconciler.stack.content import UPLOAD_MONTH
from reconciler.stack.site import Site, create_site, seed_content
from reconciler.stack.stack import Stack
from tests.integration.node.plain_docroot import Docroot
from tests.plain_wordpress import make_plain

ROUNDS = int(os.environ.get("PRESSLUFT_BENCH_ROUNDS", "10"))
PAGES = ("/", "/wp-login.php", f"/wp-content/uploads/{UPLOAD_MONTH}/demo-0001.png")


@dataclass
class Visits:
    """What visitors were answered: seconds of each request, and what was not 200."""

    seconds: list[float] = field(default_factory=list)
    failed: list[tuple[str, int, str]] = field(default_factory=list)
    step: str = ""
    """What was done last."""

    def note(self, step: str) -> None:
        """Take note of a step."""
        self.step = step


@contextmanager
def visiting(site: Site) -> Iterator[Visits]:
    """Three visitors without a pause."""
    visits, stop = Visits(), threading.Event()

    def visit(path: str) -> None:
        while not stop.is_set():
            began = time.monotonic()
            status = site.fetch(path).status
            visits.seconds.append(time.monotonic() - began)
            visits.failed += [(path, status, visits.step)] if status != 200 else []

    threads = [threading.Thread(target=visit, args=(path,)) for path in PAGES]
    for thread in threads:
        thread.start()
    yield visits
    stop.set()
    for thread in threads:
        thread.join()


@pytest.fixture
def site(stack: Stack) -> Iterator[Site]:
    made = create_site(stack, f"plain_{os.urandom(3).hex()}")
    seed_content(made, posts=20, comments=30, uploads=3)
    yield made
    stack.forget(made.name)


@pytest.mark.parametrize("variable", ["$document_root", "$realpath_root"])
def test_what_visitors_meet(site: Site, tmp_path: Path, variable: str) -> None:
    plain = make_plain(site, variable=variable)
    environment = make_environment(
        {
            "id": str(uuid4()),
            "name": "production",
            "type": "production",
            "url": site.url,
            "root": str(site.root),
            "database": {"name": site.database_name, "table_prefix": site.table_prefix},
            "php": {"fpm_service": str(site.stack.php_fpm.pid_file)},
        }
    )
    docroot = Docroot(tmp_path, plain, environment)
    exchanges = []
    with visiting(site) as moved:
        began = time.monotonic()
        for _ in range(ROUNDS):
            exchanges.append(docroot.adopt(moved.note)["adoption"]["exchange_ms"])
            exchanges.append(docroot.undo(moved.note)["adoption"]["exchange_ms"])
        took = time.monotonic() - began
    with visiting(site) as still:
        threading.Event().wait(took)
    sys.stdout.write(
        f"\n{variable}: {ROUNDS} adoptions and as many ways back in {took:.0f} s:"
        f" {len(moved.seconds)} requests, {len(moved.failed)} failed {moved.failed[:9]},"
        f" longest {max(moved.seconds) * 1000:.0f} ms;"
        f" nothing moved: {len(still.seconds)} requests, longest {max(still.seconds) * 1000:.0f} ms;"
        f" exchange {min(exchanges):.3f} to {max(exchanges):.3f} ms\n"
    )
