"""The environment's lock: flock(2) on one file, so that it dies with the processes that hold it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time

from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError

_POLL_SECONDS = 0.05


@contextlib.contextmanager
def take_lock(folder, job, *, wait, descriptor=None):
    """Hold `<folder>/lock` and yield its descriptor; waits up to `wait` seconds.

    A `descriptor` that a parent handed down is used when it is that very file: flock belongs to the open
    file, so the lock passes on without a gap.
    """
    path = os.path.join(folder, "lock")
    if descriptor is None or not _is_same_file(descriptor, path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _wait_for_lock(descriptor, path, wait)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, "{0} {1} {2}\n".format(os.getpid(), job.id, job.step).encode("utf-8"), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def read_holder(folder):
    """The id of the job whose process holds the lock now, or None."""
    try:
        descriptor = os.open(os.path.join(folder, "lock"), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read_note(descriptor)[1]
    else:
        return None
    finally:
        os.close(descriptor)


def _wait_for_lock(descriptor, path, wait):
    deadline = time.monotonic() + wait
    while not _try_lock(descriptor):
        if time.monotonic() >= deadline:
            raise _make_busy(descriptor, path, wait)
        time.sleep(_POLL_SECONDS)


def _try_lock(descriptor):
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _make_busy(descriptor, path, wait):
    holder = _read_note(descriptor)
    return NodeError(
        "ANSIBLE_HOST_FAILED",
        "{0} is held by process {1} (job {2}, step {3}) for over {4:.0f} s".format(path, *holder, wait),
        "Let that step end; if nothing of Pressluft runs there, look at that process on the node.",
        retry=True,
    )


def _read_note(descriptor):
    """Process id, job id and step that the holder left in the file."""
    noted = os.pread(descriptor, 200, 0).decode("utf-8", "replace").split()
    return [*noted, "?", "?", "?"][:3]


def _is_same_file(descriptor, path):
    try:
        ours, theirs = os.fstat(descriptor), os.stat(path)
    except OSError:
        return False
    return (ours.st_dev, ours.st_ino) == (theirs.st_dev, theirs.st_ino)
