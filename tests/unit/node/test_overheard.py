"""What a node's file of progress becomes for people, whatever is in it."""

import json
from typing import Any

import pytest
from ansible_collections.pressluft.wordpress.plugins.plugin_utils.overheard import make_line, make_path

JOB = {"id": "j", "epoch": 2, "step": "stage"}
KEPT: dict[str, Any] = {
    "epoch": 2,
    "step": "stage",
    "doing": "copy tables",
    "seconds": 10.0,
    "tables": 3,
    "tables_total": 12,
    "rows": 40_000,
    "rows_expected": 120_000,
    "bytes": 12_345_678,
    "files": 0,
}


NOTHING = {"tables_total": 0, "rows": 0, "rows_expected": 0, "bytes": 0}


def show(**changes: Any) -> str:
    return str(make_line(json.dumps({**KEPT, **changes}).encode(), job=JOB))


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        pytest.param(
            {},
            "copy tables: 3 of 12 tables, 40,000 of about 120,000 rows, 12.3 MB, about 20 s left",
            id="all of it",
        ),
        pytest.param(
            {"rows": 5},
            "copy tables: 3 of 12 tables, 5 of about 120,000 rows, 12.3 MB",
            id="too early to say how long it takes",
        ),
        pytest.param(
            {"rows": 130_000, "bytes": 0},
            "copy tables: 3 of 12 tables, 130,000 of about 120,000 rows",
            id="more rows than the server guessed",
        ),
        pytest.param(
            {"seconds": 600.0, "bytes": 0},
            "copy tables: 3 of 12 tables, 40,000 of about 120,000 rows, about 20 min left",
            id="minutes",
        ),
        pytest.param(
            {"tables_total": 0, "rows": 0, "rows_expected": 0, "files": 7},
            "copy tables: 7 files, 12.3 MB",
            id="files",
        ),
        pytest.param(
            {"tables_total": 0, "rows": 0, "rows_expected": 0, "bytes": 0},
            "copy tables",
            id="nothing counted",
        ),
        pytest.param({"epoch": 1}, "", id="left over from an earlier attempt"),
        pytest.param({"step": "refresh-2"}, "", id="left over from another step"),
        pytest.param({"rows": "\x1b[2Jmany"}, "", id="no number"),
        pytest.param({**NOTHING, "doing": "\x1b[2J{{x}}"}, "Jx", id="words only"),
    ],
)
def test_a_line_says_how_far_the_step_is(changes: dict[str, Any], shown: str) -> None:
    assert show(**changes) == shown


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b"{}", b'{"epoch": 2, "step": "stage"', b"null"])
def test_nonsense_is_no_line(content: bytes) -> None:
    assert make_line(content, job=JOB) == ""


def test_the_file_lies_in_the_folder_of_the_job() -> None:
    assert make_path({}, JOB, {"id": "e"}) == "/var/lib/pressluft/e/jobs/j/progress.json"
    assert make_path({"state_dir": "/s"}, JOB, {"id": "e"}) == "/s/e/jobs/j/progress.json"
