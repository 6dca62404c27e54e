"""A whole Pressluft on real servers: two WordPress sites, a bare fleet repo, backup storage, a daemon on demand."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.daemon import Daemon, SystemClock, open_repo
from reconciler.demo.evidence import count_traces, take_evidence
from reconciler.demo.fleet import make_fleet_repo
from reconciler.ports import Branch, CommitMessage
from reconciler.service import Service
from reconciler.settings import Settings
from reconciler.stack.site import Site
from reconciler.stack.sshd import Sshd
from schemas.fleet import NodeSpec
from schemas.intent import Backup, Intent, Promotion, Refresh, Rollback
from schemas.model import Metadata
from schemas.status import JobRecord

SHOP = "pressluft_demo_shop_settings"
TAGLINE = "UPDATE {p}options SET option_value = %s WHERE option_name = 'blogdescription'"


@dataclass
class World:
    """What an operator of the two sites has. `act` writes an intent and runs the daemon until nothing is left."""

    folder: Path
    production: Site
    staging: Site
    settings: Settings
    _count: int = 0
    _service: Service | None = field(default=None)

    @property
    def service(self) -> Service:
        """Reads the fleet repo."""
        if self._service is None:
            self._service = Service(open_repo(self.settings, purpose="test"), SystemClock())
        return self._service

    def act(self, intent_type: type, spec: dict[str, object]) -> JobRecord:
        """Write an intent, run the daemon, return the ended job."""
        job_id = self.ask(intent_type, spec)
        self.run_daemon()
        return next(job for job in self.service.list_jobs() if job.id == job_id)

    def ask(self, intent_type: type, spec: dict[str, object]) -> object:
        """Write an intent; returns the job's id."""
        self._count += 1
        intent: Intent = intent_type(metadata=Metadata(name=f"intent-{self._count}"), spec=spec)
        return self.service.request("acme", intent)

    def run_daemon(self) -> None:
        """Run a daemon until nothing is left to do."""
        Daemon(self.settings).run_once()

    def withdraw(self, job: JobRecord) -> None:
        """Delete a queued job's intent and let the daemon see it."""
        tip = self.service.repo.fetch()
        self.service.repo.push_changes(
            Branch.INTENTS,
            expected=tip.intents,
            changes={str(job.intent_path): None},
            message=CommitMessage(f"Withdraw {job.intent_name}"),
        )
        self.run_daemon()

    def refresh(self, scope: str = "protected") -> JobRecord:
        """Refresh staging."""
        return self.act(Refresh, {"environment": "staging", "scope": scope})

    def back_up(self) -> JobRecord:
        """Back production up."""
        return self.act(Backup, {"environment": "production"})

    def promote(self, **fields: object) -> JobRecord:
        """Promote staging."""
        return self.act(Promotion, {"source": "staging", "target": "production", **fields})

    def roll_back(self, **fields: object) -> JobRecord:
        """Roll production back."""
        return self.act(Rollback, {"environment": "production", **fields})

    def edit_theme(self, version: str) -> None:
        """Change one file of staging's theme."""
        style = self.staging.current / "wp-content/themes/pressluft-demo/style.css"
        style.write_text(re.sub(r"(?m)^Version:.*$", f"Version: {version}", style.read_text()))

    def break_theme(self) -> None:
        """Give staging's theme a fatal error."""
        functions = self.staging.current / "wp-content/themes/pressluft-demo/functions.php"
        functions.write_text("<?php\nthis_function_does_not_exist();\n")

    def evidence(self) -> Mapping[str, str]:
        """Checksums of production's protected data, by plain means."""
        return take_evidence(self.production)

    def traces_of_staging(self) -> int:
        """How many lines of production's dump name staging's host."""
        return count_traces(self.production, self.staging.url.removeprefix("http://"))


def make_settings(folder: Path, *, repo: Path, node_config: Path, sshd: Sshd | None) -> Settings:
    """Make the daemon's settings."""
    key = folder / "signing-key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    return Settings(
        repo=str(repo),
        worker="e2e",
        state_dir=folder / "controller",
        signing_key=key,
        node_state_dir=str(folder / "node-state"),
        node_config_dir=str(node_config),
        ssh_key=sshd.client_key if sshd else None,
        known_hosts=sshd.known_hosts if sshd else None,
        poll_seconds=1,
    )


def make_node(sshd: Sshd | None, *, python: str = sys.executable) -> NodeSpec:
    """Describe this machine as a node, reached locally or over SSH."""
    if sshd is None:
        return NodeSpec(host="localhost", python_interpreter=python)
    return NodeSpec(host=sshd.host, port=sshd.port, user=sshd.user, python_interpreter=python)


def make_world(
    folder: Path,
    *,
    production: Site,
    staging: Site,
    node_config: Path,
    sshd: Sshd | None,
    python: str = sys.executable,
) -> World:
    """Put everything together; staging is still empty. The node runs everything with `python`."""
    folder.mkdir(mode=0o700)
    repo = make_fleet_repo(
        folder, production=production, staging=staging, node=make_node(sshd, python=python)
    )
    restic = folder / "restic"
    password = node_config / "restic.password"
    subprocess.run(
        ["restic", "--repo", str(restic), "--password-file", str(password), "init"],
        check=True,
        capture_output=True,
    )
    settings = make_settings(folder, repo=repo, node_config=node_config, sshd=sshd)
    return World(folder, production, staging, settings)
