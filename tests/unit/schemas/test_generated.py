"""The JSON Schemas and the reference pages say what the models and the presets say."""

import re
from pathlib import Path
from typing import ClassVar

import pytest
import yaml
from jsonschema import Draft202012Validator

from schemas.__main__ import CHECKOUT, FLEET_REPO, PRESETS, find_stale, main, make_files
from schemas.document import DocumentInvalid, dump, read_document
from schemas.json_schema import make_json_schema, make_json_schemas
from schemas.preset import COMMERCE_TABLES, CONTENT_TABLES, PRESERVED_OPTIONS
from tests.unit.schemas.documents import ALL, ENVIRONMENT, ENVIRONMENT_PATH, PROMOTION, PROMOTION_PATH
from tests.unit.schemas.test_status import JOB


class EditorLoader(yaml.SafeLoader):
    """YAML 1.2 core, as editors read it: texts, numbers, truth values and null."""

    yaml_implicit_resolvers: ClassVar[dict[str, object]] = {}


for tag, pattern, first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
):
    EditorLoader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"^({pattern})$"), first)


def is_valid(data: bytes, *, kind: str) -> bool:
    return Draft202012Validator(make_json_schema(kind)).is_valid(yaml.load(data, Loader=EditorLoader))


def test_generated_files_are_current() -> None:
    assert find_stale(CHECKOUT, make_files(CHECKOUT)) == []


@pytest.mark.parametrize("name", sorted(make_json_schemas()))
def test_a_schema_is_a_json_schema(name: str) -> None:
    Draft202012Validator.check_schema(make_json_schemas()[name])


@pytest.mark.parametrize(("path", "data"), ALL.items(), ids=ALL.keys())
def test_a_schema_takes_what_the_reader_takes(path: str, data: bytes) -> None:
    kind = type(read_document(data, path=path)).__name__
    assert is_valid(data, kind=kind)
    assert is_valid(dump(read_document(data, path=path)), kind=kind)


def test_a_schema_takes_a_record() -> None:
    assert is_valid(dump(JOB), kind="JobRecord")


@pytest.mark.parametrize("written", ["3.10", "123", "true", "1e3"])
def test_a_schema_takes_an_unquoted_text(written: str) -> None:
    data = PROMOTION.replace(b"New checkout theme", written.encode())
    assert read_document(data, path=PROMOTION_PATH)
    assert is_valid(data, kind="Promotion")


@pytest.mark.parametrize(
    ("data", "path", "kind"),
    [
        (PROMOTION.replace(b"reason", b"raeson"), PROMOTION_PATH, "Promotion"),
        (PROMOTION.replace(b"source: staging, ", b""), PROMOTION_PATH, "Promotion"),
        (PROMOTION.replace(b"staging", b"Staging"), PROMOTION_PATH, "Promotion"),
        (PROMOTION.replace(b"v1", b"v2"), PROMOTION_PATH, "Promotion"),
        (PROMOTION.replace(b"kind: Promotion\n", b""), PROMOTION_PATH, "Promotion"),
        (PROMOTION.replace(b"reason: New checkout theme", b"wait: 5"), PROMOTION_PATH, "Promotion"),
        (ENVIRONMENT.replace(b"type: staging", b"type: test"), ENVIRONMENT_PATH, "Environment"),
        (ENVIRONMENT.replace(b"root: /srv", b"root: srv"), ENVIRONMENT_PATH, "Environment"),
        (ENVIRONMENT.replace(b"paths: [wp-", b"paths: [/wp-"), ENVIRONMENT_PATH, "Environment"),
        (ENVIRONMENT.replace(b"url: https", b"url: ftp"), ENVIRONMENT_PATH, "Environment"),
        (ENVIRONMENT.replace(b"root: /srv", b"root: /srv/.."), ENVIRONMENT_PATH, "Environment"),
        (ENVIRONMENT.replace(b"root: /srv", b"root: /./srv"), ENVIRONMENT_PATH, "Environment"),
        (ENVIRONMENT.replace(b"paths: [wp-", b"paths: [../wp-"), ENVIRONMENT_PATH, "Environment"),
    ],
)
def test_a_schema_refuses_with_the_reader(data: bytes, path: str, kind: str) -> None:
    with pytest.raises(DocumentInvalid):
        read_document(data, path=path)
    assert not is_valid(data, kind=kind)


@pytest.mark.parametrize("name", ["...", "..x", ".x", "x.", ".htaccess", "a..b"])
def test_a_schema_takes_names_with_dots_as_the_reader_does(name: str) -> None:
    data = ENVIRONMENT.replace(b"root: /srv", f"root: /srv/{name}".encode())
    read_document(data, path=ENVIRONMENT_PATH)
    assert is_valid(data, kind="Environment")


def test_the_page_of_presets_names_every_table_and_option() -> None:
    page = (CHECKOUT / PRESETS).read_text()
    assert [
        name for name in (*CONTENT_TABLES, *COMMERCE_TABLES, *PRESERVED_OPTIONS) if f"`{name}`" not in page
    ] == []


def test_every_field_that_people_write_is_explained() -> None:
    table_rows = [line for line in (CHECKOUT / FLEET_REPO).read_text().splitlines() if line.startswith("| `")]
    assert len(table_rows) > 50
    assert [row for row in table_rows if row.rstrip(" |").endswith("|")] == []


def test_check_tells_what_is_not_current(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path, text in make_files(CHECKOUT).items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert main(["--check", "--root", str(tmp_path)]) == 0
    (tmp_path / "contracts/schemas/old.json").write_text("{}")
    (tmp_path / PRESETS).write_text("edited by hand")
    assert main(["--check", "--root", str(tmp_path)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "contracts/schemas/old.json: not current",
        "docs/reference/presets.md: not current",
    ]
    assert main(["--root", str(tmp_path)]) == 0
    assert main(["--check", "--root", str(tmp_path)]) == 0


def test_the_page_s_example_is_read() -> None:
    page = (CHECKOUT / FLEET_REPO).read_text()
    example = page.split("```yaml\n")[1].split("```")[0]
    assert example.encode() == PROMOTION
