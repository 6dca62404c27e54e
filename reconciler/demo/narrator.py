"""What the demonstration shows: scenes, the commands an operator would type, and what they print."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from reconciler.errors import PressluftError

COMMAND_TIMEOUT = 300


class DemoFailed(PressluftError):
    """The demonstration did not go as told; the message says where."""


@dataclass
class Narrator:
    """Runs commands as an operator would and shows them with their output."""

    console: Console
    environment: Mapping[str, str]
    began: float = field(default_factory=time.monotonic)

    def scene(self, title: str) -> None:
        """Begin a scene."""
        self.console.print(f"\n[bold]== {title}[/]  [dim]({time.monotonic() - self.began:.0f} s)[/]")

    def say(self, text: str) -> None:
        """Say one line."""
        self.console.print(f"   {text}", markup=False)

    def run(self, *words: str, expect: int = 0, folder: Path | None = None) -> str:
        """Show and run a command; raises `DemoFailed` if it does not exit as expected."""
        self.console.print(f"[cyan]   $ {shlex.join(words)}[/]", highlight=False)
        done = subprocess.run(
            [*find_program(words[0]), *words[1:]],
            cwd=folder,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT,
            check=False,
        )
        output = (done.stdout + done.stderr).strip()
        for line in output.splitlines():
            self.console.print(f"     {line}", markup=False)
        if done.returncode != expect:
            raise DemoFailed(f"{shlex.join(words)} exited with {done.returncode}, not {expect}")
        return output

    def expect(self, *, truth: bool, told: str) -> None:
        """Show something that was looked at; raises `DemoFailed` if it is not as told."""
        if not truth:
            raise DemoFailed(f"not so: {told}")
        self.console.print(f"   [green]ok[/] {told}")


def find_program(name: str) -> Sequence[str]:
    """Find a program; our own is the one of this very installation."""
    return [sys.executable, "-m", "reconciler"] if name == "pressluft" else [name]
