"""`pressluft status` says what holds promotions up, and until when."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from reconciler.cli.main import app
from tests.integration.git.people import Person, make_bare_repo
from tests.story import make_fleet_files, make_site_files


def make_window(now: datetime, *, opened: timedelta, lasts: str, reason: str) -> str:
    """Write a freeze window that opened a while ago."""
    start = (now - opened).replace(tzinfo=None, microsecond=0)
    return f'{{start: "{start.isoformat()}", duration: {lasts}, time_zone: UTC, reason: {reason}}}'


@pytest.fixture
def show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Commit policy of the fleet and of a site, and show the status."""
    monkeypatch.setenv("PRESSLUFT_STATE_DIR", str(tmp_path / "state"))
    repo = make_bare_repo(tmp_path / "fleet.git")

    def run(fleet: str, site: str, *words: str) -> str:
        files = make_fleet_files(f"{{{fleet}}}") | make_site_files()
        files["sites/acme/site.yaml"] = files["sites/acme/site.yaml"].replace("spec: {}", f"spec: {{{site}}}")
        Person(repo, tmp_path / "clone").commit({path: text.encode() for path, text in files.items()})
        done = CliRunner().invoke(app, ["status", "--repo", str(repo), *words], catch_exceptions=False)
        assert done.exit_code == 0
        return done.stdout

    return run


def test_a_stop_of_the_fleet_is_shown_with_its_reason(show: Callable[..., str]) -> None:
    text = show("promotions: {enabled: false, reason: Payments are down}", "")
    assert "all sites: promotions are switched off in pressluft.yaml (Payments are down), until" in text


def test_windows_of_fleet_and_site_are_shown_with_their_ends(show: Callable[..., str]) -> None:
    now = datetime.now(UTC)
    fleet = make_window(now, opened=timedelta(hours=1), lasts="PT3H", reason="Weekend")
    site = make_window(now, opened=timedelta(hours=1), lasts="PT5H", reason="Sale")
    over = make_window(now, opened=timedelta(hours=9), lasts="PT5H", reason="Past")
    text = show(f"freeze_windows: [{fleet}, {over}]", f"freeze_windows: [{site}]")
    for where, hours, reason in (("all sites", 2, "Weekend"), ("acme", 4, "Sale")):
        (line,) = [line for line in text.splitlines() if line.startswith(f"{where}: ")]
        assert f"{now + timedelta(hours=hours):%Y-%m-%d %H:%M} UTC ({reason})" in line
    assert "Past" not in text


def test_programs_are_told_too(show: Callable[..., str]) -> None:
    site = make_window(datetime.now(UTC), opened=timedelta(hours=1), lasts="PT5H", reason="Sale")
    answer = json.loads(show("promotions: {enabled: false}", f"freeze_windows: [{site}]", "acme", "--json"))
    assert [hold["ends_at"] is None for hold in answer[0]["promotions_held"]] == [True, False]


def test_where_nothing_holds_promotions_up_nothing_is_said(show: Callable[..., str]) -> None:
    assert "promotions" not in show("", "")
