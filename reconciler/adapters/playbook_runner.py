"""Runs playbooks with Ansible, each below a supervisor process of its own (`PlaybookRunner` of ports.py).

Runs live and die with the daemon: when it is killed, its supervisors kill all that they started, and the runs
end as *lost*. A new daemon over the same `run_root` finds how runs ended, reads *lost* for those that left no
result, and asks the node. Nothing is adopted: a run that goes on without its daemon would be one that nobody
can cancel.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from uuid import UUID

import psutil

import reconciler
from reconciler.adapters.private_folder import (
    SshTrust,
    find_private_parent,
    make_environment,
    make_private_folder,
)
from reconciler.adapters.process_tree import (
    find_connections,
    find_marked,
    is_alive,
    kill_all,
    read_identity,
)
from reconciler.adapters.run_folder import RunFolder, RunSheet
from reconciler.errors import Transient
from reconciler.ports import RunEvent, RunOutcome, RunSpec, RunState

_KEY = re.compile(r"[0-9a-f-]{36}\.[0-9]+\.[a-z0-9_-]+")
_PLAYBOOK = re.compile(r"[a-z0-9][a-z0-9_-]*")
LOGS = "logs"
"""The folder beside the run root that keeps the raw output of ended runs, `<job>.<epoch>.<step>.log`."""
MOST_LOGS = 1000
_RETRY_SECONDS = 30.0
_GRACE_SECONDS = 5.0
"""How long a dead daemon's supervisors get to clean up themselves."""
_LOST = RunOutcome(
    state=RunState.LOST, message="The run ended without a result; the node knows what became of it."
)


class AnsiblePlaybookRunner:
    """Starts, watches and cancels runs. Safe to use from several threads.

    `run_root` keeps a folder for each run until it is forgotten. `playbook_root` holds `ansible.cfg`,
    `playbooks/` and `collections/`. `on_change` is called from another thread whenever a run has ended.
    """

    def __init__(
        self,
        *,
        run_root: Path,
        playbook_root: Path,
        ssh_key: Path | None,
        known_hosts: Path | None,
        on_change: Callable[[], None],
    ) -> None:
        run_root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._run_root = run_root.resolve()
        self._playbook_root = playbook_root.resolve()
        self._trust = SshTrust(ssh_key=_resolve(ssh_key), known_hosts=_resolve(known_hosts))
        self._on_change = on_change
        self._mark = _read_mark(self._run_root / "mark.txt")
        self._lock = threading.Lock()
        self._watched: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, spec: RunSpec) -> str:
        """Start the run, or find it if `spec.key` is known; returns its key at once.

        Raises ValueError for a spec that names no playbook or no address, Transient when this machine has no
        room for another run (then nothing of it is left).
        """
        playbook = spec.playbook.removesuffix(".yml")
        if not _KEY.fullmatch(spec.key) or not _PLAYBOOK.fullmatch(playbook):
            raise ValueError(f"not a run of a playbook: {spec.key} of {spec.playbook!r}")
        folder = RunFolder(self._run_root / spec.key)
        with self._lock:
            if folder.path.exists():
                return spec.key
            try:
                self._launch(spec, folder=folder, playbook=playbook)
            except OSError as error:
                _remove(folder)
                self._remove_private_folders()
                raise Transient(f"cannot start a run: {error}", retry_after=_RETRY_SECONDS) from error
        return spec.key

    def find(self, job_id: UUID, epoch: int) -> Sequence[str]:
        """Return the keys of all runs of this job and epoch that this machine knows, in order of name."""
        return sorted(path.name for path in self._run_root.glob(f"{job_id}.{epoch}.*"))

    def outcome(self, key: str) -> RunOutcome:
        """Return where the run stands. Never blocks. Unknown keys are `LOST`."""
        folder = self._find_folder(key)
        if folder is None:
            return _LOST
        result = folder.read_result()
        if result is not None:
            return result
        if self._is_running(folder):
            return RunOutcome(state=RunState.RUNNING)
        # It may have ended between the two looks.
        return folder.read_result() or _LOST

    def events(self, key: str, *, after: int = 0) -> Sequence[RunEvent]:
        """Return the progress lines numbered above `after`."""
        folder = self._find_folder(key)
        return folder.read_events(after=after) if folder else ()

    def cancel(self, key: str) -> None:
        """Ask the run to stop; `outcome` says when it has. What it started on this machine is killed first."""
        with self._lock:
            process = self._watched.get(key)
            if process is None or process.stdin is None:
                return
            try:
                process.stdin.write(b"c")
            except BrokenPipeError:
                return

    def forget(self, key: str) -> None:
        """Remove what is kept of an ended run but its log. Raises ValueError while it runs."""
        folder = self._find_folder(key)
        if folder is None:
            return
        # A result counts before the supervisor has left: who saw the outcome may forget the run.
        if folder.read_result() is None and self._is_running(folder):
            raise ValueError(f"the run {key} has not ended")
        _keep_log(folder, self._run_root.parent / LOGS)
        _remove(folder)

    def clean_leftovers(self) -> Sequence[str]:
        """End what a killed daemon left over: processes and private folders of runs of this `run_root` only.

        For the start of a daemon, takes up to 5 s if it died just now. Returns the keys of the runs concerned.
        """
        orphans = self._find_orphans()
        psutil.wait_procs(
            [process for process, _ in orphans if _is_supervisor(process)], timeout=_GRACE_SECONDS
        )
        kill_all(lambda: [process for process, _ in self._find_orphans()])
        with self._lock:
            self._remove_private_folders()
        return sorted({key for _, key in orphans})

    def _launch(self, spec: RunSpec, *, folder: RunFolder, playbook: str) -> None:
        private = make_private_folder(spec, prefix=self._private_prefix, trust=self._trust)
        folder.path.mkdir(mode=0o700)
        folder.write_sheet(
            RunSheet(
                host=spec.node.name,
                playbook=f"playbooks/{playbook}.yml",
                playbook_root=str(self._playbook_root),
                private_folder=str(private),
                timeout=spec.timeout.total_seconds(),
                daemon=read_identity(os.getpid()) or "",
                dry_run=spec.dry_run,
                tag=spec.tag,
            )
        )
        environment = make_environment(
            private, playbook_root=self._playbook_root, run_id=self._make_run_id(spec.key), trust=self._trust
        )
        process = _spawn_supervisor(folder, environment)
        self._watched[spec.key] = process
        threading.Thread(target=self._await_end, args=(folder, process), name=spec.key, daemon=True).start()

    def _await_end(self, folder: RunFolder, process: subprocess.Popen[bytes]) -> None:
        process.wait()
        if folder.read_result() is None:
            run_id = self._make_run_id(folder.key)
            kill_all(lambda: [found for found, value in find_marked(run_id) if value == run_id])
            _remove_private_folder(folder)
        with self._lock:
            del self._watched[folder.key]
        if process.stdin:
            process.stdin.close()
        self._on_change()

    def _find_orphans(self) -> list[tuple[psutil.Process, str]]:
        """Return the processes of our runs whose daemon is dead, with the keys of their runs."""
        marked = find_marked(self._make_run_id(""))
        keyed = ((process, run_id.rpartition("/")[2]) for process, run_id in marked)
        return [(process, key) for process, key in keyed if not self._has_daemon(key)]

    def _has_daemon(self, key: str) -> bool:
        folder = self._find_folder(key)
        sheet = folder.read_sheet() if folder else None
        return sheet is not None and is_alive(sheet.daemon)

    def _remove_private_folders(self) -> None:
        sheets = (RunFolder(path).read_sheet() for path in self._run_root.iterdir() if path.is_dir())
        kept = {sheet.private_folder for sheet in sheets if sheet and is_alive(sheet.daemon)}
        for private in find_private_parent().glob(f"{self._private_prefix}*"):
            if str(private) not in kept:
                _drop_private_folder(private)

    def _is_running(self, folder: RunFolder) -> bool:
        with self._lock:
            return folder.key in self._watched or folder.is_supervised()

    def _find_folder(self, key: str) -> RunFolder | None:
        path = self._run_root / key
        return RunFolder(path) if _KEY.fullmatch(key) and path.is_dir() else None

    def _make_run_id(self, key: str) -> str:
        return f"{self._mark}/{key}"

    @property
    def _private_prefix(self) -> str:
        return f"pressluft-{self._mark[:12]}-"


