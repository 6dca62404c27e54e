"""The daemon as a service: what systemd, Prometheus and the log hear of it, and how it stops."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from reconciler.adapters.metrics_server import parse_address, serve_metrics
from reconciler.adapters.process_tree import find_marked
from reconciler.daemon import open_repo
from reconciler.errors import SettingsInvalid
from reconciler.ports import Branch, CommitMessage
from reconciler.settings import Settings
from schemas.state import JobStatus
from schemas.status import JobRecord
from tests.contract.doc_page import CHECKOUT, list_blocks
from tests.integration.git.people import make_bare_repo
from tests.story import list_recorded, make_fleet_files, make_intent

SECONDS = 90
PLAYBOOK = """\
- name: Wait for the test
  hosts: all
  gather_facts: false
  tags: always
  tasks:
    - name: Say that it runs
      ansible.builtin.copy: {{content: "", dest: "{folder}/began", mode: "0600"}}
    - name: Wait
      ansible.builtin.wait_for: {{path: "{folder}/go", timeout: 300, sleep: 1}}
"""
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass
class Service:
    """A daemon as a process of its own, below a service manager that is the test."""

    folder: Path
    repo: Path
    manager: socket.socket
    variables: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def settings(self) -> Settings:
        """The daemon's settings, for looking at its repo."""
        return Settings(repo=str(self.repo), state_dir=self.folder / "state", worker="one")

    def start(self, *words: str, **variables: str) -> None:
        """Start it."""
        environment = {
            **os.environ,
            "NOTIFY_SOCKET": str(self.folder / "notify"),
            "PLAYBOOK_ROOT": str(self.folder / "ansible"),
            "PRESSLUFT_STATE_DIR": str(self.folder / "state"),
            "PRESSLUFT_WORKER": "one",
            "PRESSLUFT_POLL_SECONDS": "0.2",
            **variables,
        }
        command = [sys.executable, "-m", "tests.integration.reconciler.patient_daemon", "run"]
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "--repo", str(self.repo), *words], cwd=CHECKOUT, env=environment, stderr=log
            )

    def hear(self, state: str) -> None:
        """Wait until the service manager has heard a state."""
        deadline = time.monotonic() + SECONDS
        while self.manager.recv(100).decode() != state:
            assert time.monotonic() < deadline, f"{state} was never said"

    def tell_to_stop(self) -> None:
        """Send SIGTERM."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)

    def await_end(self) -> int:
        """Wait until it has ended; returns its exit code."""
        assert self.process is not None
        return self.process.wait(timeout=SECONDS)

    def read_log(self) -> list[dict[str, Any]]:
        """Read its log."""
        return [json.loads(line) for line in (self.folder / "log").read_text().splitlines()]

    def commit(self, name: str) -> None:
        """Ask for a backup."""
        path, text = make_intent("Backup", name, "{environment: production}")
        while True:
            with open_repo(self.settings, purpose="person") as repo:
                tip = repo.fetch()
                try:
                    repo.push_changes(
                        Branch.INTENTS,
                        expected=tip.intents,
                        changes={path: text.encode()},
                        message=CommitMessage("ask"),
                    )
                except Exception:  # noqa: BLE001 - the daemon was faster
                    continue
                return

    def find_job(self, name: str) -> JobRecord | None:
        """Find a job by its intent's name."""
        with open_repo(self.settings, purpose="person") as repo:
            return next((job for job in list_recorded(repo) if job.intent_name == name), None)


