"""A fleet repo and settings for the two plain sites of `observed_pair`: real daemon and Ansible, no WordPress."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from uuid import UUID

from reconciler.daemon import SystemClock, open_repo
from reconciler.ports import Branch, CommitMessage
from reconciler.service import Service
from reconciler.settings import Settings
from reconciler.stack.mariadb import MariaDB
from reconciler.stack.sshd import Sshd
from schemas.status import DriftCheckRecord, EnvironmentRecord
from tests.integration.node.observed_pair import IDS, URLS, Pair
from tests.story import make_intent, make_site_files

STAGING_ID = UUID(IDS["staging"])
NODE_ID = "44444444-4444-4444-8444-444444444444"


class PlainFleet:
    """The repo of one site on one node, and what a person does with it."""

    def __init__(
        self, folder: Path, pair: Pair, mariadb: MariaDB, *, policy: str = "{}", sshd: Sshd | None = None
    ) -> None:
        bare, config = folder / "fleet.git", folder / "config"
        subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", str(bare)], check=True)
        config.mkdir(mode=0o700)
        (config / "node.ini").write_text(f"[mysql]\ndefaults_file = {mariadb.client_file}\n")
        self.settings = Settings(
            repo=str(bare),
            worker="plain",
            state_dir=folder / "controller",
            node_state_dir=pair.state_dir,
            node_config_dir=str(config),
            ssh_key=sshd.client_key if sshd else None,
            known_hosts=sshd.known_hosts if sshd else None,
            poll_seconds=1,
        )
        self.commit(make_files(pair, policy, sshd))

    def commit(self, files: dict[str, str]) -> None:
        """Commit files as a person."""
        with open_repo(self.settings, purpose="person") as repo:
            tip = repo.fetch()
            changes = {path: text.encode() for path, text in files.items()}
            message = CommitMessage("Change by hand")
            repo.push_changes(Branch.INTENTS, expected=tip.intents, changes=changes, message=message)

    def ask_for_check(self, name: str) -> None:
        """Commit a drift check of staging."""
        self.commit(dict([make_intent("DriftCheck", name, "{environment: staging}")]))

    def read_record(self) -> EnvironmentRecord | None:
        """Read staging's record."""
        with open_repo(self.settings, purpose="person") as repo:
            return Service(repo, SystemClock()).find_environment(STAGING_ID).record

    def list_checks(self) -> list[DriftCheckRecord]:
        """List the drift checks on record, newest first."""
        with open_repo(self.settings, purpose="person") as repo:
            return list(Service(repo, SystemClock()).list_drift_checks(STAGING_ID))

    def count_commits(self) -> int:
        """Count the commits of the repo."""
        command = ["git", "-C", self.settings.repo, "rev-list", "--count", "main"]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def make_files(pair: Pair, policy: str, sshd: Sshd | None) -> dict[str, str]:
    """Write the fleet's files."""
    host = f"host: {sshd.host}, port: {sshd.port}, user: {sshd.user}" if sshd else "host: localhost"
    head = "apiVersion: pressluft/v1\nkind: "
    environments = {
        f"sites/acme/environments/{side}.yaml": f"{head}Environment\nmetadata: {{name: {side}, id: {IDS[side]}}}\n"
        f"spec:\n  type: {side}\n  node: web-1\n  source: {source}\n  url: {URLS[side]}\n  root: {environment.root}\n"
        f"  database: {{name: {environment.database}, table_prefix: {environment.table_prefix}}}\n"
        for side, source, environment in (
            ("production", "null", pair.production),
            ("staging", "production", pair.staging),
        )
    }
    return {
        "pressluft.yaml": f"{head}Fleet\nmetadata: {{name: pressluft}}\nspec: {policy}\n",
        "nodes/web-1.yaml": f"{head}Node\nmetadata: {{name: web-1, id: {NODE_ID}}}\n"
        f"spec: {{{host}, python_interpreter: {sys.executable}}}\n",
        **make_site_files(),
        **environments,
    }
