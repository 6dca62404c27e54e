"""`pressluft doctor`: what is missing on this machine and on each node, and how to get it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer

from reconciler.cli.common import (
    EXIT_REFUSED,
    ConfigOption,
    JsonOption,
    RepoOption,
    explained,
    out,
    print_json,
    print_table,
    read_settings,
    to_plain,
)
from reconciler.doctor.machine import examine_machine, examine_repo
from reconciler.doctor.node import examine_nodes
from schemas.observation import Finding
from schemas.state import FindingState


@explained
def doctor(
    only: Annotated[
        list[str] | None, typer.Option("--node", help="Only this node; repeatable. Default: all nodes.")
    ] = None,
    as_json: JsonOption = False,
    repo: RepoOption = None,
    config: ConfigOption = None,
) -> None:
    """Say what is missing on this machine and on each node, and how to get it. Changes nothing.

    Exits 1 if something is missing that Pressluft does not work without.

    Example: pressluft doctor --config /etc/pressluft-controller.toml
    """
    settings = read_settings(repo, config)
    here = list(examine_machine(settings))
    repo_findings, nodes = examine_repo(settings)
    wanted = {name: node for name, node in nodes.items() if not only or name in only}
    found = {"this machine": (*here, *repo_findings), **examine_nodes(settings, wanted)}
    if as_json:
        print_json({place: to_plain(list(findings)) for place, findings in found.items()})
    else:
        show(found.items())
    if any(item.state is FindingState.MISSING for findings in found.values() for item in findings):
        raise typer.Exit(EXIT_REFUSED)


def show(found: Iterable[tuple[str, Iterable[Finding]]]) -> None:
    """Show what was found in a table, and below it what to do."""
    rows = [(place, item) for place, findings in found for item in findings]
    print_table(
        ("WHERE", "WHAT", "STATE", "FOUND"), ((place, i.name, i.state, i.detail) for place, i in rows)
    )
    for place, item in rows:
        if item.remedy:
            out.print(f"{place}, {item.name}: {item.remedy}", markup=False)