def await_that(is_so: Callable[[], bool], what: str) -> None:
    """Wait until something is the case."""
    deadline = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A daemon that is not started yet, over a fleet with one node, this machine."""
    repo = make_bare_repo(tmp_path / "fleet.git")
    (tmp_path / "ansible/playbooks").mkdir(parents=True)
    shutil.copy(CHECKOUT / "tests/integration/runner/ansible.cfg", tmp_path / "ansible")
    (tmp_path / "ansible/playbooks/backup-create.yml").write_text(PLAYBOOK.format(folder=tmp_path))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(SECONDS)
        service = Service(tmp_path, repo, manager)
        files = make_fleet_files()
        node = files["nodes/web-1.yaml"]
        files["nodes/web-1.yaml"] = node.replace(
            "localhost", f"localhost, python_interpreter: {sys.executable}"
        )
        with open_repo(service.settings, purpose="person") as opened:
            changes = {path: text.encode() for path, text in files.items()}
            opened.push_changes(
                Branch.INTENTS, expected=None, changes=changes, message=CommitMessage("begin")
            )
        yield service
        if service.process and service.process.poll() is None:
            service.process.kill()
            service.process.wait()


@pytest.mark.timeout(2 * SECONDS)
def test_the_service_manager_hears_of_readiness_of_every_pass_and_of_the_stop(service: Service) -> None:
    service.start("--metrics", "0")
    service.hear("READY=1")
    service.hear("WATCHDOG=1")
    service.hear("WATCHDOG=1")
    (line,) = [line for line in service.read_log() if line["event"] == "serving metrics"]
    metrics = OPENER.open(f"http://127.0.0.1:{line['port']}/metrics").read().decode()
    assert re.search(r'^pressluft_passes_total\{outcome="settled"\} [1-9]', metrics, re.M)
    assert json.load(OPENER.open(f"http://127.0.0.1:{line['port']}/healthz")) == {"status": "ok"}
    service.tell_to_stop()
    service.hear("STOPPING=1")
    assert service.await_end() == 0


@pytest.mark.timeout(3 * SECONDS)
def test_what_runs_may_finish_when_the_daemon_stops_and_nothing_else_is_begun(service: Service) -> None:
    service.commit("running")
    service.start(PRESSLUFT_STOP_SECONDS=str(SECONDS))
    await_that((service.folder / "began").exists, "the playbook never began")
    service.tell_to_stop()
    service.hear("STOPPING=1")
    service.commit("late")
    (service.folder / "go").touch()
    assert service.await_end() == 0
    running, late = service.find_job("running"), service.find_job("late")
    assert running is not None
    assert running.status is JobStatus.FAILED, "it ended, with an answer that the fake node cannot give"
    assert late is None or late.status is JobStatus.QUEUED
    for line in service.read_log():
        assert {"job", "site", "commit"} <= line.keys(), line
        assert line["job"] is None or (line["site"] == "acme" and line["commit"]), line


@pytest.mark.timeout(3 * SECONDS)
def test_what_does_not_finish_in_time_is_handed_over_and_leaves_no_process(service: Service) -> None:
    service.commit("running")
    service.start(PRESSLUFT_STOP_SECONDS="0.5")
    await_that((service.folder / "began").exists, "the playbook never began")
    service.tell_to_stop()
    assert service.await_end() == 0
    job = service.find_job("running")
    assert job is not None
    assert (job.status, job.locked_by) == (JobStatus.RUNNING, "one")
    assert service.read_log()[-2]["event"].startswith("stopped before all runs here had ended")
    mark = (service.folder / "state/runs/mark.txt").read_text()
    await_that(lambda: not find_marked(mark), "processes were left behind")


@pytest.mark.timeout(3 * SECONDS)
def test_who_asks_twice_does_not_wait(service: Service) -> None:
    service.commit("running")
    service.start(PRESSLUFT_STOP_SECONDS="3600")
    await_that((service.folder / "began").exists, "the playbook never began")
    service.tell_to_stop()
    service.hear("STOPPING=1")
    service.tell_to_stop()
    assert service.await_end() == 0


def test_a_stuck_loop_is_no_health() -> None:
    stall = ""
    with serve_metrics("0", show=lambda: b"", find_stall=lambda: stall) as port:
        assert OPENER.open(f"http://127.0.0.1:{port}/healthz").status == 200
        stall = "no pass has begun or ended for 900 s"
        with pytest.raises(urllib.error.HTTPError) as caught:
            OPENER.open(f"http://127.0.0.1:{port}/healthz")
        assert caught.value.code == 503
        assert "stuck" in json.load(caught.value)["message"]
        with pytest.raises(urllib.error.HTTPError, match="404"):
            OPENER.open(f"http://127.0.0.1:{port}/elsewhere")


@pytest.mark.parametrize(
    ("text", "address"),
    [("9420", ("127.0.0.1", 9420)), (":9420", ("127.0.0.1", 9420)), ("[::1]:80", ("::1", 80))],
)
def test_an_address_is_of_the_loopback_unless_it_says_otherwise(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["here", "host:", "host:http", "1.2.3.4:70000"])
def test_an_address_without_a_port_is_refused(text: str) -> None:
    with pytest.raises(SettingsInvalid, match="HOST:PORT"):
        parse_address(text)


def read_unit() -> tuple[str, configparser.ConfigParser]:
    """Read the unit that the how-to shows."""
    blocks = list_blocks(CHECKOUT / "docs/how-to/run-the-daemon.md", "ini")
    (text,) = [block.text for block in blocks if "ExecStart" in block.text]
    unit = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(text)
    return text, unit


def test_the_unit_watches_over_the_daemon_and_lets_it_finish() -> None:
    _, unit = read_unit()
    service = unit["Service"]
    assert service["Type"] == "notify"
    assert service["KillMode"] == "mixed", "supervisors must live until the daemon has ended"
    grace = Settings().stop_seconds
    assert int(service["TimeoutStopSec"]) > grace
    assert int(service["WatchdogSec"]) >= Settings().poll_seconds * 10
    assert service["ExecStart"].split()[1:] == ["run"]


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    text, _ = read_unit()
    program = tmp_path / "pressluft"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    path = tmp_path / "pressluft.service"
    path.write_text(re.sub(r"ExecStart=\S+", f"ExecStart={program}", text))
    command = ["systemd-analyze", "verify", "--man=no", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    complaints = [line for line in done.stderr.splitlines() if "pressluft" in line]
    assert complaints == []
