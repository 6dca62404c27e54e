"""`pressluft run`: the daemon."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import structlog
import typer

from reconciler.adapters.metrics_server import serve_metrics
from reconciler.cli.common import ConfigOption, RepoOption, explained
from reconciler.daemon import Daemon, stop_on_signals
from reconciler.settings import load_settings


@explained
def run(
    once: Annotated[bool, typer.Option("--once", help="End when nothing is left to do.")] = False,
    api: Annotated[bool, typer.Option("--api", help="Serve the REST facade as well.")] = False,
    metrics: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Serve /metrics and /healthz there, without the facade."),
    ] = None,
    repo: RepoOption = None,
    config: ConfigOption = None,
) -> None:
    """Watch the fleet repo and carry out what is committed to it.

    Example: pressluft run --repo /srv/git/fleet.git
    """
    settings = load_settings(config)
    given = {name: value for name, value in (("repo", repo), ("metrics", metrics)) if value}
    daemon = Daemon(settings.model_copy(update=given))
    configure_logs(daemon.telemetry.complete_line)
    stop_on_signals(daemon)
    with serving(daemon) if api else serving_metrics(daemon):
        daemon.run_once() if once else daemon.run()


@contextmanager
def serving_metrics(daemon: Daemon) -> Iterator[None]:
    """Serve metrics and health if the settings say where."""
    if not daemon.settings.metrics:
        yield
        return
    with serve_metrics(
        daemon.settings.metrics, show=daemon.telemetry.show, find_stall=daemon.find_stall
    ) as port:
        structlog.get_logger().info("serving metrics", port=port)
        yield


@contextmanager
def serving(daemon: Daemon) -> Iterator[None]:
    """Serve the facade in a thread of this process; if it ends by itself, the daemon does too."""
    from api.app import make_facade  # noqa: PLC0415 - only `--api` needs a web framework
    from api.desk import Watched  # noqa: PLC0415 - the same
    from api.server import make_server  # noqa: PLC0415 - the same

    watched = Watched(wake=daemon.wake, show=daemon.telemetry.show, find_stall=daemon.find_stall)
    server = make_server(make_facade(daemon.settings, daemon=watched), daemon.settings)

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


def configure_logs(*processors: structlog.typing.Processor) -> None:
    """Log one JSON object a line to standard error; plain lines on a terminal."""
    renderer = structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            *processors,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
