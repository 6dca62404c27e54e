"""Refresh and backup on real WordPress, by their playbooks, from an empty environment on."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.quiet import PLUGIN_PATH

from reconciler.stack.site import Site
from schemas.preset import (
    PRESERVED_FILES,
    PRESERVED_OPTIONS,
    PRESETS,
    VOLATILE_FILES,
    VOLATILE_OPTIONS,
    Preset,
)
from tests.servers import Pair

REPOSITORY = Path(__file__).parents[3]
CONTENT = PRESETS[Preset.CONTENT_PROTECT]
PROTECTION = {
    "protected_tables": CONTENT.protected_tables,
    "protected_paths": CONTENT.protected_paths,
    "preserved_tables": CONTENT.preserved_tables,
    "preserved_options": PRESERVED_OPTIONS,
    "preserved_files": PRESERVED_FILES,
    "volatile_options": VOLATILE_OPTIONS,
    "volatile_files": VOLATILE_FILES,
}


class Node:
    """Both sites on one node, and playbooks that run there."""

    def __init__(self, pair: Pair, config_dir: Path, folder: Path) -> None:
        self.production, self.staging = pair.production, pair.staging
        self._folder, self._config_dir = folder, config_dir
        self._sides = {
            kind: _describe(site, kind)
            for kind, site in (("production", pair.production), ("staging", pair.staging))
        }

    def run(self, playbook: str, step: str, *, job_type: str, **request: Any) -> dict[str, Any]:
        """Run a playbook's step as a job of its own; returns what its module said."""
        variables = {
            "pressluft_job": {"id": str(uuid4()), "epoch": 1, "type": job_type, "step": step},
            "pressluft_settings": {"state_dir": f"{self._folder}/state", "config_dir": str(self._config_dir)},
            "pressluft_production": self._sides["production"],
            "pressluft_source": self._sides["staging"],
            "pressluft_environment": self._sides["production"],
            "pressluft_protection": PROTECTION,
            "pressluft_request": request,
            "ansible_python_interpreter": sys.executable,
        }
        (self._folder / "variables.json").write_text(json.dumps(variables))
        command = [
            str(Path(sys.executable).with_name("ansible-playbook")),
            "-i",
            "localhost,",
            "-c",
            "local",
            "-v",
        ]
        command += ["-e", f"@{self._folder / 'variables.json'}", f"ansible/playbooks/{playbook}.yml"]
        environment = dict(os.environ, ANSIBLE_CONFIG="ansible/ansible.cfg")
        environment["ANSIBLE_LOCAL_TEMP"] = str(self._folder / "tmp")
        done = subprocess.run(
            command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
        )
        found = re.findall(r"^(?:ok|changed|fatal): \[localhost\].*? => (\{.*\})$", done.stdout, re.MULTILINE)
        assert len(found) == 1, done.stdout + done.stderr
        return dict(json.loads(found[0]))

    def refresh(self, scope: str) -> dict[str, Any]:
        return self.run("env-refresh", "refresh", job_type="env_refresh", scope=scope)

    def count_traces(self) -> int:
        """How often production's address occurs in staging's tables but for guid, by a dump."""
        dump = self.staging.stack.mariadb
        command = ["mariadb-dump", f"--defaults-file={dump.client_file}", "--skip-extended-insert"]
        done = subprocess.run(
            [*command, self.staging.database_name], capture_output=True, text=True, check=True
        )
        place = self.production.url.removeprefix("http://")
        lines = [line for line in done.stdout.splitlines() if "_posts` VALUES" not in line]
        posts = self.staging.query(
            "SELECT COUNT(*) FROM {p}posts WHERE CONCAT(post_content, post_excerpt, post_title) LIKE %s",
            f"%{place}%",
        )
        return sum(place in line for line in lines) + int(str(posts[0][0]))


def _describe(site: Site, kind: str) -> dict[str, Any]:
    return {
        "id": str(uuid4()),
        "name": kind,
        "type": kind,
        "url": site.url,
        "root": str(site.root),
        "database": {"name": site.database_name, "table_prefix": site.table_prefix},
        "php": {"fpm_service": str(site.stack.php_fpm.pid_file), "cli": "php"},
        "web_server": {"cache_path": ""},
        "health": {"urls": [site.url + "/"], "body_contains": "", "stable_for": 0},
    }


@pytest.fixture
def node(wordpress_pair: Callable[..., Pair], node_config: Path, tmp_path: Path) -> Node:
    return Node(wordpress_pair(posts=20, comments=30, uploads=3), node_config, tmp_path)


def test_a_full_refresh_makes_an_empty_environment_a_living_quiet_copy(node: Node) -> None:
    before = node.production.query("CHECKSUM TABLE {p}posts, {p}options, {p}users, {p}comments")
    done = node.refresh("full")
    assert node.production.query("CHECKSUM TABLE {p}posts, {p}options, {p}users, {p}comments") == before
    assert done["pressluft"]["health"]["healthy"], done
    page = node.staging.fetch("/")
    assert page.status == 200
    assert node.production.url not in page.body
    assert node.count_traces() == 0
    assert node.staging.fetch("/wp-content/uploads/2026/01/demo-0001.png").status == 200
    assert "noindex" in page.body
    assert _measure_quiet(node.staging) == ("kept", 0)
    (node.staging.current / PLUGIN_PATH).unlink()
    noise = _measure_quiet(node.staging)
    assert noise[0] == "tried"
    assert noise[1] > 0


def _measure_quiet(site: Site) -> tuple[str, int]:
    """What becomes of a mail (there is no sendmail to take it), and how many cron events would run now."""
    mail = site.wp("eval", "echo wp_mail('a@example.test', 's', 'm') ? 'kept' : 'tried';").strip()
    return mail, int(site.wp("eval", "echo count(wp_get_ready_cron_jobs());").strip())


def test_a_comment_on_production_reaches_the_source_with_the_next_protected_refresh(node: Node) -> None:
    node.refresh("full")
    post = int(str(node.production.query("SELECT MAX(comment_post_ID) FROM {p}comments")[0][0]))
    node.production.post_comment(post, "Fresh from production")
    style = node.staging.current / "wp-content/themes/pressluft-demo/style.css"
    style.write_text(style.read_text() + "/* staging's own */\n")
    done = node.refresh("protected")["pressluft"]["refresh"]
    found = node.staging.query(
        "SELECT COUNT(*) FROM {p}comments WHERE comment_content = 'Fresh from production'"
    )
    assert found == ((1,),)
    assert "staging's own" in style.read_text()
    assert done["tables"] < 6
    assert node.count_traces() == 0


def test_a_backup_by_the_playbook_is_read_back_and_verified(node: Node, node_config: Path) -> None:
    refused = node.run("backup-create", "backup", job_type="backup_create", scope="full")
    assert refused["pressluft_error"]["code"] == "BACKUP_INVALID"
    assert "init" in refused["pressluft_error"]["remedy"]
    ini = node_config / "node.ini"
    ini.write_text(ini.read_text().replace("[restic]", "[restic]\ninitialise = yes"))
    made = node.run("backup-create", "backup", job_type="backup_create", scope="full")["pressluft"]["backup"]
    assert len(made["snapshot_id"]) == 64
    assert made["size_bytes"] > 100_000
