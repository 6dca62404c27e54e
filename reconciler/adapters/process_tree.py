"""Finding and ending processes: the descendants of one, and those that carry a mark in their environment.

A process group is not enough: ansible-core >= 2.19 puts its workers into sessions of their own. So the
supervisor is a *child subreaper* (whatever its descendants orphan becomes its own child) and kills until
nothing is left; and every process of a run carries `PRESSLUFT_RUN_ID`, by which it is found when its
supervisor is gone.

A program that a node detached on purpose belongs to the node, not to the run: it is to outlive a lost
connection, and on a node that is this very machine it must outlive the run as well. It says so with
`PRESSLUFT_DETACHED` in its environment, and is spared.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import psutil

RUN_ID = "PRESSLUFT_RUN_ID"
DETACHED = "PRESSLUFT_DETACHED"

_PR_SET_CHILD_SUBREAPER = 36
_ROUND_SECONDS = 0.01
_MAX_SECONDS = 10.0

FindProcesses = Callable[[], Collection[psutil.Process]]


def become_subreaper() -> None:
    """Make this process the parent of whatever its descendants orphan. Raises OSError where Linux refuses."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def read_identity(pid: int) -> str | None:
    """Return what names a process for ever (boot, pid, start in clock ticks), None if there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the program's name in brackets and may hold anything (proc(5)).
    state, *fields = stat.rpartition(")")[2].split()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return None if state in "ZX" else f"{boot}:{pid}:{fields[18]}"


def is_alive(identity: str) -> bool:
    """Say whether the process of this identity still runs; a reused pid and a zombie do not count."""
    return read_identity(int(identity.split(":")[1])) == identity


def find_descendants() -> list[psutil.Process]:
    """Return all living descendants of this process, parents first, without those a node detached."""
    return [child for child in psutil.Process().children(recursive=True) if _is_prey(child)]


def find_marked(prefix: str) -> list[tuple[psutil.Process, str]]:
    """Return the living processes whose `PRESSLUFT_RUN_ID` begins with `prefix`, with its whole value."""
    found = ((process, _read_environment(process)) for process in psutil.process_iter())
    return [
        (process, environment[RUN_ID])
        for process, environment in found
        if environment.get(RUN_ID, "").startswith(prefix) and _is_prey(process)
    ]


def find_connections(folder: Path) -> list[psutil.Process]:
    """Return the living ssh processes that keep a connection open with a socket below a folder (ControlPersist).

    They overwrite their environment with their title, so that no mark is found on them, but it names the socket.
    """
    return [process for process in psutil.process_iter() if _names_folder(process, f"{folder}/")]


def _names_folder(process: psutil.Process, folder: str) -> bool:
    try:
        return process.name() == "ssh" and any(folder in word for word in process.cmdline())
    except psutil.Error:
        return False


def kill_all(find: FindProcesses) -> Collection[psutil.Process]:
    """Kill what `find` finds until it finds nothing; returns what is left after 10 s (another user's)."""
    give_up = time.monotonic() + _MAX_SECONDS
    while found := find():
        if time.monotonic() > give_up:
            return found
        kill_once(found)
        time.sleep(_ROUND_SECONDS)
    return ()


def kill_once(processes: Collection[psutil.Process]) -> None:
    """Send SIGKILL to each process that is still the one that was found."""
    for process in processes:
        try:
            process.kill()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue


def reap_children() -> None:
    """Take the exit codes of all ended children. Only for a process that waits for none by its pid any more."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def _is_prey(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and DETACHED not in _read_environment(process)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def _read_environment(process: psutil.Process) -> Mapping[str, str]:
    """Return the environment a process was started with; empty for another user's, and for one that ended."""
    try:
        return process.environ()
    except (psutil.Error, OSError):
        return {}
