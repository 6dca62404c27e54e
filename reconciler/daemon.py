"""The daemon: what wakes a pass (a ref that moved, a run that ended, a timer), and how it stops."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import FrameType
from uuid import UUID

import structlog

from reconciler.adapters.git_repo import GitFleetRepo, Identity, TrustSettings, open_fleet_repo
from reconciler.adapters.instance import hold_instance
from reconciler.adapters.playbook_runner import AnsiblePlaybookRunner
from reconciler.adapters.service_manager import ALIVE, READY, STOPPING, tell_service_manager
from reconciler.core.variables import NodeFolders
from reconciler.errors import PressluftError
from reconciler.observe import Observer
from reconciler.reconcile import PassReport, run_pass
from reconciler.settings import Settings, find_bundled
from reconciler.telemetry import Telemetry
from reconciler.worker import GlanceMemory, Reconciler

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
    telemetry: Telemetry = field(default_factory=Telemetry)
    _wake: threading.Event = field(default_factory=threading.Event)
    _stop: threading.Event = field(default_factory=threading.Event)
    _hurry: threading.Event = field(default_factory=threading.Event)

    def wake(self) -> None:
        """Say that something may have changed; carries no input."""
        self._wake.set()

    def stop(self) -> None:
        """Ask to end: what runs here may finish within `stop_seconds`, nothing else is claimed.

        Asked twice, it ends after the pass under way.
        """
        (self._hurry if self._stop.is_set() else self._stop).set()
        self._wake.set()

    def find_stall(self) -> str:
        """Say since when the loop is stuck, empty while it is not."""
        return self.telemetry.find_stall(bound=self.settings.stuck_seconds)

    def run(self) -> None:
        """Run until `stop`; a pass that fails is logged, and the loop lives on."""
        self._serve(lambda _: False, most_failures=None, glances=GlanceMemory())

    def run_once(self) -> None:
        """Run until nothing is left to do: no job runs here, and no pass changes anything.

        Jobs that wait stay queued. Raises what the last pass failed with when `ONCE_FAILURES` in a row have failed:
        who asks for one run must hear that it was none.
        """
        self._serve(lambda report: report.settled and not report.running, most_failures=ONCE_FAILURES)

    def _serve(
        self,
        is_done: Callable[[PassReport], bool],
        *,
        most_failures: int | None,
        glances: GlanceMemory | None = None,
    ) -> None:
        with hold_instance(self.settings.state_dir) as instance:
            self._serve_as(instance, is_done, most_failures=most_failures, glances=glances)

    def _serve_as(
        self,
        instance: UUID,
        is_done: Callable[[PassReport], bool],
        *,
        most_failures: int | None,
        glances: GlanceMemory | None,
    ) -> None:
        runner = self._make_runner()
        leftovers = runner.clean_leftovers()
        if leftovers:
            log.warning("stopped runs that an earlier daemon left behind", runs=list(leftovers))
        with open_repo(self.settings, purpose="daemon") as repo:
            repo.check_own_key()
            self.telemetry.repo = repo
            reconciler = replace(self._make_reconciler(repo, runner), glances=glances, instance=instance)
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
            witness=self.telemetry,
            folders=NodeFolders(self.settings.node_state_dir, self.settings.node_config_dir),
        )

    def _loop(
        self, reconciler: Reconciler, is_done: Callable[[PassReport], bool], *, most_failures: int | None
    ) -> None:
        failures = 0
        while not self._stop.is_set():
            report = self._try_pass(reconciler)
            tell_service_manager(READY)
            if isinstance(report, Exception):
                failures += 1
                if failures == most_failures:
                    raise report
            elif is_done(report):
                return
            else:
                failures = 0
            self._wait(self.settings.poll_seconds)
        tell_service_manager(STOPPING)
        self._drain(replace(reconciler, max_jobs=0))

    def _drain(self, reconciler: Reconciler) -> None:
        """Finish what runs here, in bounds, and claim nothing. What is left is handed over: the node knows of it."""
        deadline = time.monotonic() + self.settings.stop_seconds
        while True:
            report = self._try_pass(reconciler)
            running = report.running if isinstance(report, PassReport) else None
            left = deadline - time.monotonic()
            if running == 0:
                return
            if left <= 0 or self._hurry.is_set():
                log.warning(
                    "stopped before all runs here had ended; the node tells how far they came", jobs=running
                )
                return
            self._wait(min(left, self.settings.poll_seconds))

    def _try_pass(self, reconciler: Reconciler) -> PassReport | Exception:
        """Run a pass; why it failed is logged and returned. systemd hears of every beginning and end."""
        self.telemetry.begin_pass()
        tell_service_manager(ALIVE)
        try:
            report: PassReport | Exception = run_pass(reconciler)
        except Exception as error:  # noqa: BLE001 - one of the two loop boundaries
            log_failure(error)
            report = error
        self.telemetry.end_pass(outcome="failed" if isinstance(report, Exception) else "settled")
        tell_service_manager(ALIVE)
        return report

    def _wait(self, seconds: float) -> None:
        """Sleep until something may have changed, or for so long."""
        self._wake.wait(seconds)
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
