"""`pressluft serve`: the REST facade alone."""

from __future__ import annotations

from typing import Annotated

import typer

from reconciler.cli.common import ConfigOption, RepoOption, explained
from reconciler.cli.run import configure_logs
from reconciler.settings import load_settings

HostOption = Annotated[str | None, typer.Option(help="Address to listen on; loopback by default.")]
PortOption = Annotated[int | None, typer.Option(help="Port to listen on.")]
RootPathOption = Annotated[str | None, typer.Option(help="Prefix under which a proxy shows the facade.")]
ProxiesOption = Annotated[
    str | None, typer.Option(help="Addresses of proxies whose forwarded headers are believed, with commas.")
]


@explained
def serve(
    repo: RepoOption = None,
    host: HostOption = None,
    port: PortOption = None,
    root_path: RootPathOption = None,
    trusted_proxies: ProxiesOption = None,
    config: ConfigOption = None,
) -> None:
    """Serve the REST facade; it only reads the repo and writes intents.

    Example: pressluft serve --repo /srv/git/fleet.git --port 8420
    """
    from api.app import make_facade  # noqa: PLC0415 - no other command should wait for a web framework
    from api.server import make_server  # noqa: PLC0415 - the same

    given = {
        "repo": repo,
        "host": host,
        "port": port,
        "root_path": root_path,
        "trusted_proxies": trusted_proxies,
    }
    settings = load_settings(
        config, given={name: value for name, value in given.items() if value is not None}
    )
    configure_logs()
    make_server(make_facade(settings), settings).run()
