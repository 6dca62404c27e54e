"""`pressluft plan` on real repositories: files that are not committed, names of those that are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from reconciler.cli.main import app
from tests.integration.git.people import git
from tests.story import make_fleet_files, make_intent


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of a fleet with one committed intent."""
    folder = tmp_path / "fleet"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    files = make_fleet_files() | dict(
        [make_intent("Promotion", "spring", "{source: staging, target: production}")]
    )
    for path, text in files.items():
        write(folder / path, text)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "-m", "Begin")
    return folder


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Call the command as somebody would who stands elsewhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PRESSLUFT_STATE_DIR", str(tmp_path / "state"))
    return lambda *words: CliRunner().invoke(app, ["plan", *map(str, words)])


def write(path: Path, text: str) -> None:
    """Write a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_file_that_is_not_committed_is_planned_in_its_checkout(
    checkout: Path, plan: Callable[..., Result]
) -> None:
    path, text = make_intent("Backup", "safe", "{environment: production}")
    write(checkout / path, text)
    done = plan(checkout / path)
    assert done.exit_code == 0, done.output
    assert "backup: acme production" in done.output
    assert "backup (backup-create)" in done.output


@pytest.mark.parametrize("name", ["spring", "acme/spring", "intents/acme/spring.yaml"])
def test_a_committed_intent_is_found_by_its_name(
    name: str, checkout: Path, plan: Callable[..., Result]
) -> None:
    done = plan(name, "--repo", checkout, "--json")
    assert done.exit_code == 1
    answer = json.loads(done.stdout)
    assert [reason["code"] for reason in answer["unmet"]] == ["DRIFT_GATE_UNMET", "BACKUP_GATE_UNMET"]
    assert answer["job"]["status"] == "queued"
    assert answer["fingerprint"] is None


def test_without_a_check_it_says_how_to_get_the_fingerprint(
    checkout: Path, plan: Callable[..., Result]
) -> None:
    done = plan("spring", "--repo", checkout)
    assert "Next: pressluft drift-check acme/staging --wait" in done.output


@pytest.mark.parametrize(
    ("path", "said"),
    [
        pytest.param("intents/acme/odd.yaml", "odd.yaml:1", id="not-valid"),
        pytest.param("notes/odd.yaml", "no intent: expected intents/SITE/NAME.yaml", id="elsewhere"),
    ],
)
def test_what_is_no_intent_is_refused_with_the_reason(
    path: str, said: str, checkout: Path, plan: Callable[..., Result]
) -> None:
    write(checkout / path, "kind: 1")
    done = plan(checkout / path)
    assert done.exit_code == 1
    assert said in done.output


def test_a_name_that_nobody_uses_is_refused(checkout: Path, plan: Callable[..., Result]) -> None:
    done = plan("winter", "--repo", checkout)
    assert done.exit_code == 1
    assert "there is no intent 'winter'" in done.output
