"""What a node says about itself: versions and rights are judged from what the server says."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.detached import find_code
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import Job
from ansible_collections.pressluft.wordpress.plugins.module_utils.examination import (
    RIGHTS,
    examine,
    examine_clock,
    examine_recovery,
    judge_rights,
    judge_server,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.prepare import pack_code


@pytest.mark.parametrize(
    ("server", "state"),
    [
        pytest.param("MariaDB 10.11.6-MariaDB-0+deb12u1", "ok", id="mariadb"),
        pytest.param("MariaDB 10.6.1-MariaDB", "ok", id="the-oldest"),
        pytest.param("MariaDB 10.6.0-MariaDB", "missing", id="rename-does-not-survive-a-crash"),
        pytest.param("MariaDB 10.5.23-MariaDB", "missing", id="too-old"),
        pytest.param("MariaDB 11.4.2-MariaDB-log", "ok", id="newer"),
        pytest.param("MySQL 8.0.36", "warning", id="mysql-is-untested"),
        pytest.param("MySQL 5.7.44", "missing", id="old-mysql"),
    ],
)
def test_the_server_is_judged_by_what_it_says_it_is(server: str, state: str) -> None:
    assert judge_server(server)["state"] == state


def test_mysql_is_called_untested() -> None:
    assert "untested" in judge_server("MySQL 8.0.36")["detail"]


@pytest.mark.parametrize(
    ("grants", "state"),
    [
        pytest.param(["GRANT ALL PRIVILEGES ON *.* TO `p`@`localhost`"], "ok", id="all"),
        pytest.param([f"GRANT {', '.join(RIGHTS)} ON *.* TO `p`@`%`"], "ok", id="each"),
        pytest.param(["GRANT ALL PRIVILEGES ON `acme`.* TO `p`@`%`"], "missing", id="one-database-only"),
        pytest.param([f"GRANT {', '.join(RIGHTS[1:])} ON *.* TO `p`@`%`"], "missing", id="one-lacks"),
        pytest.param([], "missing", id="none"),
    ],
)
def test_rights_count_where_they_hold_everywhere(grants: list[str], state: str) -> None:
    assert judge_rights(grants)["state"] == state


@pytest.mark.parametrize(("seconds", "state"), [(0, "ok"), (25, "ok"), (40, "missing"), (-40, "missing")])
def test_a_clock_that_is_off_is_missing(seconds: float, state: str) -> None:
    then = datetime.now(timezone.utc) + timedelta(seconds=seconds)  # noqa: UP017 - as nodes may be
    assert examine_clock(then.isoformat())["state"] == state


def test_a_recovery_of_another_version_is_told(tmp_path: Path) -> None:
    (tmp_path / "pressluft-recover.zip").write_bytes(b"an older one")
    assert "another version" in examine_recovery(str(tmp_path))["detail"]
    (tmp_path / "pressluft-recover.zip").write_bytes(pack_code(find_code()))
    assert "another version" not in examine_recovery(str(tmp_path))["detail"]


def test_a_node_without_anything_is_told_all_that_it_lacks_and_gains_nothing(tmp_path: Path) -> None:
    call = SimpleNamespace(
        request={},
        job=Job("job", 0, "health_check", "examine"),
        state_dir=str(tmp_path / "state"),
        config_dir=str(tmp_path / "config"),
    )
    found = {item["name"]: item for item in examine(call)["examination"]["findings"]}
    assert found["node.ini"]["state"] == "missing"
    assert found["recovery"]["remedy"] == "pressluft node prepare NODE"
    assert found["state_dir"]["state"] in {"ok", "warning"}
    assert all(item["remedy"] for item in found.values() if item["state"] != "ok")
    assert list(tmp_path.iterdir()) == []
