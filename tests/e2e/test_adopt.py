"""A plain docroot behind nginx and PHP-FPM is adopted and made plain again, while visitors come and go.

With PRESSLUFT_FAULTS=all (`make faults-adopt`) it is refreshed from and promoted to in between.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from reconciler.cli.main import app
from reconciler.stack.content import UPLOAD_MONTH
from reconciler.stack.site import Site
from schemas.state import JobStatus
from tests.e2e.world import World
from tests.plain_wordpress import make_plain

pytestmark = pytest.mark.e2e

PAGES = ("/", "/wp-login.php", f"/wp-content/uploads/{UPLOAD_MONTH}/demo-0001.png", "/?rest_route=/")


@pytest.fixture(scope="module")
def connection() -> str:
    """How the node is reached."""
    return "local"


@pytest.fixture(scope="module")
def docroot(world: World) -> Path:
    """Production as most people have it."""
    return make_plain(world.production)


Run = Callable[..., Result]


@pytest.fixture
def pressluft(world: World, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command line with the world's settings."""
    settings = world.settings
    monkeypatch.setenv("PRESSLUFT_STATE_DIR", str(world.folder / "person"))
    monkeypatch.setenv("PRESSLUFT_NODE_STATE_DIR", settings.node_state_dir)
    monkeypatch.setenv("PRESSLUFT_NODE_CONFIG_DIR", settings.node_config_dir)
    target = ["adopt", "acme/production"]
    return lambda *words: CliRunner().invoke(app, [*target, *words, "--repo", settings.repo])


@contextmanager
def visiting(site: Site, *, visitors: int = 2) -> Iterator[Counter[tuple[str, int]]]:
    """Ask for pages, files and forms without a pause; yields how often each answered with which status."""
    answers, stop = Counter[tuple[str, int]](), threading.Event()

    def visit() -> None:
        number = 0
        while not stop.is_set():
            path = PAGES[number % len(PAGES)]
            answers[path, site.fetch(path).status] += 1
            number += 1

    threads = [threading.Thread(target=visit) for _ in range(visitors)]
    for thread in threads:
        thread.start()
    yield answers
    stop.set()
    for thread in threads:
        thread.join()


def assert_all_served(answers: Counter[tuple[str, int]]) -> None:
    assert {status for _, status in answers} == {200}, answers
    assert {path for path, _ in answers} == set(PAGES)


def find_version(site: Site) -> str:
    """The theme's version, as the front page shows it."""
    return site.fetch("/").body.partition('theme-version">')[2].partition("<")[0]


def test_a_dry_run_says_what_would_be_done(world: World, docroot: Path, pressluft: Run) -> None:
    said = pressluft("--docroot", str(docroot), "--dry-run")
    assert said.exit_code == 0, said.output
    assert f"would link {docroot} to {world.production.root}/current" in said.output
    assert "wp-content/uploads" in said.output
    assert not world.production.root.exists()
    assert not docroot.is_symlink()


def test_it_is_adopted_and_no_visitor_notices(world: World, docroot: Path, pressluft: Run) -> None:
    with visiting(world.production) as answers:
        done = pressluft("--docroot", str(docroot))
    assert done.exit_code == 0, done.output
    assert_all_served(answers)
    assert docroot.readlink() == world.production.current
    assert "note:" not in done.output
    again = pressluft("--docroot", str(docroot))
    assert (again.exit_code, "already adopted" in again.output) == (0, True)


@pytest.mark.skipif(os.environ.get("PRESSLUFT_FAULTS") != "all", reason="a minute: make faults-adopt")
def test_what_was_adopted_is_refreshed_from_and_promoted_to(world: World, docroot: Path) -> None:
    assert world.refresh("full").status is JobStatus.SUCCEEDED
    world.edit_theme("2.0.0")
    before = world.evidence()
    with visiting(world.production) as answers:
        job = world.promote(backup="create")
    assert (job.status, job.error_message) == (JobStatus.SUCCEEDED, None)
    assert_all_served(answers)
    assert find_version(world.production) == "2.0.0"
    assert world.evidence() == before


def test_it_is_made_plain_again_with_what_was_promoted(world: World, docroot: Path, pressluft: Run) -> None:
    version = find_version(world.production)
    with visiting(world.production) as answers:
        done = pressluft("--undo")
    assert done.exit_code == 0, done.output
    assert_all_served(answers)
    assert not docroot.is_symlink()
    assert find_version(world.production) == version
    assert (docroot / "wp-content/uploads" / UPLOAD_MONTH / "demo-0001.png").is_file()
    assert not (docroot / "wp-content/uploads").is_symlink()
    assert not world.production.current.is_symlink()
