"""What the pages say is true of the code and of each other."""

from __future__ import annotations

import configparser
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_config import read_node_config

from reconciler.core.ansible_result import classify_rc
from reconciler.core.diagram import draw, find_ends
from reconciler.core.job import QUEUED, TRANSITIONS, Failed, Started
from reconciler.core.merge import decide_outcome
from reconciler.docs.__main__ import PAGES as GENERATED
from reconciler.docs.__main__ import main, make_pages
from reconciler.docs.error_code import find_gate_codes, find_refusals
from reconciler.docs.page import MarkerMissing, fill
from reconciler.settings import load_settings
from schemas.document import PathKind, classify_path, read_document
from schemas.observation import ObservedResource
from schemas.state import ErrorCode, JobStatus, MergeOutcome
from tests.contract.doc_page import (
    CHECKOUT,
    PAGES,
    list_anchors,
    list_blocks,
    list_links,
    name_page,
)

ADRS = CHECKOUT / "docs" / "adr"


@pytest.mark.parametrize("page", PAGES, ids=name_page)
def test_every_link_leads_somewhere(page: Path) -> None:
    dead = []
    for link in list_links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        is_elsewhere = link.startswith(("https://", "http://"))
        if not is_elsewhere and (not target.exists() or (anchor and anchor not in list_anchors(target))):
            dead.append(link)
    assert dead == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen, waiting = set[Path](), [CHECKOUT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        found = (page.parent / link.partition("#")[0] for link in list_links(page) if "://" not in link)
        waiting += [path.resolve() for path in found if path.is_file()]
    assert [name_page(page) for page in PAGES if page not in seen] == []


def test_generated_parts_are_current() -> None:
    assert main(["--check"]) == 0


def test_check_names_a_page_that_is_not_current_and_writing_mends_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path, text in make_pages(CHECKOUT).items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text.replace("| `queued` | started", "| `queued` | begun"))
    assert main(["--check", "--root", str(tmp_path)]) == 1
    assert capsys.readouterr().out == "docs/reference/state-machines.md: not current\n"
    assert main(["--root", str(tmp_path)]) == 0
    assert main(["--check", "--root", str(tmp_path)]) == 0


def test_a_page_without_its_markers_is_an_error() -> None:
    with pytest.raises(MarkerMissing, match="end of jobs"):
        fill("<!-- jobs: made by `python -m reconciler.docs`, do not edit -->", {"jobs": "x"})


@pytest.mark.parametrize("path", GENERATED, ids=str)
def test_a_generated_page_says_more_than_what_is_generated(path: Path) -> None:
    without = re.sub(
        r"<!-- (\w+): made by.*?<!-- end of \1 -->", "", (CHECKOUT / path).read_text(), flags=re.S
    )
    assert len(without.split()) > 30


def test_a_diagram_shows_every_move_once_and_marks_the_ends() -> None:
    table = {(QUEUED, Started): JobStatus.RUNNING, (JobStatus.RUNNING, Failed): JobStatus.FAILED}
    assert draw(table, first=QUEUED).splitlines() == [
        "stateDiagram-v2",
        "    [*] --> queued",
        "    queued --> running: started",
        "    running --> failed: failed",
        "    failed --> [*]",
    ]


def test_the_ends_of_a_job_are_those_that_nothing_leaves() -> None:
    assert set(find_ends(TRANSITIONS)) == {JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED}


def test_every_error_code_is_explained_with_what_to_do_next() -> None:
    page = (CHECKOUT / "docs/reference/error-codes.md").read_text()
    sections = dict(re.findall(r"^### ([A-Z_]+)\n(.*?)(?=^##|\Z)", page, re.M | re.S))
    assert list(sections) != []
    assert set(sections) == {code.value for code in ErrorCode}
    assert [code for code, text in sections.items() if "\nNext" not in text] == []


@pytest.mark.parametrize(
    ("call", "found"),
    [
        pytest.param('NodeError("BACKUP_INVALID", "a", "b")', ("BACKUP_INVALID", False), id="says nothing"),
        pytest.param('f("BACKUP_INVALID", retry=False)', ("BACKUP_INVALID", False), id="never"),
        pytest.param('f("BACKUP_INVALID", retry=is_locked)', ("BACKUP_INVALID", True), id="sometimes"),
    ],
)
def test_a_retry_is_told_from_the_call(call: str, found: tuple[str, bool]) -> None:
    assert list(find_refusals(call)) == [found]


def test_the_table_of_codes_knows_gates_and_exit_codes() -> None:
    page = (CHECKOUT / "docs/reference/error-codes.md").read_text()
    rows = dict(re.findall(r"^\| \[`([A-Z_]+)`\]\(\S+\) \| (.*) \|$", page, re.M))
    assert {code for code, row in rows.items() if row.endswith("| yes")} == find_gate_codes()
    assert {"DRIFT_GATE_UNMET", "FREEZE_WINDOW"} <= find_gate_codes()
    for rc in (1, 2, 4):
        assert rows[classify_rc(rc)[0]].startswith("yes")
    assert rows["HEALTH_CHECK_FAILED"].startswith("no")


