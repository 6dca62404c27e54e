"""The daemon: what wakes a pass (a ref that moved, a run that ended, a timer), and how it stops."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import FrameType

import structlog

from reconciler.adapters.git_repo import GitFleetRepo, Identity, TrustSettings, open_fleet_repo
from reconciler.adapters.playbook_runner import AnsiblePlaybookRunner
from reconciler.core.variables import NodeFolders
from reconciler.errors import PressluftError
from reconciler.observe import Observer
from reconciler.reconcile import PassReport, Reconciler, run_pass
from reconciler.settings import Settings, find_bundled

ONCE_FAILURES = 5
EMAIL = "pressluft@localhost"

log = structlog.get_logger()


class SystemClock:
    """The controller's clock."""

    def now(self) -> datetime:
        """Return the time in UTC."""
        return datetime.now(UTC)


def open_repo(settings: Settings, *, purpose: str) -> GitFleetRepo:
    """Open the fleet repo; each purpose (daemon, facade, command line) keeps its own mirror of a remote."""
    return open_fleet_repo(
        settings.repo,
        branch=settings.branch,
        status_branch=settings.status_branch,
        signing_key=settings.signing_key,
        identity=Identity(f"pressluft {settings.worker}", EMAIL),
        state_dir=settings.state_dir / purpose,
        ssh_key=settings.ssh_key,
        known_hosts=settings.known_hosts,
        token=settings.token,
        trust=TrustSettings(keys=settings.trusted_keys, root=settings.trusted_from),
    )


@dataclass
class Daemon:
    """Runs passes until it is told to stop. `stop` and `wake` may be called from any thread."""

    settings: Settings
    _wake: threading.Event = field(default_factory=threading.Event)
    _stop: threading.Event = field(default_factory=threading.Event)

    def wake(self) -> None:
        """Say that something may have changed; carries no input."""
        self._wake.set()

    def stop(self) -> None:
        """Ask to end after the pass under way. Runs go on below their supervisors until this process ends."""
        self._stop.set()
        self._wake.set()

    def run(self) -> None:
        """Run until `stop`; a pass that fails is logged, and the loop lives on."""
        self._serve(lambda _: False, most_failures=None)

    def run_once(self) -> None:
        """Run until nothing is left to do: no job runs here, and no pass changes anything.

        Jobs that wait stay queued. Raises what the last pass failed with when `ONCE_FAILURES` in a row have failed:
        who asks for one run must hear that it was none.
        """
        self._serve(lambda report: report.settled and not report.running, most_failures=ONCE_FAILURES)

    def _serve(self, is_done: Callable[[PassReport], bool], *, most_failures: int | None) -> None:
        runner = self._make_runner()
        leftovers = runner.clean_leftovers()
        if leftovers:
            log.warning("stopped runs that an earlier daemon left behind", runs=list(leftovers))
        with open_repo(self.settings, purpose="daemon") as repo:
            repo.check_own_key()
            reconciler = self._make_reconciler(repo, runner)
            with repo.make_watcher(self.wake, interval=self.settings.poll_seconds):
                log.info("watching", repo=self.settings.repo, worker=self.settings.worker)
                self._loop(reconciler, is_done, most_failures=most_failures)
        log.info("stopped", worker=self.settings.worker)

    def _make_runner(self) -> AnsiblePlaybookRunner:
        return AnsiblePlaybookRunner(
            run_root=self.settings.state_dir / "runs",
            playbook_root=find_bundled("ansible"),
            ssh_key=self.settings.ssh_key,
            known_hosts=self.settings.known_hosts,
            on_change=self.wake,
        )

    def _make_reconciler(self, repo: GitFleetRepo, runner: AnsiblePlaybookRunner) -> Reconciler:
        return Reconciler(
            repo=repo,
            runner=runner,
            clock=SystemClock(),
            observer=Observer(repo),
            worker=self.settings.worker,
            max_jobs=self.settings.max_jobs,
            folders=NodeFolders(self.settings.node_state_dir, self.settings.node_config_dir),
        )

    def _loop(
        self, reconciler: Reconciler, is_done: Callable[[PassReport], bool], *, most_failures: int | None
    ) -> None:
        failures = 0
        while not self._stop.is_set():
            try:
                if is_done(run_pass(reconciler)):
                    return
                failures = 0
            except Exception as error:
                failures += 1
                log_failure(error)
                if failures == most_failures:
                    raise
            self._wake.wait(self.settings.poll_seconds)
            self._wake.clear()


def log_failure(error: Exception) -> None:
    """Log why a pass failed: what passes by itself in a line, a bug with its traceback."""
    if isinstance(error, PressluftError):
        log.warning("cannot look right now", reason=str(error), kind=type(error).__name__)
    else:
        log.error("a pass broke; trying again", exc_info=error)


def stop_on_signals(daemon: Daemon) -> None:
    """Let SIGTERM and SIGINT end the daemon in order."""

    def handle(_number: int, _frame: FrameType | None) -> None:
        daemon.stop()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
