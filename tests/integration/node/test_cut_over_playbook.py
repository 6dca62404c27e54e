"""The steps as Ansible runs them: the program comes from the archive that was sent, and outlives who sent it."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import make_job_word

from reconciler.stack.mariadb import Login, MariaDB
from tests.integration.node.observed_pair import PROTECTION
from tests.integration.node.plain_site import BROKEN, THEME, Promotion, change_staging, make_promotion

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def promotion(mariadb: MariaDB, admin: Any, database: Login, tmp_path: Path) -> Iterator[Promotion]:
    with make_promotion(mariadb, admin, database.user, tmp_path) as made:
        change_staging(made)
        yield made


def describe(environment: Any) -> dict[str, Any]:
    return {
        "id": environment.id,
        "name": environment.name,
        "type": environment.type,
        "url": environment.url,
        "root": environment.root,
        "database": {"name": environment.database, "table_prefix": environment.table_prefix},
        "php": {"fpm_service": "", "cli": environment.php_cli},
        "web_server": {"cache_path": ""},
        "health": {"urls": list(environment.health_urls), "stable_for": environment.stable_for},
    }


def start_playbook(promotion: Promotion, step: str, **request: Any) -> subprocess.Popen[str]:
    """Run one step by `env-promote.yml` on this machine."""
    folder = Path(promotion.config_dir).parent
    variables = {
        "pressluft_job": {
            "id": promotion.job_id,
            "epoch": promotion.epoch,
            "type": "env_promote",
            "step": step,
        },
        "pressluft_settings": {"state_dir": promotion.state_dir, "config_dir": promotion.config_dir},
        "pressluft_production": describe(promotion.production),
        "pressluft_source": describe(promotion.pair.staging),
        "pressluft_protection": PROTECTION,
        "pressluft_request": request,
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
    command += ["-e", f"@{folder / 'variables.json'}", "ansible/playbooks/env-promote.yml"]
    environment = dict(
        os.environ, ANSIBLE_CONFIG="ansible/ansible.cfg", ANSIBLE_LOCAL_TEMP=str(folder / "tmp")
    )
    return subprocess.Popen(
        command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    )


def run_playbook(promotion: Promotion, step: str, **request: Any) -> dict[str, Any]:
    said = start_playbook(promotion, step, **request).communicate()[0]
    [result] = re.findall(r"^(?:ok|changed|fatal): \[localhost\].*? => (\{.*\})$", said, re.MULTILINE)
    return dict(json.loads(result))


def stage_by_playbook(promotion: Promotion) -> dict[str, Any]:
    observation = promotion.check()
    return run_playbook(
        promotion, "stage", observation_id=observation["id"], plan=promotion.plan(observation)
    )


def test_a_promotion_runs_from_stage_to_cut_over_by_the_playbook(promotion: Promotion) -> None:
    staged = stage_by_playbook(promotion)["pressluft"]
    assert staged["staged"]["tables"] == 2
    assert (staged["node"]["journal"], staged["node"]["cut"]) == (["staged"], None)
    done = run_playbook(promotion, "cut_over", keep_old_release=3600)
    assert done["changed"] is True
    assert set(done["pressluft"]["cut_over"]) >= {"rename_ms", "gap_ms", "carried_options", "late_writes"}
    assert done["pressluft"]["health"]["healthy"] is True
    assert (done["pressluft"]["node"]["status"], done["pressluft"]["node"]["cut"]) == ("active", "healthy")
    assert (promotion.release(), promotion.option("blogname")) == (promotion.job_id, "Better shop")
    assert (promotion.job_folder / "program.zip").is_file()  # it ran from the archive, not from this tree
    probed = run_playbook(promotion, "probe")["pressluft"]["job"]
    assert (probed["finished"], probed["running"], probed["cut"]) == (True, False, "healthy")


def test_a_failing_cut_over_says_what_happened_and_what_to_do(promotion: Promotion) -> None:
    promotion.pair.path("staging", THEME).write_text(BROKEN)
    stage_by_playbook(promotion)
    failed = run_playbook(promotion, "cut_over")
    assert failed["pressluft_error"]["code"] == "HEALTH_CHECK_FAILED"
    assert failed["pressluft_error"]["remedy"]
    assert failed["pressluft"]["health"]["healthy"] is False
    assert (failed["pressluft"]["node"]["status"], failed["pressluft"]["node"]["cut"]) == (
        "active",
        "reversed",
    )


def test_the_program_outlives_ansible_and_the_module(promotion: Promotion) -> None:
    promotion.production = dataclasses.replace(promotion.production, stable_for=8.0)
    stage_by_playbook(promotion)
    run = start_playbook(promotion, "cut_over")
    wait_for_switch(promotion)
    for process in [*psutil.Process(run.pid).children(recursive=True), psutil.Process(run.pid)]:
        process.send_signal(signal.SIGKILL)
    run.wait()
    # Asked here and now: starting Ansible may take longer than the program does.
    probed = make_job_word(str(promotion.job_folder.parents[1]), promotion.job_id)
    assert (probed["running"], probed["cut"]) == (True, "switched")
    promotion.epoch = 2  # another daemon takes over
    done = run_playbook(promotion, "cut_over")
    assert done["pressluft"]["node"]["cut"] == "healthy"
    assert promotion.release() == promotion.job_id


def wait_for_switch(promotion: Promotion) -> None:
    deadline = time.monotonic() + 60
    journal = promotion.job_folder / "journal.json"
    while json.loads(journal.read_text())["cut"].get("state") != "switched":
        assert time.monotonic() < deadline
        time.sleep(0.05)
