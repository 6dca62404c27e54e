"""`pressluft run --once` on a real repository: it ends when nothing is left to do, and says so when it could not."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from reconciler.adapters.git_repo import GitFleetRepo
from reconciler.adapters.playbook_runner import AnsiblePlaybookRunner
from reconciler.daemon import Daemon, open_repo
from reconciler.errors import RepoUnusable, Transient
from reconciler.ports import Branch, CommitMessage, RunOutcome, RunSpec, RunState
from reconciler.settings import Settings
from reconciler.worker import Reconciler
from schemas.state import JobStatus
from schemas.status import JobRecord
from tests.fake_runner import FakePlaybookRunner
from tests.story import list_recorded, make_fleet_files, make_intent


class Runner(FakePlaybookRunner):
    """Ends every backup as failed, at once."""

    def clean_leftovers(self) -> Sequence[str]:
        """Find nothing."""
        return ()


class FakedDaemon(Daemon):
    """The daemon as it is, but for the playbooks."""

    def _make_runner(self) -> AnsiblePlaybookRunner:
        runner = Runner(on_change=self.wake)
        failed = RunOutcome(RunState.FAILED, {}, rc=2, code="BACKUP_INVALID", message="no room", retry=False)
        runner.answer("backup", lambda _: failed)
        return runner  # type: ignore[return-value] # the same port


class SlowDaemon(FakedDaemon):
    """Its backups take a moment."""

    def _make_runner(self) -> AnsiblePlaybookRunner:
        runner = Runner(on_change=self.wake)
        failed = RunOutcome(RunState.FAILED, {}, rc=2, code="BACKUP_INVALID", message="no room", retry=False)

        def begin(spec: RunSpec) -> None:
            threading.Timer(0.2, lambda: runner.end(spec.key, failed)).start()

        runner.answer("backup", begin)
        return runner  # type: ignore[return-value] # the same port


class DaemonOfALostRepo(FakedDaemon):
    """Its repository is unmounted as soon as it has been opened."""

    def _make_reconciler(self, repo: GitFleetRepo, runner: AnsiblePlaybookRunner) -> Reconciler:
        shutil.move(self.settings.repo, f"{self.settings.repo}.away")
        return super()._make_reconciler(repo, runner)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings over a bare repo with one fleet."""
    bare = tmp_path / "fleet.git"
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", str(bare)], check=True)
    settings = Settings(repo=str(bare), state_dir=tmp_path / "state", worker="one", poll_seconds=0.05)
    commit(settings, make_fleet_files())
    return settings


def commit(settings: Settings, files: dict[str, str]) -> None:
    """Commit files."""
    with open_repo(settings, purpose="person") as repo:
        tip = repo.fetch()
        changes = {path: text.encode() for path, text in files.items()}
        repo.push_changes(Branch.INTENTS, expected=tip.intents, changes=changes, message=CommitMessage("x"))


def read_jobs(settings: Settings) -> dict[str | None, JobRecord]:
    """Read all jobs by the name of their intent."""
    with open_repo(settings, purpose="person") as repo:
        return {job.intent_name: job for job in list_recorded(repo)}


@pytest.mark.timeout(60)
def test_it_ends_with_jobs_that_wait(settings: Settings) -> None:
    waiting = make_intent("Promotion", "release", "{source: staging, target: production, wait: PT2H}")
    commit(settings, dict([waiting, make_intent("Backup", "safe", "{environment: production}")]))
    FakedDaemon(settings).run_once()
    statuses = {name: job.status for name, job in read_jobs(settings).items()}
    assert statuses == {"release": JobStatus.QUEUED, "safe": JobStatus.FAILED}


@pytest.mark.timeout(60)
def test_it_does_not_end_while_a_job_runs(settings: Settings) -> None:
    commit(settings, dict([make_intent("Backup", "safe", "{environment: production}")]))
    SlowDaemon(settings).run_once()
    assert read_jobs(settings)["safe"].status is JobStatus.FAILED


@pytest.mark.timeout(60)
def test_it_ends_on_an_empty_repository(tmp_path: Path) -> None:
    bare = tmp_path / "fleet.git"
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", str(bare)], check=True)
    FakedDaemon(Settings(repo=str(bare), state_dir=tmp_path / "state", worker="one")).run_once()


@pytest.mark.timeout(60)
def test_a_repository_that_is_away_is_no_success(settings: Settings) -> None:
    with pytest.raises(Transient, match="not there"):
        DaemonOfALostRepo(settings).run_once()


def test_a_repository_that_was_never_there_is_no_success(tmp_path: Path) -> None:
    settings = Settings(repo=str(tmp_path / "nothing.git"), state_dir=tmp_path / "state", worker="one")
    with pytest.raises(RepoUnusable):
        FakedDaemon(settings).run_once()


@pytest.mark.timeout(60)
def test_a_daemon_that_is_told_to_stop_ends(settings: Settings) -> None:
    daemon = FakedDaemon(settings)
    daemon.stop()
    daemon.run()
