"""A Reset finishes or undoes what is half done, and calls nothing active that does not prove itself."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils import durable_file
from ansible_collections.pressluft.wordpress.plugins.module_utils.arguments import Call
from ansible_collections.pressluft.wordpress.plugins.module_utils.cut import TO_HEALTHY, TO_REVERSED
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import Job
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.reset import reset

from reconciler.stack.mariadb import Login, MariaDB
from tests.integration.node.plain_site import BROKEN, THEME, Promotion, change_staging, make_promotion
from tests.integration.node.test_cut_over_playbook import describe

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def promotion(mariadb: MariaDB, admin: Any, database: Login, tmp_path: Path) -> Iterator[Promotion]:
    with make_promotion(mariadb, admin, database.user, tmp_path) as made:
        change_staging(made)
        yield made


def make_call(promotion: Promotion, job_id: str | None = None) -> Call:
    job = Job(job_id or str(uuid4()), 1, "health_check", "reset")
    call = promotion.call("reset")
    return dataclasses.replace(call, job=job, environment=promotion.production, production=None, source=None)


def mark_failed(promotion: Promotion, **fields: Any) -> None:
    """Let the node call the environment failed."""
    path = Path(promotion.state_dir, promotion.production.id, "state.json")
    durable_file.write_json(str(path), {**promotion.read_state(), "status": "failed", **fields})


def check_node(promotion: Promotion) -> str:
    return str(promotion.read_state()["status"])


def test_a_healthy_environment_that_was_failed_is_active_again(promotion: Promotion) -> None:
    promotion.stage()
    promotion.cut_over()
    mark_failed(promotion)
    before, code = promotion.tables(), promotion.code()
    result = reset(make_call(promotion))
    assert result["reset"] == {"resumed": [], "release": promotion.job_id}
    assert result["node"]["status"] == "active"
    assert check_node(promotion) == "active"
    assert (promotion.tables(), promotion.code()) == (before, code)


def test_an_unhealthy_environment_stays_failed_and_says_why(promotion: Promotion) -> None:
    promotion.check()
    Path(promotion.production.current, THEME).write_text(BROKEN)
    mark_failed(promotion)
    with pytest.raises(NodeError) as refused:
        reset(make_call(promotion))
    assert refused.value.code == "HEALTH_CHECK_FAILED"
    assert check_node(promotion) == "failed"


@pytest.mark.parametrize("number", [TO_HEALTHY.index("renamed"), TO_HEALTHY.index("judged")])
def test_a_cut_over_that_was_left_open_is_finished(promotion: Promotion, number: int) -> None:
    promotion.stage()
    promotion.kill_program_at(number)
    mark_failed(promotion)
    result = reset(make_call(promotion))
    assert result["reset"] == {"resumed": [promotion.job_id], "release": promotion.job_id}
    assert (promotion.option("blogname"), promotion.release()) == ("Better shop", promotion.job_id)
    assert check_node(promotion) == "active"


def test_a_cut_over_that_has_not_begun_is_undone(promotion: Promotion) -> None:
    promotion.stage()
    before = promotion.tables()
    promotion.kill_program_at(TO_HEALTHY.index("started"))
    mark_failed(promotion)
    reset(make_call(promotion))
    assert (promotion.tables(), promotion.release()) == (before, "first")
    assert check_node(promotion) == "active"


def test_a_way_back_that_stopped_half_way_is_gone_to_its_end(promotion: Promotion) -> None:
    before, code = promotion.tables(), promotion.code()
    promotion.pair.path("staging", THEME).write_text(BROKEN)
    promotion.stage()
    promotion.kill_program_at(TO_REVERSED.index("renamed back"))
    path = promotion.job_folder / "journal.json"
    journal = durable_file.read_json(str(path))
    failed = {"code": "ROLLBACK_FAILED", "message": "x", "remedy": "y", "retry": False}
    durable_file.write_json(str(path), {**journal, "result": {}, "error": failed})
    mark_failed(promotion, job=str(uuid4()))
    reset(make_call(promotion))
    assert (promotion.tables(), promotion.code(), promotion.release()) == (before, code, "first")
    assert check_node(promotion) == "active"


def test_tables_that_somebody_moved_by_hand_stay_failed(promotion: Promotion) -> None:
    promotion.stage()
    promotion.cut_over()
    [kept] = promotion.own_databases()
    promotion.pair.sql(f"RENAME TABLE `{kept}`.wp_slides TO `{kept}`.wp_elsewhere")
    mark_failed(promotion)
    with pytest.raises(NodeError, match="not one release"):
        reset(make_call(promotion))
    assert check_node(promotion) == "failed"


def test_another_release_than_the_installed_one_stays_failed(promotion: Promotion) -> None:
    promotion.stage()
    promotion.cut_over()
    current = Path(promotion.production.current)
    current.unlink()
    current.symlink_to("releases/first")
    mark_failed(promotion)
    with pytest.raises(NodeError, match="is served, but"):
        reset(make_call(promotion))
    assert check_node(promotion) == "failed"


def test_a_reset_that_ended_is_not_run_again(promotion: Promotion) -> None:
    promotion.check()
    job_id = str(uuid4())
    reset(make_call(promotion, job_id))
    mark_failed(promotion)
    with pytest.raises(NodeError) as told:
        reset(make_call(promotion, job_id))
    assert told.value.code == "JOB_FINISHED"
    assert check_node(promotion) == "failed"


def run_playbook(promotion: Promotion, step: str) -> dict[str, Any]:
    """Run one step by `health-check.yml` on this machine."""
    folder = Path(promotion.config_dir).parent
    job = {"id": str(uuid4()), "epoch": 1, "type": "health_check", "step": step}
    variables = {
        "pressluft_job": job,
        "pressluft_settings": {"state_dir": promotion.state_dir, "config_dir": promotion.config_dir},
        "pressluft_environment": describe(promotion.production),
        "pressluft_request": {"is_last": True},
        "ansible_python_interpreter": sys.executable,
    }
    (folder / "variables.json").write_text(json.dumps(variables))
    command = [
        str(Path(sys.executable).with_name("ansible-playbook")),
        "-i",
        "localhost,",
        "-c",
        "local",
        "-v",
    ]
    command += ["-e", f"@{folder / 'variables.json'}", "ansible/playbooks/health-check.yml"]
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": "ansible/ansible.cfg",
        "ANSIBLE_LOCAL_TEMP": str(folder / "tmp"),
    }
    said = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    ).stdout
    [result] = re.findall(r"^(?:ok|changed|fatal): \[localhost\].*? => (\{.*\})$", said, re.MULTILINE)
    return dict(json.loads(result))


def test_the_playbook_resets_an_environment_and_says_how_it_stands(promotion: Promotion) -> None:
    promotion.check()
    mark_failed(promotion)
    done = run_playbook(promotion, "reset")["pressluft"]
    assert (done["reset"], done["node"]["status"]) == ({"resumed": [], "release": "first"}, "active")
    assert done["health"]["healthy"] is True
    Path(promotion.production.current, THEME).write_text(BROKEN)
    refused = run_playbook(promotion, "reset")["pressluft_error"]
    assert (refused["code"], refused["retry"]) == ("HEALTH_CHECK_FAILED", False)
