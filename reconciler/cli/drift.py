"""`pressluft drift SITE/ENV`: the last drift check, as a person understands it, from git alone."""

from __future__ import annotations

from collections.abc import Iterator
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
    print_table,
    split_target,
    stop,
)
from schemas.model import format_timestamp
from schemas.state import Verdict
from schemas.status import DriftCheckRecord


@explained
def drift(
    target: Annotated[str, typer.Argument(metavar="SITE/ENV", help="The source environment.")],
    as_json: JsonOption = False,
    repo: RepoOption = None,
    config: ConfigOption = None,
) -> None:
    """Show what changed on production since ENV was copied from it, and what a promotion would do.

    Example: pressluft drift acme/staging
    """
    service = open_service(repo, config)
    entry = service.find_named(*split_target(target))
    checks = service.list_drift_checks(entry.environment.metadata.id)
    if not checks:
        stop(f"{target} was never checked; next: pressluft drift-check {target}")
    if as_json:
        print_json(checks[0])
        return
    show(checks[0], target)


def show(check: DriftCheckRecord, target: str) -> None:
    """Print one check."""
    out.print(f"{target} is {check.status} (checked {format_timestamp(check.checked_at)})", markup=False)
    notable = [item for item in check.resources if item.verdict not in {Verdict.CLEAN, Verdict.ABSENT}]
    clean = len(check.resources) - len(notable)
    if notable:
        print_table(
            ("RESOURCE", "KIND", "PROTECTION", "VERDICT", "PROOF", "SAMPLES"),
            (
                (item.name, item.kind, item.protection, item.verdict, item.proof, ", ".join(item.samples))
                for item in notable
            ),
        )
    out.print(f"{clean} protected and preserved resources are unchanged or absent", markup=False)
    out.print("a promotion would:", markup=False)
    print_table(("", "KIND", "NAME"), make_plan_rows(check))
    if check.source_fingerprint:
        out.print(f"fingerprint of the source (for `pin`): {check.source_fingerprint}", markup=False)


def make_plan_rows(check: DriftCheckRecord) -> Iterator[tuple[str, str, str]]:
    """Make the rows of what would be done with mergeable resources."""
    plan = check.merge
    groups = (
        ("promote", plan.promoted),
        ("create", plan.created),
        ("delete", plan.deleted),
        ("keep production's", plan.kept),
        ("CONFLICT", plan.conflicts),
        ("leave on the source", plan.source_only_protected),
    )
    for word, changes in groups:
        for change in changes:
            yield word, change.kind, change.name
    yield "leave as it is", "", f"{plan.unchanged} resources"
