"""`pressluft adopt`: what it says, and when it does not even begin."""

from __future__ import annotations

import pytest
import typer
from typer.testing import CliRunner

from reconciler.cli.adopt import make_lines, refuse_running
from reconciler.cli.main import app
from reconciler.core.adoption import unite_protection
from reconciler.ports import RunOutcome, RunState
from schemas.fleet import Environment, Protect
from schemas.observation import AdoptionReport
from tests.story import Story

REPORT = {
    "state": "adopted",
    "docroot": "/var/www/html",
    "root": "/srv/acme",
    "release": "first",
    "exchange_ms": 0.2,
    "notes": ["a note"],
    "actions": [
        {"do": "move", "path": "/var/www/html", "to": "/srv/acme/releases/first", "files": 3, "bytes": 9},
        {"do": "leave", "path": "/srv/acme/releases/first/.env", "why": "it asks where it lies"},
    ],
}


def test_a_run_says_what_it_did() -> None:
    assert list(make_lines(AdoptionReport.model_validate(REPORT), dry_run=False)) == [
        "moved /var/www/html to /srv/acme/releases/first (3 files, 9 bytes)",
        "left /srv/acme/releases/first/.env: it asks where it lies",
        "note: a note",
        "/var/www/html serves /srv/acme/current, exchanged within 0.2 ms",
    ]


def test_a_dry_run_says_the_same_of_what_it_would_do() -> None:
    [first, second, _note] = make_lines(AdoptionReport.model_validate(REPORT), dry_run=True)
    assert first == "would move /var/www/html to /srv/acme/releases/first (3 files, 9 bytes)"
    assert second == "would leave /srv/acme/releases/first/.env: it asks where it lies"


def test_what_is_done_already_is_said_in_one_line() -> None:
    done = AdoptionReport.model_validate({**REPORT, "is_done": True})
    assert list(make_lines(done, dry_run=False)) == ["/var/www/html is already adopted, nothing to do"]


def test_without_a_docroot_nothing_begins() -> None:
    refused = CliRunner().invoke(app, ["adopt", "acme/production"])
    assert (refused.exit_code, "--docroot is missing" in refused.output) == (2, True)


def test_while_a_job_of_the_site_runs_nothing_is_moved(capsys: pytest.CaptureFixture[str]) -> None:
    story = Story()
    entry = story.service.find_named("acme", "production")
    refuse_running(story.service, entry)
    story.node.overrides["backup"] = RunOutcome(RunState.RUNNING)
    story.intend("Backup", "backup", "{environment: production}")
    story.run()
    with pytest.raises(typer.Exit):
        refuse_running(story.service, entry)
    assert f"job {story.job('backup').id} is running" in capsys.readouterr().err


def test_what_any_environment_of_the_site_protects_is_shared() -> None:
    story = Story()
    ours: Environment = story.service.find_named("acme", "production").environment
    theirs = story.service.find_named("acme", "staging").environment
    spec = theirs.spec.model_copy(update={"protect": Protect(paths=("wp-content/data",))})
    united = unite_protection(ours, [theirs.model_copy(update={"spec": spec})])
    assert united.protected_paths == ("wp-content/uploads", "wp-content/data")
