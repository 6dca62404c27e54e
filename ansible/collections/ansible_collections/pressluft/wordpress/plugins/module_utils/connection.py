"""A module ends with its connection: nobody would hear its answer, and the next step waits for its lock.

A killed controller takes its own processes along, over SSH as well, but what it started on the node would go on for as
long as its work takes. What must be seen through is detached, in a session of its own, and is spared.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading

_ANSWER = 1
"""Standard output: the pipe or socket on which the answer is waited for."""


def end_with_connection():
    """Watch, in a thread of its own, whether anybody still waits for the answer; if not, end with all children."""
    watch = select.poll()
    watch.register(_ANSWER, 0)  # a hang-up and an error are always told; a file or a terminal tells neither
    threading.Thread(target=_wait_and_end, args=(watch,), name="connection", daemon=True).start()


def _wait_and_end(watch):
    watch.poll()
    kill_children()
    os.kill(os.getpid(), signal.SIGKILL)


def kill_children():
    """Kill all descendants of our own session, until none is left to start others."""
    killed = set()
    while True:
        left = set(list_descendants(os.getpid())) - killed
        if not left:
            return
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        killed |= left


def list_descendants(pid):
    """The ids of all processes below one that share our session, parents first."""
    children = {}
    session = os.getsid(0)
    for name in os.listdir("/proc"):
        if name.isdigit():
            parent, own_session = _read_parent(name)
            if own_session == session:
                children.setdefault(parent, []).append(int(name))
    found, waiting = [], [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def _read_parent(name):
    """A process's parent and session; of one that is gone, none."""
    try:
        with open("/proc/{0}/stat".format(name), "rb") as stream:
            fields = stream.read().rpartition(b")")[2].split()
    except OSError:
        return 0, 0
    return int(fields[1]), int(fields[3])
