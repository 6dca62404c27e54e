"""`pressluft plan INTENT`: what an intent would do and which gates are shut, from git alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from reconciler.cli.check import find_root
from reconciler.cli.common import (
    EXIT_REFUSED,
    ConfigOption,
    JsonOption,
    RepoOption,
    explained,
    open_service,
    out,
    print_json,
    read_settings,
    stop,
    to_plain,
)
from reconciler.cli.drift import describe_source_only
from reconciler.cli.drift import show as show_check
from reconciler.core.world import IntentFile
from reconciler.observe import attempt
from reconciler.preview import Preview
from reconciler.request import describe, hash_blob
from reconciler.service import Request
from schemas.document import PathKind, find_place, read_intent
from schemas.intent import Intent, Promotion, Refresh
from schemas.state import RefreshScope
from schemas.syntax import MOST_BYTES


@explained
def plan(
    intent: Annotated[
        str, typer.Argument(help="A file in a checkout, committed or not, or the name of a committed intent.")
    ],
    as_json: JsonOption = False,
    repo: RepoOption = None,
    config: ConfigOption = None,
) -> None:
    """Tell what an intent would do and which gates are shut. Changes nothing, and asks no node.

    Exits 1 while a gate is shut. The job itself asks the nodes again before it goes on.

    Example: pressluft plan intents/acme/spring-release.yaml
    """
    path = Path(intent)
    named = repo or ("" if "repo" in read_settings(repo, config).model_fields_set else find_repo(path))
    service = open_service(named or None, config)
    file = read_file(path) if path.is_file() else service.find_intent(intent)
    found = service.preview(file)
    if as_json:
        print_json(make_answer(file, found))
    else:
        show(file, found)
    if not found.can_go:
        raise typer.Exit(EXIT_REFUSED)


def find_repo(path: Path) -> str:
    """Find the checkout that a file lies in; empty for what is no file."""
    return str(find_root(path)) if path.is_file() else ""


def read_file(path: Path) -> IntentFile:
    """Read an intent from a checkout, as the reconciler would once it is committed."""
    name = str(path.resolve().relative_to(find_root(path)))
    place = find_place(name)
    if place.kind is not PathKind.INTENT or place.site is None:
        stop(f"{name} is no intent: expected intents/SITE/NAME.yaml in a fleet repo")
    if path.is_symlink():
        stop(f"{name}: expected a plain file, not a link")
    with path.open("rb") as file:
        data = file.read(MOST_BYTES + 1)
    found = attempt(lambda: read_intent(data, path=name))
    if isinstance(found, str):
        return IntentFile(name, place.site, hash_blob(data), None, found)
    return IntentFile(name, place.site, hash_blob(data), found)


def make_answer(file: IntentFile, found: Preview) -> dict[str, Any]:
    """Make the answer for programs."""
    return {
        "intent": file.path,
        "commit": found.commit,
        "job": to_plain(found.job),
        "is_recorded": found.known,
        "can_go": found.can_go,
        "steps": list(found.steps),
        "unmet": to_plain(found.unmet),
        "notes": list(found.notes),
        "fingerprint": found.check.source_fingerprint if found.check else None,
        "drift_check": to_plain(found.check) if found.check else None,
    }


def show(file: IntentFile, found: Preview) -> None:
    """Tell it to a person."""
    if file.intent is not None:
        out.print(describe(Request(file.site, file.intent)), markup=False)
    known = f"is {found.job.status}" if found.known else "would be new"
    out.print(f"job {found.job.id} {known}; looked at commit {found.commit[:12] or 'none'}", markup=False)
    for note in found.notes:
        out.print(f"note: {note}", markup=False)
    if found.steps:
        out.print(f"steps: {', '.join(found.steps)}", markup=False)
    for reason in found.unmet:
        out.print(f"{reason.code}: {reason.detail}\n  next: {reason.remedy}", markup=False)
    if found.can_go:
        out.print("no gate is shut, as far as git knows; the job asks the nodes", markup=False)
    show_source(file, found)


def show_source(file: IntentFile, found: Preview) -> None:
    """Tell what the last drift check knows of the source, or how to get one."""
    if found.source is None:
        return
    source = f"{file.site}/{found.source}"
    scope = find_refresh(file.intent)
    if scope is not None:
        show_loss(scope, found, source)
    if found.check is not None:
        show_check(found.check, source)
    else:
        out.print(
            f"{source} has no drift check that counts: what would be promoted and the fingerprint for `pin` are not "
            f"known. Next: pressluft drift-check {source} --wait",
            markup=False,
        )


def find_refresh(intent: Intent | None) -> RefreshScope | None:
    """Find what an intent pulls down from production: a refresh, or a promotion that refreshes first."""
    if isinstance(intent, Refresh):
        return intent.spec.scope
    refreshes = isinstance(intent, Promotion) and intent.spec.refresh is not None
    return RefreshScope.PROTECTED if refreshes else None


def show_loss(scope: RefreshScope, found: Preview, source: str) -> None:
    """Tell what a refresh takes away from the source."""
    if scope is RefreshScope.FULL:
        out.print(f"everything that {source} has of its own is lost: it becomes a fresh copy", markup=False)
    elif found.check is not None:
        own = (
            ", ".join(describe_source_only(item) for item in found.check.merge.source_only_protected)
            or "nothing that is known"
        )
        out.print(f"lost on {source}, which has it of its own in protected data: {own}", markup=False)
