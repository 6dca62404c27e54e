"""Which daemon this is, whatever it is called: an id in its `state_dir`, where no other may work meanwhile."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import UUID, uuid4

from reconciler.errors import SettingsInvalid


@contextmanager
def hold_instance(state_dir: Path) -> Iterator[UUID]:
    """Hold the folder and yield the id of the daemon that works in it: the same one after each restart.

    Raises `SettingsInvalid` while another daemon works in it.
    """
    path = state_dir / "instance"
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SettingsInvalid(f"state_dir: {error}") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SettingsInvalid(
                f"another daemon works in state_dir {state_dir}: give each daemon a folder and a worker name of its own"
            ) from error
        yield read_or_make(handle)
    finally:
        os.close(handle)


def read_or_make(handle: int) -> UUID:
    """Read the id, or make one and keep it."""
    with suppress(ValueError):
        return UUID(os.pread(handle, 64, 0).decode(errors="replace").strip())
    made = uuid4()
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"{made}\n".encode(), 0)
    os.fsync(handle)
    return made
