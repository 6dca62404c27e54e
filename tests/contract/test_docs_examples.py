"""The examples are valid, and what they recommend works."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from reconciler.cli.main import app
from schemas.path import PathKind, classify_path
from tests.contract.doc_page import CHECKOUT

EXAMPLES = CHECKOUT / "examples"
FLEETS = sorted(path.parent for path in EXAMPLES.glob("*/pressluft.yaml"))
WORKFLOW = EXAMPLES / "github-workflow.yml"


def check(*words: str) -> Result:
    """Run `pressluft check`."""
    return CliRunner().invoke(app, ["check", *words])


def test_there_is_a_blog_and_a_shop() -> None:
    assert {path.name for path in FLEETS} >= {"blog", "shop"}


@pytest.mark.parametrize("fleet", FLEETS, ids=lambda path: path.name)
def test_an_example_is_valid(fleet: Path) -> None:
    done = check(str(fleet))
    assert (done.exit_code, done.output.strip().endswith("files are valid")) == (0, True), done.output


@pytest.mark.parametrize("fleet", FLEETS, ids=lambda path: path.name)
def test_every_file_of_an_example_is_looked_at(fleet: Path) -> None:
    names = [str(path.relative_to(fleet)) for path in fleet.rglob("*.yaml")]
    assert [name for name in names if classify_path(name) in {PathKind.OTHER, PathKind.MISPLACED}] == []
    assert check(str(fleet)).output.split()[0] == str(len(names))


@pytest.mark.parametrize("fleet", FLEETS, ids=lambda path: path.name)
def test_an_example_has_a_request_and_is_explained(fleet: Path) -> None:
    assert list((fleet / "intents").rglob("*.yaml"))
    assert f"({fleet.name}/README.md)" in (EXAMPLES / "README.md").read_text()


def test_no_two_documents_of_the_examples_have_the_same_id() -> None:
    ids = [
        document["metadata"]["id"]
        for path in EXAMPLES.rglob("*.yaml")
        if "id" in (document := yaml.safe_load(path.read_text()))["metadata"]
    ]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    ("wrong", "right", "said"),
    [
        pytest.param("source: production", "source: prodution", "prodution", id="unknown source"),
        pytest.param("node: shop-1", "node: shop-9", "shop-9", id="unknown node"),
        pytest.param("shop_staging", "shop", "share database shop", id="database of production"),
        pytest.param("root: /srv/www/shop/staging", "root: /srv/www/shop/production/x", "overlapping roots", id="root"),
        pytest.param("table_prefix", "tabel_prefix", "table_prefix", id="misspelt field"),
    ],
)  # fmt: skip
def test_a_mistake_in_an_example_is_found(wrong: str, right: str, said: str, tmp_path: Path) -> None:
    fleet = shutil.copytree(EXAMPLES / "shop", tmp_path / "shop")
    staging = fleet / "sites/shop/environments/staging.yaml"
    assert wrong in staging.read_text()
    staging.write_text(staging.read_text().replace(wrong, right))
    done = check(str(fleet))
    assert done.exit_code == 1
    assert said in done.output


def test_the_workflow_runs_the_check_and_the_check_speaks_its_language(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = yaml.safe_load(WORKFLOW.read_text())["jobs"]
    (line,) = [step["run"] for step in jobs["check"]["steps"] if "pressluft " in step.get("run", "")]
    fleet = shutil.copytree(EXAMPLES / "blog", tmp_path / "blog")
    monkeypatch.chdir(fleet)
    assert check(*line.split()[2:]).exit_code == 0
    intent = fleet / "intents/blog/spring-theme.yaml"
    intent.write_text(intent.read_text().replace("reason:", "raeson:"))
    done = check(*line.split()[2:])
    assert done.exit_code == 1
    assert (
        "::error file=intents/blog/spring-theme.yaml,line=7,col=3::spec.raeson: unknown field" in done.output
    )
