"""How the stack calls programs that end by themselves. Standard library only: it runs before any venv."""

import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

Report = Callable[[str], None]
"""Receives one finished line of progress, without its newline."""


class StackError(Exception):
    """The stack could not do what was asked; the message says what happened and what to do next."""


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
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words, input=stdin, cwd=cwd, env=env, timeout=timeout, capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise StackError(f"{words[0]} is not installed; run `make packages`") from error
    except subprocess.TimeoutExpired as error:
        raise StackError(f"{words[0]} was stopped after {timeout:.0f} s: {' '.join(words)[:200]}") from error
    if done.returncode != 0:
        raise StackError(
            f"{' '.join(words)[:300]} ended with {done.returncode}:\n{_tail(done.stdout + done.stderr)}"
        )
    return done.stdout


def _tail(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-15:])
