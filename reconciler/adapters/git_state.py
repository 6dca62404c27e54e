"""The private folder of one fleet repo under `state_dir`: mirror, git's home, locks. Nothing in it is precious."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from reconciler.adapters.git_command import write_git_home

_MOVING = "moving-ref."


@dataclass(frozen=True, slots=True)
class Leftover:
    """A ref that a process of ours was moving when it was killed, and when it began (epoch seconds)."""

    ref: str
    since: float


class StateFolder:
    """Holds the folder as long as it is open, so that leftovers are only cleared when nobody works in it."""

    def __init__(self, state_dir: Path, location: str) -> None:
        """Open (and create) the folder that belongs to `location`. Raises `OSError`."""
        digest = hashlib.sha256(location.encode("utf-8", "surrogateescape")).hexdigest()
        self.path = state_dir.absolute() / "git" / digest[:16]
        self.home = self.path / "home"
        self.mirror = self.path / "mirror.git"
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._in_use = os.open(self.path / "in-use.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._leftovers = self._clear_leftovers()
        write_git_home(self.home)

    def close(self) -> None:
        """Let go of the folder."""
        if self._in_use >= 0:
            os.close(self._in_use)
            self._in_use = -1

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until no other process of ours works in the mirror."""
        lock = os.open(self.path / "busy.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    @contextmanager
    def moving(self, ref: str) -> Iterator[None]:
        """Leave a note while a ref of somebody else's repository is locked, for a successor to find."""
        note = self.path / f"{_MOVING}{os.getpid()}"
        note.write_text(ref)
        try:
            yield
        finally:
            note.unlink(missing_ok=True)
        self._forget_leftovers(ref)

    def _forget_leftovers(self, ref: str) -> None:
        """Remove what killed processes noted of a ref that has been moved since: no lock of theirs is left."""
        for note in self.path.glob(f"{_MOVING}*"):
            if not _is_alive(note) and _read_note(note).ref in {ref, ""}:
                note.unlink(missing_ok=True)

    def find_leftovers(self) -> tuple[Leftover, ...]:
        """Find the refs that killed processes were moving, those included that died beside us since."""
        notes = [note for note in self.path.glob(f"{_MOVING}*") if not _is_alive(note)]
        return (*self._leftovers, *(_read_note(note) for note in notes))

    def _clear_leftovers(self) -> tuple[Leftover, ...]:
        """Remove the locks that killed processes left here, if none is alive; returns the refs they were moving.

        Their notes stay until the ref was moved: whoever reads one may be killed as well before the lock is old enough.
        """
        try:
            fcntl.flock(self._in_use, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fcntl.flock(self._in_use, fcntl.LOCK_SH)
            return ()
        notes = list(self.path.glob(f"{_MOVING}*"))
        leftovers = tuple(_read_note(note) for note in notes)
        for stale in _find_stale_locks(self.mirror):
            stale.unlink(missing_ok=True)
        fcntl.flock(self._in_use, fcntl.LOCK_SH)
        return tuple(leftover for leftover in leftovers if leftover.ref)


def _read_note(note: Path) -> Leftover:
    """Read a note; one that is gone by now names no ref."""
    try:
        return Leftover(note.read_text(), note.stat().st_mtime)
    except FileNotFoundError:
        return Leftover("", 0.0)


def _is_alive(note: Path) -> bool:
    """Whether the process that left a note is there: a number that was given anew counts as alive."""
    try:
        os.kill(int(note.name.removeprefix(_MOVING)), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        return True
    return True


def _find_stale_locks(mirror: Path) -> list[Path]:
    top = [*mirror.glob("*.lock"), *mirror.glob("objects/*.lock"), *mirror.glob("objects/info/*.lock")]
    return [*top, *(mirror / "refs").rglob("*.lock"), *mirror.glob("gc.pid")]
