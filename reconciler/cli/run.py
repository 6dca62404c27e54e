"""`pressluft run`: the daemon."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Annotated

import structlog
import typer

from reconciler.cli.common import ConfigOption, RepoOption, explained
from reconciler.daemon import Daemon, stop_on_signals
from reconciler.settings import Settings, load_settings


@explained
def run(
    once: Annotated[bool, typer.Option("--once", help="End when nothing is left to do.")] = False,
    api: Annotated[bool, typer.Option("--api", help="Serve the REST facade as well.")] = False,
    repo: RepoOption = None,
    config: ConfigOption = None,
) -> None:
    """Watch the fleet repo and carry out what is committed to it.

    Example: pressluft run --repo /srv/git/fleet.git
    """
    settings = load_settings(config)
    if repo:
        settings = settings.model_copy(update={"repo": repo})
    configure_logs()
    daemon = Daemon(settings)
    stop_on_signals(daemon)
    with serving(daemon, settings) if api else nullcontext():
        daemon.run_once() if once else daemon.run()


@contextmanager
def serving(daemon: Daemon, settings: Settings) -> Iterator[None]:
    """Serve the facade in a thread of this process; if it ends by itself, the daemon does too."""
    from api.app import make_facade  # noqa: PLC0415 - only `--api` needs a web framework
    from api.server import make_server  # noqa: PLC0415 - the same

    server = make_server(make_facade(settings, on_hook=daemon.wake), settings)

    def serve() -> None:
        try:
            server.run()
        finally:
            daemon.stop()

    thread = threading.Thread(target=serve, name="facade")
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()


def configure_logs() -> None:
    """Log one JSON object a line to standard error; plain lines on a terminal."""
    renderer = structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