DIGESTS = {"b": "base", "-": None, "deleted": None, "changed": "x", "new": "x"}
OUTCOMES = {
    "leaves it as it is": MergeOutcome.UNCHANGED,
    "leaves it deleted": MergeOutcome.KEPT,
    "takes the source's": MergeOutcome.PROMOTED,
    "keeps production's": MergeOutcome.KEPT,
    "creates it": MergeOutcome.CREATED,
    "deletes files and option rows, keeps tables": MergeOutcome.DELETED,
}


def list_merge_cases() -> list[tuple[str, str, str]]:
    """List the rows of the explanation's table of cases: source, production, what the promotion does."""
    page = (CHECKOUT / "docs/explanation/promotion-and-drift.md").read_text()
    table = page.split("| source | production | the promotion |\n|---|---|---|\n")[1].split("\n\n")[0]
    return [
        (cells[0], cells[1], cells[2]) for cells in (line[2:-2].split(" | ") for line in table.splitlines())
    ]


@pytest.mark.parametrize(("source", "production", "said"), list_merge_cases())
def test_the_three_way_rule_is_as_it_is_explained(source: str, production: str, said: str) -> None:
    word, _, value = source.replace(", ", " to ").partition(" to ")
    other, _, other_value = production.replace(", ", " to ").partition(" to ")
    is_new = "new" in {word, other}
    resource = ObservedResource(
        kind="component",
        name="themes/x",
        protection="mergeable",
        source=value or DIGESTS[word],
        production=other_value or ("y" if other in {"changed", "new"} else DIGESTS[other]),
        source_baseline=None if is_new else "base",
        production_baseline=None if is_new else "base",
        equal=value == other_value if value else None,
    )
    expected = MergeOutcome.CONFLICT if said.startswith("conflict") else OUTCOMES[said]
    assert decide_outcome(resource) is expected


def list_yaml_blocks() -> list[tuple[str, str]]:
    """List all YAML that people may copy from a page: where it stands, and the text."""
    return [
        (f"{name_page(page)} {number}", block.text)
        for page in PAGES
        if page.name != "node-protocol.md"
        for number, block in enumerate(list_blocks(page, "yaml"), start=1)
    ]


@pytest.mark.parametrize(
    ("place", "text"), list_yaml_blocks(), ids=lambda value: str(value).split("\n", 1)[0]
)
def test_yaml_that_people_may_copy_is_valid(place: str, text: str) -> None:
    """A document is read as what it is; a part that begins with `spec:` as the fleet's policy."""
    named = re.match(r"# (\S+\.yaml)\n", text)
    is_part = text.startswith("spec:")
    header = "apiVersion: pressluft/v1\nkind: Fleet\nmetadata: {name: pressluft}\n" if is_part else ""
    name = str(yaml.safe_load(header + text)["metadata"]["name"])
    path = "pressluft.yaml" if is_part else named[1] if named else f"intents/acme/{name}.yaml"
    assert classify_path(path) is not PathKind.OTHER, place
    read_document((header + text).encode(), path=path)


def test_the_settings_of_an_example_are_settings(tmp_path: Path) -> None:
    blocks = [block for page in PAGES for block in list_blocks(page, "toml")]
    assert blocks
    for block in blocks:
        (tmp_path / "settings.toml").write_text(block.text)
        settings = load_settings(tmp_path / "settings.toml")
        assert settings.model_fields_set == set(tomllib.loads(block.text))


def test_the_example_of_node_ini_says_what_a_node_reads(tmp_path: Path) -> None:
    page = CHECKOUT / "docs/how-to/set-up-a-node.md"
    (text,) = [block.text for block in list_blocks(page, "ini") if "[restic]" in block.text]
    (tmp_path / "node.ini").write_text(text)
    config = read_node_config(str(tmp_path))
    assert config.mysql_defaults_file == "/etc/pressluft/mysql.cnf"
    assert config.restic_repository == "/var/backups/pressluft"
    assert config.restic_password_file == "/etc/pressluft/restic.password"
    assert config.wp_cli == "/usr/local/bin/wp"
    assert config.fastcgi_listen == "/run/php/php8.2-fpm.sock"


def test_the_changelog_has_an_entry_for_this_version() -> None:
    version = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["version"]
    entries = re.findall(r"^## (\S+?),", (CHECKOUT / "CHANGELOG.md").read_text(), re.M)
    assert entries[0] == version


def test_every_decision_is_listed_and_has_the_same_parts() -> None:
    decisions = sorted(path for path in ADRS.glob("0*.md"))
    index = (ADRS / "README.md").read_text()
    assert [path.name for path in decisions if f"({path.name})" not in index] == []
    assert [int(path.name[:4]) for path in decisions] == list(range(1, len(decisions) + 1))
    parts = ["Why it came up", "Decision", "What follows", "Not taken"]
    for path in decisions:
        assert re.findall(r"^## (.+)$", path.read_text(), re.M) == parts, path.name
        assert len(path.read_text().split()) < 450, f"{path.name} is longer than a page"


def test_no_page_names_a_place_of_one_machine() -> None:
    own = re.compile(r"/(root|work|tmp/prep|home/\w+)/")
    assert [name_page(page) for page in PAGES if own.search(page.read_text())] == []


def test_the_unit_of_systemd_is_well_formed() -> None:
    page = CHECKOUT / "docs/how-to/run-the-daemon.md"
    (text,) = [block.text for block in list_blocks(page, "ini") if "[Service]" in block.text]
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(text)
    assert parser["Service"]["ExecStart"].endswith("pressluft run")
