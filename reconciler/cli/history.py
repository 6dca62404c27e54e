"""`pressluft history SITE/ENV`: what happened, from the log of the fleet repo."""

from __future__ import annotations

from typing import Annotated

import typer

from reconciler.cli.common import (
    ConfigOption,
    JsonOption,
    RepoOption,
    explained,
    open_service,
    out,
    print_json,
)
from schemas.model import format_timestamp


@explained
def history(
    target: Annotated[str, typer.Argument(metavar="SITE[/ENV]")],
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 30,
    as_json: JsonOption = False,
    repo: RepoOption = None,
    config: ConfigOption = None,
) -> None:
    """Show what happened to a site or environment, newest first.

    Example: pressluft history acme/production
    """
    site, _, environment = target.partition("/")
    entries = open_service(repo, config).read_history(site, environment=environment or None, limit=limit)
    if as_json:
        print_json(
            [
                {
                    "commit": entry.commit,
                    "at": format_timestamp(entry.at),
                    "author": entry.author,
                    "subject": entry.subject,
                    "trailers": [list(trailer) for trailer in entry.trailers],
                }
                for entry in entries
            ]
        )
        return
    for entry in entries:
        out.print(f"{entry.commit[:8]}  {format_timestamp(entry.at)}  {entry.subject}", markup=False)
