"""A file of 100 MB among the intents: refused by name, never read whole, and in nobody's way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from reconciler.daemon import open_repo
from reconciler.settings import Settings
from schemas.state import JobStatus
from tests.integration.git.people import Person, make_bare_repo
from tests.story import list_recorded, make_fleet_files, make_intent

RUN = """
import json, sys
from pathlib import Path
from reconciler.core.variables import NodeFolders
from reconciler.daemon import SystemClock, open_repo
from reconciler.observe import Observer
from reconciler.reconcile import run_pass
from reconciler.worker import Reconciler
from reconciler.settings import Settings
from tests.fake_runner import FakePlaybookRunner
from tests.story import Node

def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])

repo, state = sys.argv[1:]
runner = FakePlaybookRunner()
runner.answer("backup", Node(SystemClock()).answer)
with open_repo(Settings(repo=repo, state_dir=Path(state)), purpose="daemon") as opened:
    opened.fetch()
    before = peak()
    folders = NodeFolders("/state", "/etc/pressluft")
    run_pass(Reconciler(opened, runner, SystemClock(), Observer(opened), "one", max_jobs=4, folders=folders))
    print(peak() - before)
"""


def test_it_is_refused_and_others_go_on(tmp_path: Path) -> None:
    bare = make_bare_repo(tmp_path / "fleet.git")
    person = Person(bare, tmp_path / "clone")
    files = make_fleet_files() | dict([make_intent("Backup", "safe", "{environment: production}")])
    person.commit({path: text.encode() for path, text in files.items()})
    with (tmp_path / "clone/intents/acme/huge.yaml").open("wb") as file:
        file.truncate(100_000_000)
    person.push("Add something huge")
    location, state = f"file://{bare}", tmp_path / "state"
    command = [sys.executable, "-c", RUN, location, str(state)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.splitlines()[-1]) < 50_000, "KiB"
    with open_repo(Settings(repo=location, state_dir=state), purpose="person") as repo:
        jobs = {job.intent_path: job for job in list_recorded(repo)}
    huge = jobs["intents/acme/huge.yaml"]
    assert huge.error_code == "INTENT_INVALID"
    assert "huge.yaml" in (huge.error_message or "")
    assert jobs["intents/acme/safe.yaml"].status is JobStatus.SUCCEEDED
