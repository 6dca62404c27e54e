"""One server process: started, waited for, stopped by its id, and recognised again after a crash of ours."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import psutil

from reconciler.stack.account import Account
from reconciler.stack.command import StackError, get_program

_POLL_SECONDS = 0.01
_RECORD_SUFFIX = ".process.json"


class Lifetime(StrEnum):
    """How long a server outlives the Python process that started it."""

    CALLER = "caller"
    """It gets SIGTERM from the kernel when the thread that started it ends, even by kill -9."""
    KEPT = "kept"
    """It runs until somebody stops it."""


@dataclass(frozen=True)
class ServerCommand:
    """What to run: `argv` in the foreground, as `account`, with output in `log` and a record beside it."""

    name: str
    argv: Sequence[str | Path]
    log: Path
    account: Account
    lifetime: Lifetime = Lifetime.CALLER
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables beside those of this process."""

    @property
    def record(self) -> Path:
        """The file that lets a later run recognise the process."""
        return self.log.parent / f"{self.name}{_RECORD_SUFFIX}"


class ServerProcess:
    """A running server. `start_server` makes one."""

    def __init__(self, command: ServerCommand, process: "subprocess.Popen[bytes]") -> None:
        self._command = command
        self._process = process

    @property
    def pid(self) -> int:
        """The process id of the server's main process."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the main process is alive."""
        return self._process.poll() is None

    def wait_until(self, is_ready: Callable[[], bool], *, timeout: float) -> None:
        """Return once `is_ready()`; raise StackError with the log's end when it dies or after `timeout` s."""
        deadline = time.monotonic() + timeout
        while not is_ready():
            if not self.is_running:
                raise StackError(f"{self._command.name} ended while starting:\n{self._log_tail()}")
            if time.monotonic() > deadline:
                raise StackError(f"{self._command.name} not ready after {timeout:.0f} s:\n{self._log_tail()}")
            time.sleep(_POLL_SECONDS)

    def send(self, signal: int) -> None:
        """Send one signal to the server's main process."""
        self._process.send_signal(signal)

    def stop(self, *, timeout: float = 15) -> None:
        """End the server and its children: SIGTERM, and SIGKILL for what is left after `timeout` seconds."""
        if self.is_running:
            _end_tree(psutil.Process(self.pid), timeout=timeout)
        self._process.wait()
        self._command.record.unlink(missing_ok=True)

    def kill(self) -> None:
        """End the server and its children with SIGKILL, as a crash would."""
        if self.is_running:
            _end_tree(psutil.Process(self.pid), timeout=0)
        self._process.wait()
        self._command.record.unlink(missing_ok=True)

    def _log_tail(self) -> str:
        text = self._command.log.read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.strip().splitlines()[-15:])


def start_server(command: ServerCommand) -> ServerProcess:
    """Start one server in its own session and record its identity. Raises StackError if not installed."""
    program = get_program(command.argv[0])
    argv = [*_make_prefix(command), program, *(str(word) for word in command.argv[1:])]
    command.log.parent.mkdir(parents=True, exist_ok=True)
    with command.log.open("ab") as log:
        process = subprocess.Popen(
            argv,
            env={**os.environ, **command.environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            start_new_session=True,
        )
    identity = {"pid": process.pid, "started": psutil.Process(process.pid).create_time()}
    command.record.write_text(json.dumps(identity), encoding="utf-8")
    return ServerProcess(command, process)


def _make_prefix(command: ServerCommand) -> list[str]:
    # setpriv (util-linux) sets the death signal after changing the user: the kernel forgets it then.
    prefix = ["setpriv"]
    if command.lifetime is Lifetime.CALLER:
        prefix += ["--pdeathsig", "TERM"]
    if os.geteuid() == 0 and not command.account.is_self:
        prefix += [f"--reuid={command.account.uid}", f"--regid={command.account.gid}", "--init-groups"]
    return [*prefix, "--"] if len(prefix) > 1 else []


def stop_leftovers(folder: Path) -> list[str]:
    """End every server that an earlier run recorded below `folder` and left running. Returns their names.

    A process counts only if its id and its start time are those recorded: ids are used again.
    """
    stopped = []
    for record in sorted(folder.rglob(f"*{_RECORD_SUFFIX}")):
        process = _find_recorded(record)
        if process is not None:
            _end_tree(process, timeout=10)
            stopped.append(record.name.removesuffix(_RECORD_SUFFIX))
        record.unlink(missing_ok=True)
    return stopped


def _find_recorded(record: Path) -> psutil.Process | None:
    try:
        identity = json.loads(record.read_text(encoding="utf-8"))
        process = psutil.Process(int(identity["pid"]))
        return process if abs(process.create_time() - float(identity["started"])) < 1 else None
    except (OSError, ValueError, KeyError, TypeError, psutil.NoSuchProcess):
        return None


def _end_tree(process: psutil.Process, *, timeout: float) -> None:
    try:
        family = [process, *process.children(recursive=True)]
        if timeout > 0:
            process.terminate()
            _, family = psutil.wait_procs(family, timeout=timeout)
    except psutil.NoSuchProcess:
        return
    for member in family:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(family, timeout=5)
