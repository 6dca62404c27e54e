"""How the stack calls programs that end by themselves. Standard library only: it runs before any venv."""

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

Report = Callable[[str], None]
"""Receives one finished line of progress, without its newline."""


# Where servers live; the PATH of an ordinary Debian user leaves these out.
_SERVER_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")


class StackError(Exception):
    """The stack could not do what was asked; the message says what happened and what to do next."""


def find_program(name: str) -> str | None:
    """Return the path of a program on PATH or in the folders of servers, or None when it is not installed."""
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), *_SERVER_FOLDERS]))


def get_program(name: str | Path) -> str:
    """Return the path of an installed program. Raises StackError when it is missing."""
    path = find_program(str(name))
    if path is None:
        raise StackError(f"{name} is not installed; run `make packages`")
    return path


def run_command(
    argv: Sequence[str | Path],
    *,
    timeout: float = 120,
    stdin: str | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> str:
    """Run one program and return what it wrote to standard output.

    `timeout` is in seconds. Raises StackError, with the last lines of both outputs, when the program is
    missing, ends with another code than 0 or takes too long.
    """
    words = [get_program(argv[0]), *(str(word) for word in argv[1:])]
    try:
        done = subprocess.run(
            words, input=stdin, cwd=cwd, env=env, timeout=timeout, capture_output=True, text=True, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise StackError(f"{words[0]} was stopped after {timeout:.0f} s: {' '.join(words)[:200]}") from error
    if done.returncode != 0:
        raise StackError(
            f"{' '.join(words)[:300]} ended with {done.returncode}:\n{_tail(done.stdout + done.stderr)}"
        )
    return done.stdout


def _tail(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-15:])
