"""How far a long step is: what the node writes down, and what whoever follows the job sees of it meanwhile."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils import progress as progress_module
from ansible_collections.pressluft.wordpress.plugins.module_utils.progress import PROGRESS_FILE, Progress

from reconciler.ports import Json, NodeAddress, RunSpec, RunState
from reconciler.settings import find_bundled
from reconciler.stack.mariadb import Login, MariaDB
from reconciler.stack.sshd import Sshd
from tests.integration.node.observed_pair import PROTECTION
from tests.integration.node.plain_site import Promotion, change_staging, make_promotion
from tests.integration.node.refreshed_pair import Refreshing, make_refreshing
from tests.integration.node.test_cut_over_playbook import describe
from tests.integration.runner.pipe import PATIENCE, ProcessPipe
from tests.integration.runner.stage import LOCAL, Stage, make_node, make_spec

LARGE = "CREATE TABLE {}.large (id INT PRIMARY KEY, text LONGTEXT) ENGINE=InnoDB"
FILL = "INSERT INTO {}.large SELECT seq, REPEAT('x', 1500) FROM seq_1_to_2000"

Told = list[dict[str, Any]]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """All that is written down, each as it lies in the file; nothing is left out for coming too soon."""
    found: Told = []
    write = Progress._write

    def remember(self: Progress, now: float) -> None:
        write(self, now)
        if self._path:
            found.append(json.loads(Path(self._path).read_text()))

    monkeypatch.setattr(Progress, "_write", remember)
    monkeypatch.setattr(progress_module, "_SECONDS", 0)
    monkeypatch.setattr(progress_module, "_SHARE", 0)
    return found


def find_growth(told: Told, doing: str, count: str) -> list[int]:
    """The different values of a count while something was done, in order."""
    return list(dict.fromkeys(line[count] for line in told if line["doing"] == doing))


@pytest.fixture
def refreshing(mariadb: MariaDB, admin: Any, database: Login, tmp_path: Path) -> Iterator[Refreshing]:
    with make_refreshing(mariadb, admin, database.user, tmp_path) as made:
        yield made


@pytest.fixture
def promotion(mariadb: MariaDB, admin: Any, database: Login, tmp_path: Path) -> Iterator[Promotion]:
    with make_promotion(mariadb, admin, database.user, tmp_path) as made:
        change_staging(made)
        made.pair.sql(LARGE.format("S"), FILL.format("S"))
        yield made


def test_staging_tells_tables_rows_and_bytes_while_it_copies(promotion: Promotion, told: Told) -> None:
    staged = promotion.stage()
    assert not (promotion.job_folder / PROGRESS_FILE).exists()
    rows = find_growth(told, "copy tables", "rows")
    assert len(rows) > 4
    assert (rows, rows[0], rows[-1]) == (sorted(rows), 0, staged["rows"])
    assert find_growth(told, "copy tables", "bytes")[-1] == staged["bytes"]
    assert find_growth(told, "copy tables", "tables") == [0, 1, 2, 3]
    assert find_growth(told, "rewrite addresses", "tables") == [0, 1, 2, 3]
    assert {line["tables_total"] for line in told if line["doing"] == "copy tables"} == {3}
    assert list(dict.fromkeys(line["doing"] for line in told)) == [
        "check that the source is what was checked",
        "copy tables",
        "rewrite addresses",
        "build the release",
        "measure what was staged",
        "ask the new release before it is served",
    ]


def test_a_refresh_tells_tables_rows_and_files_the_second_one_too(refreshing: Refreshing, told: Told) -> None:
    refreshing.pair.sql(LARGE.format("P").replace("large", "posts_large"))
    refreshing.pair.sql(FILL.format("P").replace("large", "posts_large"))
    done = refreshing.run_anew("full")["refresh"]
    rows = find_growth(told, "copy tables", "rows")
    assert (len(rows) > 4, rows == sorted(rows), rows[-1]) == (True, True, done["rows"])
    assert find_growth(told, "copy tables", "tables")[-1] == done["tables"]
    told.clear()
    refreshing.pair.path("production", "wp-content/uploads/2024/b.png").write_bytes(b"new")
    refreshing.run_anew("full")
    assert find_growth(told, "copy files", "files") == [0, 1]
    assert find_growth(told, "copy files", "bytes") == [0, 3]


def test_a_full_disk_takes_progress_away_and_nothing_else(refreshing: Refreshing) -> None:
    folder = Path(refreshing.pair.state_dir, refreshing.source.id, "jobs", refreshing.job_id)
    (folder / (PROGRESS_FILE + ".new")).mkdir(parents=True)
    assert refreshing.run("full")["refresh"]["tables"] > 0


@pytest.mark.parametrize("way", ["local", "ssh"])
def test_whoever_follows_a_refresh_sees_how_far_it_is(
    way: str, refreshing: Refreshing, sshd: Sshd, tmp_path: Path
) -> None:
    stage = Stage(tmp_path / "runs", sshd=sshd, playbook_root=find_bundled("ansible"))
    go_on = tmp_path / "go-on"
    with ProcessPipe(tmp_path / "pipe") as pipe:
        hold_script(refreshing, began=pipe.path, go_on=go_on)
        key = stage.runner.start(make_refresh_spec(refreshing, make_node(sshd) if way == "ssh" else LOCAL))
        try:
            pipe.read_pid()
            lines = wait_for_line(stage, key, "run the script that anonymises")
        finally:
            go_on.touch()
            outcome = stage.wait(key)
    assert outcome.state is RunState.SUCCEEDED, outcome
    assert lines[0] == "Refresh the source", "a task that is skipped is not told"
    assert stage.count_processes() == 0


def hold_script(refreshing: Refreshing, *, began: Path, go_on: Path) -> None:
    """Let the owner's script, in the middle of a refresh, wait for the test; for a minute at most."""
    script = refreshing.config_dir / "anonymise"
    script.write_text(
        f"#!/bin/sh\necho $$ > {began}\n"
        f"for turn in $(seq 600); do [ -e {go_on} ] && exit 0; sleep 0.1; done\nexit 1\n"
    )
    script.chmod(0o700)


def make_refresh_spec(refreshing: Refreshing, node: NodeAddress) -> RunSpec:
    """A full refresh as the daemon starts it."""
    job: dict[str, Json] = {"id": refreshing.job_id, "epoch": 1, "type": "env_refresh", "step": "refresh"}
    variables: dict[str, Json] = {
        "pressluft_job": job,
        "pressluft_settings": {
            "state_dir": refreshing.pair.state_dir,
            "config_dir": str(refreshing.config_dir),
        },
        "pressluft_production": describe(refreshing.pair.production),
        "pressluft_source": describe(refreshing.source),
        "pressluft_protection": PROTECTION,
        "pressluft_request": {"scope": "full"},
    }
    spec = make_spec("env-refresh", node=node, variables=variables)
    return replace(spec, job_id=UUID(refreshing.job_id), step="refresh")


def wait_for_line(stage: Stage, key: str, text: str) -> list[str]:
    """All lines up to the first that is this one."""
    deadline = time.monotonic() + PATIENCE
    while text not in (lines := [event.text for event in stage.runner.events(key)]):
        assert time.monotonic() < deadline, lines
        time.sleep(0.05)
    return lines
