"""The module as Ansible runs it: `drift-check.yml` on this machine, with its own files in a private folder."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import Job
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment_lock import take_lock

from reconciler.stack.mariadb import Login, MariaDB
from tests.integration.node.observed_pair import IDS, JOB, PROTECTION, URLS, Pair, find_differing, make_pair

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def pair(mariadb: MariaDB, admin: Any, database: Login, tmp_path: Path) -> Iterator[Pair]:
    other = f"{database.user}_s"
    mariadb.create_database(other)
    pair = make_pair(mariadb, admin, tmp_path, {"production": database.user, "staging": other})
    pair.take_baseline()
    config = tmp_path / "config"
    config.mkdir(mode=0o700)
    (config / "node.ini").write_text(f"[mysql]\ndefaults_file = {mariadb.client_file}\n")
    yield pair
    mariadb.drop_database(other)


def play(pair: Pair, folder: Path, *arguments: str, **changes: Any) -> dict[str, Any]:
    """Run the playbook, and return what the module returned."""
    variables = {
        "pressluft_job": {"id": JOB, "epoch": 1, "type": "drift_check", "step": "check"},
        "pressluft_settings": {"state_dir": pair.state_dir, "config_dir": str(folder / "config")},
        "pressluft_production": describe(pair, "production", "wp_"),
        "pressluft_source": describe(pair, "staging", "stg_"),
        "pressluft_protection": PROTECTION,
        "pressluft_request": {},
        "ansible_python_interpreter": sys.executable,
        **changes,
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
    command += ["-e", f"@{folder / 'variables.json'}", *arguments, "ansible/playbooks/drift-check.yml"]
    environment = dict(
        os.environ, ANSIBLE_CONFIG="ansible/ansible.cfg", ANSIBLE_LOCAL_TEMP=str(folder / "tmp")
    )
    run = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
    [result] = re.findall(r"^(?:ok|changed|fatal): \[localhost\].*? => (\{.*\})$", run.stdout, re.MULTILINE)
    return dict(json.loads(result))


def describe(pair: Pair, side: str, prefix: str) -> dict[str, Any]:
    environment = pair.production if side == "production" else pair.staging
    return {
        "id": IDS[side],
        "name": side,
        "type": side,
        "url": URLS[side],
        "root": environment.root,
        "database": {"name": environment.database, "table_prefix": prefix},
        "php": {"fpm_service": "", "cli": "php"},
        "web_server": {"cache_path": ""},
        "health": {"urls": [], "body_contains": "", "stable_for": 0},
    }


def test_the_playbook_returns_the_observation_and_keeps_it_under_the_job(pair: Pair, tmp_path: Path) -> None:
    pair.sql("INSERT INTO P.posts (post_title) VALUES ('Three')")
    result = play(pair, tmp_path)
    assert result["changed"] is False
    observation = result["pressluft"]["observation"]
    assert find_differing(observation) == {"posts"}
    assert result["pressluft"]["node"]["status"] == "active"
    kept = Path(pair.state_dir) / pair.staging.id / "jobs" / JOB / "observation.json"
    assert json.loads(kept.read_text()) == observation


def test_check_mode_looks_and_keeps_nothing(pair: Pair, tmp_path: Path) -> None:
    result = play(pair, tmp_path, "--check")
    assert find_differing(result["pressluft"]["observation"]) == set()
    assert not list(Path(pair.state_dir).glob("*/jobs/*/observation.json"))


def test_a_superseded_claim_is_refused_with_its_code(pair: Pair, tmp_path: Path) -> None:
    job = {"id": JOB, "epoch": 5, "type": "drift_check", "step": "check"}
    assert "observation" in play(pair, tmp_path, pressluft_job=job)["pressluft"]
    late = play(pair, tmp_path, pressluft_job=dict(job, epoch=4))
    assert late["pressluft_error"]["code"] == "CLAIM_SUPERSEDED"


def test_a_probe_says_where_the_job_stands_and_looks_at_nothing(pair: Pair, tmp_path: Path) -> None:
    job = {"id": JOB, "epoch": 1, "type": "drift_check", "step": "probe"}
    found = play(pair, tmp_path, pressluft_job=job)["pressluft"]
    assert found["node"]["status"] == "active"
    assert "observation" not in found


GLANCE = {"id": "99999999-9999-4999-8999-999999999999", "epoch": 0, "type": "drift_check", "step": "check"}


def read_states(pair: Pair) -> dict[str, str]:
    """Who was let in, what is bound and what is compared with; not what the node remembers of unchanged files."""
    names = ("state.json", "identity.json", "baseline.json")
    return {str(path): path.read_text() for name in names for path in Path(pair.state_dir).glob(f"*/{name}")}


def test_a_periodic_look_claims_nothing_and_leaves_nothing(pair: Pair, tmp_path: Path) -> None:
    play(pair, tmp_path)
    before = read_states(pair)
    pair.sql("INSERT INTO P.posts (post_title) VALUES ('Three')")
    result = play(pair, tmp_path, pressluft_job=GLANCE)
    assert find_differing(result["pressluft"]["observation"]) == {"posts"}
    assert read_states(pair) == before
    assert not list(Path(pair.state_dir).glob(f"*/jobs/{GLANCE['id']}"))
    assert (
        "observation" in play(pair, tmp_path)["pressluft"]
    )  # the job's own next step is not superseded by it


def test_a_periodic_look_gives_way_to_a_step_at_work(pair: Pair, tmp_path: Path) -> None:
    play(pair, tmp_path)
    folder = Path(pair.state_dir, pair.production.id)
    with take_lock(str(folder), Job(JOB, 1, "env_promote", "cut_over"), wait=60):
        refused = play(pair, tmp_path, pressluft_job=GLANCE)
    assert "a job is at work there" in refused["pressluft_error"]["message"]


def test_a_periodic_look_at_what_no_job_ever_bound_is_refused(pair: Pair, tmp_path: Path) -> None:
    refused = play(pair, tmp_path, pressluft_job=GLANCE)
    assert "no job was ever let in" in refused["pressluft_error"]["message"]
    assert not list(Path(pair.state_dir).glob("*/identity.json"))
