"""The command line: `pressluft COMMAND`. Each command has its file here."""

from __future__ import annotations

from typing import Annotated

import typer

from reconciler.cli import (
    adopt,
    archive,
    check,
    demo,
    doctor,
    drift,
    history,
    init,
    job,
    node,
    plan,
    request,
    run,
    schema,
    serve,
    status,
    token,
)

app = typer.Typer(
    name="pressluft",
    help="Promote WordPress environments through git without ever overwriting live data.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def show_version(value: bool) -> None:
    """Print the version and stop."""
    if value:
        from importlib.metadata import version  # noqa: PLC0415 - only this option needs it

        typer.echo(version("pressluft"))
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[bool, typer.Option("--version", callback=show_version, is_eager=True)] = False,
) -> None:
    """Hold the options that stand before a command."""


app.command("init")(init.init)
app.command("check")(check.check)
app.command("plan")(plan.plan)
app.command("run")(run.run)
app.command("serve")(serve.serve)
app.command("status")(status.status)
app.command("jobs")(job.jobs)
app.command("job")(job.job)
app.command("drift")(drift.drift)
app.command("history")(history.history)
app.command("promote")(request.promote)
app.command("drift-check")(request.drift_check)
app.command("backup")(request.backup)
app.command("refresh")(request.refresh)
app.command("rollback")(request.rollback)
app.command("restore")(request.restore)
app.command("reset")(request.reset)
app.command("cancel")(request.cancel)
app.command("adopt")(adopt.adopt)
app.command("archive")(archive.archive)
app.command("doctor")(doctor.doctor)
app.command("schema")(schema.schema)
app.command("demo")(demo.demo)
app.add_typer(node.app, name="node")
app.add_typer(token.app, name="token")


def main() -> None:
    """Run the command line."""
    app()