def _spawn_supervisor(folder: RunFolder, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start the supervisor in a session of its own; what is written to its stdin asks it to stop."""
    descriptor = os.open(folder.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "reconciler.adapters.supervisor", str(folder.path)],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=descriptor,
            stderr=descriptor,
            cwd=Path(reconciler.__file__).parent.parent,
            env=environment,
            start_new_session=True,
        )
    finally:
        os.close(descriptor)


def _keep_log(folder: RunFolder, logs: Path) -> None:
    """Move a run's raw output to where operators look for it (spec §5), and let go of the oldest."""
    logs.mkdir(mode=0o700, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        folder.log.rename(logs / f"{folder.path.name}.log")
    for old in sorted(logs.glob("*.log"), key=lambda path: path.stat().st_mtime)[:-MOST_LOGS]:
        old.unlink(missing_ok=True)


def _remove(folder: RunFolder) -> None:
    _remove_private_folder(folder)
    shutil.rmtree(folder.path, ignore_errors=True)


def _remove_private_folder(folder: RunFolder) -> None:
    sheet = folder.read_sheet()
    if sheet is not None:
        _drop_private_folder(Path(sheet.private_folder))


def _drop_private_folder(path: Path) -> None:
    """Remove what a supervisor could not remove, and end the connections that it kept there."""
    if path.exists():
        kill_all(lambda: find_connections(path))
        shutil.rmtree(path, ignore_errors=True)


def _is_supervisor(process: psutil.Process) -> bool:
    try:
        return "reconciler.adapters.supervisor" in process.cmdline()
    except psutil.Error:
        return False


def _read_mark(path: Path) -> str:
    """Return the random name of a run root, which its processes carry; made once."""
    draft = path.with_name(f"{uuid.uuid4().hex}.draft")
    draft.write_text(uuid.uuid4().hex)
    with contextlib.suppress(FileExistsError):
        path.hardlink_to(draft)
    draft.unlink()
    return path.read_text()


def _resolve(path: Path | None) -> Path | None:
    return path.resolve() if path else None
