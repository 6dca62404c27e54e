"""`pressluft serve`: the REST facade alone."""

from __future__ import annotations

from typing import Annotated

import typer
import uvicorn
from api.app import make_app

from reconciler.cli.common import ConfigOption, RepoOption, explained
from reconciler.cli.run import configure_logs
from reconciler.settings import load_settings


@explained
def serve(
    repo: RepoOption = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    config: ConfigOption = None,
) -> None:
    """Serve the REST facade; it only reads the repo and writes intents.

    Example: pressluft serve --repo /srv/git/fleet.git --port 8420
    """
    given = {"repo": repo, "host": host, "port": port}
    changes = {name: value for name, value in given.items() if value is not None}
    settings = load_settings(config).model_copy(update=changes)
    configure_logs()
    uvicorn.run(
        make_app(settings), host=settings.host, port=settings.port, log_config=None, server_header=False
    )
