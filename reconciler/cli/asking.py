"""The options that every command has that writes an intent, in one piece."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from reconciler.cli.common import ConfigOption, JsonOption, RepoOption, explained, open_service
from reconciler.service import Service

ReasonOption = Annotated[str | None, typer.Option("--reason", "-m", help="Why; kept with the job.")]
WaitOption = Annotated[bool, typer.Option("--wait", help="Follow the job until it ends.")]


@dataclass(frozen=True, slots=True)
class Asking:
    """How somebody asks, whatever for."""

    reason: str | None
    wait: bool
    as_json: bool
    repo: str | None
    config: Path | None

    def open(self) -> Service:
        """Open the fleet repo that is asked."""
        return open_service(self.repo, self.config)


def offer(
    reason: ReasonOption = None,
    wait: WaitOption = False,
    as_json: JsonOption = False,
    repo: RepoOption = None,
    config: ConfigOption = None,
) -> None:
    """Hold the options, for `requesting` to read; never called."""


COMMON = tuple(inspect.signature(offer, eval_str=True).parameters.values())


def requesting(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the common options after its own, and hand them over as its last argument, `asking`."""
    own = [
        parameter
        for parameter in inspect.signature(command, eval_str=True).parameters.values()
        if parameter.name != "asking"
    ]

    @wraps(command)
    def run(**given: Any) -> None:
        common = {parameter.name: given.pop(parameter.name) for parameter in COMMON}
        command(**given, asking=Asking(**common))

    parameters = [item.replace(kind=inspect.Parameter.KEYWORD_ONLY) for item in (*own, *COMMON)]
    run.__annotations__ = {item.name: item.annotation for item in parameters}
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined] # typer reads it
    return explained(run)
