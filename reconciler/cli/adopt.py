"""`pressluft adopt`: a plain docroot becomes the first release of an environment, or that is undone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final
from uuid import uuid4

import typer

from reconciler.cli.common import (
    EXIT_REFUSED,
    EXIT_USAGE,
    ConfigOption,
    JsonOption,
    RepoOption,
    err,
    explained,
    open_service,
    out,
    print_json,
    read_settings,
    split_target,
    stop,
)
from reconciler.cli.playbook import run_playbook
from reconciler.core.adoption import make_adoption_variables
from reconciler.core.flow import read_answer
from reconciler.ports import RunState
from reconciler.service import EnvironmentEntry, JobFilter, Service
from schemas.observation import AdoptionAction, AdoptionReport
from schemas.state import JobStatus

WOULD: Final = {
    "make": "would make",
    "move": "would move",
    "link": "would link",
    "remove": "would remove",
    "leave": "would leave",
}
DID: Final = {"make": "made", "move": "moved", "link": "linked", "remove": "removed", "leave": "left"}


@explained
def adopt(
    target: Annotated[str, typer.Argument(metavar="SITE/ENV")],
    docroot: Annotated[
        str, typer.Option("--docroot", help="The folder that the web server serves; not needed to undo.")
    ] = "",
    undo: Annotated[bool, typer.Option("--undo", help="Make it a plain docroot again.")] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what would change and what speaks against it; touch nothing."),
    ] = False,
    as_json: JsonOption = False,
    repo: RepoOption = None,
    config: ConfigOption = None,
) -> None:
    """Make a plain docroot the first release of an environment, without a moment in which it is not served.

    The docroot's path becomes a link, so the web server stays as it is. Nothing is copied. Run it again after it was
    interrupted: it goes on from where it stands. It logs in with the daemon's settings.

    Example: pressluft adopt acme/production --docroot /var/www/html --dry-run
    """
    if not docroot and not undo:
        stop("--docroot is missing: the folder that the web server serves", code=EXIT_USAGE)
    service, settings = open_service(repo, config), read_settings(repo, config)
    entry = service.find_named(*split_target(target))
    refuse_running(service, entry)
    others = [env for env in entry.site.environments.values() if env != entry.environment]
    variables = make_adoption_variables(
        entry.environment, others=others, run_id=uuid4(), docroot=docroot, undo=undo
    )
    node = service.find_node(entry.environment.spec.node)
    outcome = run_playbook(settings, node, "env-adopt.yml", variables=variables, dry_run=dry_run)
    if as_json and "adoption" in outcome.result:
        print_json(dict(outcome.result))
    if outcome.state is not RunState.SUCCEEDED:
        stop(f"{target}: {outcome.message} ({outcome.code or outcome.state})")
    report = read_answer(outcome, "adoption", AdoptionReport)
    if not as_json:
        show(target, report, dry_run=dry_run)
    if report.refused:
        raise typer.Exit(EXIT_REFUSED)


def refuse_running(service: Service, entry: EnvironmentEntry) -> None:
    """Refuse while a job of the site runs: it may be between two steps, when the node's lock is free."""
    running = service.list_jobs(
        JobFilter(sites=frozenset({entry.site.name}), status=JobStatus.RUNNING), limit=1
    )
    if running:
        stop(f"job {running[0].id} is running on this site: let it end, or cancel it, then try again")


def show(target: str, report: AdoptionReport, *, dry_run: bool) -> None:
    """Say what was or would be done, and what speaks against it."""
    for line in make_lines(report, dry_run=dry_run):
        out.print(f"{target}: {line}", markup=False)
    for refusal in report.refused:
        err.print(f"{target}: refused: {refusal.what}\n  next: {refusal.remedy}", markup=False)


def make_lines(report: AdoptionReport, *, dry_run: bool) -> Iterator[str]:
    """Make one line for each thing, in the order in which it is done."""
    if report.is_done:
        state = "already adopted" if report.state == "adopted" else "a plain docroot already"
        yield f"{report.docroot} is {state}, nothing to do"
        return
    for action in report.actions:
        yield describe_action(action, dry_run=dry_run)
    yield from (f"note: {note}" for note in report.notes)
    if not dry_run:
        link = f"serves {report.root}/current" if report.state == "adopted" else "is a plain folder again"
        took = "" if report.exchange_ms is None else f", exchanged within {report.exchange_ms} ms"
        yield f"{report.docroot} {link}{took}"


def describe_action(action: AdoptionAction, *, dry_run: bool) -> str:
    """Say one thing that was or would be done."""
    verb = (WOULD if dry_run else DID).get(action.do, action.do)
    aim = f" to {action.to}" if action.to else ""
    size = "" if action.files is None else f" ({action.files} files, {action.bytes} bytes)"
    why = f": {action.why}" if action.why else ""
    return f"{verb} {action.path}{aim}{size}{why}"
