"""`pressluft doctor` on a real fleet: this machine, a node that is here, one that is not, a repo that refuses."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from reconciler.cli.main import app
from reconciler.errors import RepoUnusable
from reconciler.ports import Branch
from reconciler.stack.mariadb import Login, MariaDB
from tests.integration.git.https import GitHttps, https
from tests.integration.git.opening import OpenFleet, fleet
from tests.integration.git.people import Person, git, make_bare_repo
from tests.story import make_fleet_files

__all__ = ["fleet", "https"]
FAR = (
    "apiVersion: pressluft/v1\nkind: Node\nmetadata: {name: far, id: 6ba7b810-9dad-11d1-80b4-00c04fd430c9}\n"
)


@pytest.fixture
def config_dir(tmp_path: Path, mariadb: MariaDB, database: Login) -> Path:
    """What the node's owner wrote, with a repository for backups."""
    folder = tmp_path / "etc"
    folder.mkdir(mode=0o700)
    password = folder / "restic.password"
    password.write_text("a long one\n")
    password.chmod(0o600)
    (folder / "wp").write_text("<?php")
    (folder / "node.ini").write_text(
        f"[mysql]\ndefaults_file = {mariadb.client_file}\n[wp]\ncli = {folder}/wp\n"
        f"[restic]\nrepository = {tmp_path}/backups\npassword_file = {password}\n"
    )
    command = ["restic", "--no-cache", "-r", str(tmp_path / "backups"), "-p", str(password), "init"]
    subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.fixture
def bare(tmp_path: Path, database: Login) -> Path:
    """A fleet whose node is this machine, with a site whose root is below the test's folder."""
    files = make_fleet_files()
    node = files["nodes/web-1.yaml"].replace("localhost", f"localhost, python_interpreter: {sys.executable}")
    files["nodes/web-1.yaml"] = node
    for name in ("production", "staging"):
        path = f"sites/acme/environments/{name}.yaml"
        text = files[path].replace(f"/srv/acme/{name}", str(tmp_path / "srv" / name))
        files[path] = text.replace(f"acme_{name}", database.user if name == "production" else f"no_{name}")
        (tmp_path / "srv" / name / "releases" / "one").mkdir(parents=True)
    (tmp_path / "srv/production/current").symlink_to("releases/one")
    repo = make_bare_repo(tmp_path / "fleet.git")
    Person(repo, tmp_path / "clone").commit({path: text.encode() for path, text in files.items()})
    return repo


@pytest.fixture
def examined(
    tmp_path: Path, bare: Path, config_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, dict[str, Any]]]:
    """What doctor finds, by place and name, when all is well but one database; a second node is out of reach."""
    far = f"{FAR}spec: {{host: 127.0.0.1, port: 1}}\n".encode()
    Person(bare, tmp_path / "clone").commit({"nodes/far.yaml": far})
    monkeypatch.setenv("PRESSLUFT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("PRESSLUFT_NODE_CONFIG_DIR", str(config_dir))
    monkeypatch.setenv("PRESSLUFT_NODE_STATE_DIR", str(tmp_path / "node"))
    done = CliRunner().invoke(app, ["doctor", "--repo", str(bare), "--json"])
    assert done.exit_code == 1, done.output
    found = json.loads(done.stdout)
    yield {place: {item["name"]: item for item in items} for place, items in found.items()}
    assert not (tmp_path / "node").exists(), "doctor wrote on the node"
    assert git(bare, "rev-list", "--count", "main") == "2", "doctor wrote to the repo"


def test_it_says_of_everything_whether_it_is_there(examined: dict[str, dict[str, Any]]) -> None:
    here, node = examined["this machine"], examined["web-1"]
    assert {
        here[name]["state"] for name in ("git", "ssh", "ansible-core", "fleet repo", "push of status")
    } == {"ok"}
    needed = (
        "python",
        "PyMySQL",
        "clock",
        "database",
        "database rights",
        "restic",
        "backup storage",
        "wp-cli",
    )
    assert {name: node[name]["state"] for name in needed} == dict.fromkeys(needed, "ok")
    assert node["php of production"]["state"] == node["root of production"]["state"] == "ok"
    assert node["database of staging"]["state"] == "missing"
    assert "CREATE DATABASE" in node["database of staging"]["remedy"]
    assert set(examined["far"]) == {"reach"}
    assert examined["far"]["reach"]["state"] == "missing"


def call(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> dict[str, Any]:
    """Call doctor on a repo without nodes to ask, and return what it found here."""
    monkeypatch.setenv("PRESSLUFT_STATE_DIR", str(tmp_path / "state"))
    done = CliRunner().invoke(
        app, ["doctor", "--repo", str(repo), "--json", "--node", "none", *words], catch_exceptions=False
    )
    assert done.exit_code == 1
    return {item["name"]: item for item in json.loads(done.stdout)["this machine"]}


def test_without_a_fleet_repo_the_machine_is_examined_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = call(tmp_path / "nowhere", tmp_path, monkeypatch)
    assert found["fleet repo"]["state"] == "missing"
    assert found["git"]["state"] == "ok"


def test_a_key_that_others_may_read_and_one_that_is_gone_are_missing(
    tmp_path: Path, bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "open-key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    key.chmod(0o644)
    monkeypatch.setenv("PRESSLUFT_SIGNING_KEY", str(key))
    monkeypatch.setenv("PRESSLUFT_SSH_KEY", str(tmp_path / "gone"))
    found = call(bare, tmp_path, monkeypatch)
    assert found["signing_key"]["remedy"] == f"chmod 600 {key}"
    assert found["ssh_key"]["state"] == found["signing"]["state"] == "missing"


def test_without_git_it_says_how_to_get_it(
    tmp_path: Path, bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/ssh").symlink_to(shutil.which("ssh") or "")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    found = call(bare, tmp_path, monkeypatch)
    assert found["git"]["remedy"] == "apt install git"
    assert found["ssh-keygen"]["state"] == "missing"
    assert found["ssh"]["state"] == "ok"


def test_a_branch_that_is_checked_out_cannot_be_pushed_to(
    tmp_path: Path, bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = call(tmp_path / "clone", tmp_path, monkeypatch)
    assert "checked out" in found["push of status"]["detail"]


def test_a_server_that_lets_in_for_reading_alone_is_found_out_without_a_push(
    bare: Path, https: GitHttps, fleet: OpenFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_SSL_CAINFO", str(https.authority))
    git(bare, "config", "http.receivepack", "false")
    repo = fleet(https.url(bare), token=SecretStr(https.token))
    before = repo.fetch()
    with pytest.raises(RepoUnusable, match="403"):
        repo.rehearse_push(Branch.STATUS)
    git(bare, "config", "http.receivepack", "true")
    repo.rehearse_push(Branch.STATUS)
    assert repo.fetch() == before
