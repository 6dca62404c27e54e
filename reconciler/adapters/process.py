"""The one way to call a program that ends by itself: a list of words, a time limit, a clean end."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_GRACE = 3.0
"""Seconds between the polite and the final signal: git removes its lock files on the polite one."""

_NOTHING = 0
"""The signal that only asks whether somebody is there."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A program that ended by itself: its exit code and what it wrote."""

    code: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """What it wrote to standard output; bytes that are not UTF-8 become U+FFFD."""
        return self.stdout.decode("utf-8", "replace")

    @property
    def complaint(self) -> str:
        """What it wrote to standard error, stripped."""
        return self.stderr.decode("utf-8", "replace").strip()


class ProgramTimedOut(Exception):
    """The program and everything it started in its process group were ended after the time limit."""


def run_program(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    timeout: float,
    stdin: bytes = b"",
    folder: Path | None = None,
) -> Finished:
    """Run `command` with exactly this environment and wait at most `timeout` seconds.

    Raises `ProgramTimedOut`, and `OSError` when the program cannot be started.
    """
    process = subprocess.Popen(
        command,
        env=dict(environment),
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        stdout, stderr = process.communicate(stdin, timeout=timeout)
    except subprocess.TimeoutExpired as error:
        _end_group(process)
        raise ProgramTimedOut(f"{command[0]} did not end within {timeout:g} s and was stopped") from error
    except BaseException:
        _end_group(process)
        raise
    return Finished(process.returncode, stdout, stderr)


def read_start(command: Sequence[str], *, environment: Mapping[str, str], limit: int) -> bytes:
    """Run `command` and return the first `limit` bytes it writes; it is ended when there are more."""
    with subprocess.Popen(
        command,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            return process.stdout.read(limit) if process.stdout else b""
        finally:
            _end_group(process)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Leave nothing running of the whole group, whether or not its first process has ended."""
    _signal_group(process, signal.SIGTERM)
    _wait_for_group(process)
    _signal_group(process, signal.SIGKILL)
    _wait_for_group(process)
    for pipe in (process.stdin, process.stdout, process.stderr):
        with suppress(BrokenPipeError):
            if pipe is not None:
                pipe.close()


def _signal_group(process: subprocess.Popen[bytes], number: int) -> bool:
    """Return whether anybody is left in the group."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return False
    return True


def _wait_for_group(process: subprocess.Popen[bytes]) -> None:
    """Wait for the last of the group, not the first: git's children tidy up after git itself is gone."""
    deadline = time.monotonic() + _GRACE
    while time.monotonic() < deadline:
        process.poll()
        if not _signal_group(process, _NOTHING):
            return
        time.sleep(0.005)
