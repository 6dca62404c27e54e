"""`pressluft node`: what is done on a node itself, before jobs run there."""

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
    read_settings,
    stop,
)
from reconciler.cli.playbook import run_playbook
from reconciler.ports import Json, RunOutcome, RunState

app = typer.Typer(help="Nodes.", no_args_is_help=True, rich_markup_mode=None)


@app.command("prepare")
@explained
def prepare(
    name: Annotated[str, typer.Argument(metavar="NODE", help="The node, as its file is called.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would change; change nothing.")
    ] = False,
    service: Annotated[
        bool, typer.Option("--service/--no-service", help="Run it as a service of systemd.")
    ] = True,
    as_json: JsonOption = False,
    repo: RepoOption = None,
    config: ConfigOption = None,
) -> None:
    """Install on a node what finishes or reverses a half-done cut-over there, and start it.

    Changes only what is not as it should be, so it may be run at any time. It logs in with the daemon's settings.

    Example: pressluft node prepare web1 --dry-run
    """
    node = open_service(repo, config).find_node(name)
    variables: dict[str, Json] = {"pressluft_request": {"service": service}}
    settings = read_settings(repo, config)
    outcome = run_playbook(settings, node, "node-prepare.yml", variables=variables, dry_run=dry_run)
    if outcome.state is not RunState.SUCCEEDED:
        stop(f"{name}: {outcome.message} ({outcome.code or outcome.state})")
    if as_json:
        print_json(dict(outcome.result))
        return
    show(name, outcome, dry_run=dry_run)


def show(name: str, outcome: RunOutcome, *, dry_run: bool) -> None:
    """Say what was changed, and what is left for a person to do."""
    changed, recover = outcome.result.get("changed"), outcome.result.get("recover")
    paths = [str(path) for path in changed] if isinstance(changed, list) else []
    verb = "would be written" if dry_run else "written"
    for path in paths:
        out.print(f"{name}: {path} {verb}", markup=False)
    if not paths:
        out.print(f"{name}: nothing to change", markup=False)
    hint = recover.get("hint") if isinstance(recover, dict) else None
    if hint:
        out.print(f"{name}: {hint}", markup=False)
