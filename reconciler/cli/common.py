"""What every command shares: settings, the service, output for people and for programs, and exit codes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, NoReturn, ParamSpec, TypeVar

import typer
from pydantic import BaseModel, ValidationError
from rich.console import Console
from rich.table import Table

from reconciler.adapters.run_folder import make_progress
from reconciler.daemon import SystemClock, open_repo
from reconciler.errors import PressluftError
from reconciler.ports import RunEvent
from reconciler.service import GateUnmet, Service
from reconciler.settings import Settings, load_settings
from schemas.status import JobRecord

EXIT_REFUSED = 1
EXIT_USAGE = 2

# Where nobody looks at a terminal's width, tables are as wide as they need to be.
out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 240)
err = Console(stderr=True, highlight=False, soft_wrap=True)

RepoOption = Annotated[
    str | None,
    typer.Option("--repo", help="The fleet repo: a path or a URL. Default: PRESSLUFT_REPO, else here."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", envvar="PRESSLUFT_CONFIG", help="TOML file with settings.")
]

P = ParamSpec("P")
R = TypeVar("R")


def stop(message: str, *, code: int = EXIT_REFUSED) -> NoReturn:
    """Say why and exit."""
    err.print(f"[bold red]error:[/] {escape(message)}")
    raise typer.Exit(code)


def escape(text: str) -> str:
    """Keep brackets in data from being read as colours."""
    return text.replace("[", r"\[")


def explained(command: Callable[P, R]) -> Callable[P, R]:
    """Turn the product's own errors into one line and exit code 1; the one error boundary of the commands."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except GateUnmet as error:
            for reason in error.reasons:
                err.print(f"{reason.code}: {reason.detail}\n  next: {reason.remedy}", markup=False)
            raise typer.Exit(EXIT_REFUSED) from error
        except PressluftError as error:
            stop(str(error))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            stop(f"setting {'.'.join(map(str, first['loc']))}: {first['msg']}", code=EXIT_USAGE)

    return run


def read_settings(repo: str | None = None, config: Path | None = None) -> Settings:
    """Read the settings for a command of a person: its own mirror lies in that person's cache."""
    settings = load_settings(config)
    changes: dict[str, object] = {"repo": repo} if repo else {}
    if "state_dir" not in settings.model_fields_set:
        cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        changes["state_dir"] = Path(cache) / "pressluft"
    return settings.model_copy(update=changes)


def open_service(repo: str | None, config: Path | None = None) -> Service:
    """Open the fleet repo for reading and for writing intents."""
    settings = read_settings(repo, config)
    return Service(open_repo(settings, purpose="cli"), SystemClock())


def watch_runs(config: Path | None = None) -> Callable[[JobRecord], tuple[RunEvent, ...]]:
    """Tell the progress of jobs that a daemon with these settings runs on this machine; of others, nothing."""
    return make_progress(load_settings(config).state_dir / "runs")


def split_target(target: str) -> tuple[str, str]:
    """Split `SITE/ENV`."""
    site, slash, environment = target.partition("/")
    if not (site and slash and environment) or "/" in environment:
        stop(f"expected SITE/ENV such as acme/staging, not {target!r}", code=EXIT_USAGE)
    return site, environment


def print_json(value: BaseModel | Sequence[BaseModel] | dict[str, Any] | list[Any]) -> None:
    """Print values as JSON."""
    out.print(json.dumps(to_plain(value), indent=2, ensure_ascii=False), markup=False)


def to_plain(value: Any) -> Any:
    """Make JSON data of models and containers."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, dict):
        return {key: to_plain(item) for key, item in value.items()}
    return [to_plain(item) for item in value] if isinstance(value, list | tuple) else value


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; empty cells are dashes."""
    table = Table(*columns, box=None, pad_edge=False, header_style="bold" if out.is_terminal else "")
    for row in rows:
        table.add_row(*("-" if cell in {None, ""} else escape(str(cell)) for cell in row))
    out.print(table)
