"""`pressluft drift SITE/ENV`: the last drift check, as a person understands it, from git alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
from schemas.state import Proof, ResourceClass, Verdict
from schemas.status import DriftCheckRecord, EnvironmentRecord, ResourceVerdict, SourceOnlyData

SHOWN_DIGITS, SHOWN_SAMPLES = 12, 5
PROOFS = {
    Proof.TABLESPACE: "file unchanged",
    Proof.DIGEST: "all rows read",
    Proof.MANIFEST: "all entries compared",
    Proof.ABSENCE: "looked for",
    Proof.NONE: "none",
}
CLASSES = (
    (ResourceClass.PROTECTED, "protected: gates a promotion, and is never overwritten"),
    (ResourceClass.PRESERVED, "preserved: never overwritten, does not gate"),
    (ResourceClass.MERGEABLE, "could not be read"),
)


@explained
def drift(
    target: Annotated[str, typer.Argument(metavar="SITE/ENV", help="The source environment.")],
    as_json: JsonOption = False,
    repo: RepoOption = None,
    config: ConfigOption = None,
) -> None:
    """Show what changed on production since ENV was copied from it, and what a promotion would do.

    Digests and samples are cut short here; --json has them whole.

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
    show(checks[0], target, entry.record)


def show(check: DriftCheckRecord, target: str, record: EnvironmentRecord | None = None) -> None:
    """Print one check."""
    for line in describe_check(check, target, record):
        out.print(line, markup=False)
    for protection, title in CLASSES:
        show_resources([item for item in check.resources if item.protection is protection], title)
    show_plan(check)
    show_source_only(check.merge.source_only_protected, target)
    if check.source_fingerprint:
        out.print(f"fingerprint of the source (for `pin`): {check.source_fingerprint}", markup=False)


def describe_check(check: DriftCheckRecord, target: str, record: EnvironmentRecord | None) -> Iterator[str]:
    """Say what a check says as a whole, and what makes it worth less than it looks."""
    yield f"{target} is {check.status} (checked {format_timestamp(check.checked_at)})"
    if check.reason:
        yield f"nothing is known: {check.reason}; next: pressluft refresh {target} --scope full"
    elif check.baseline_id:
        yield f"compared with baseline {check.baseline_id[:SHOWN_DIGITS]}"
    if record is not None and record.baseline_id not in {None, check.baseline_id} and not check.reason:
        yield f"since then the baseline has moved on; next: pressluft drift-check {target}"
    for item in check.schema_differences:
        yield f"table {item.table} is not defined alike on both sides, which blocks a promotion: {item.difference}"
    if check.pending_upgrade:
        yield f"pending: {check.pending_upgrade}"


def show_resources(resources: Iterable[ResourceVerdict], title: str) -> None:
    """Print one class of resources, what changed first; absent ones are only counted."""
    found = list(resources)
    there = [item for item in found if item.verdict is not Verdict.ABSENT]
    if not found:
        return
    absent = f" ({len(found) - len(there)} more were and are not there)" if len(there) < len(found) else ""
    out.print(f"\n{title}{absent}", markup=False)
    there.sort(key=lambda item: (item.verdict is Verdict.CLEAN, item.kind, item.name))
    print_table(
        ("RESOURCE", "KIND", "VERDICT", "PROOF", "BEFORE", "NOW", "WHAT DIFFERS"),
        (
            (
                item.name,
                item.kind,
                item.verdict,
                PROOFS[item.proof],
                shorten_digest(item.before),
                shorten_digest(item.after),
                shorten_samples(item.samples),
            )
            for item in there
        ),
    )


def show_plan(check: DriftCheckRecord) -> None:
    """Print what a promotion would do with what is mergeable."""
    rows = list(make_plan_rows(check))
    out.print("\na promotion would:", markup=False)
    if rows:
        print_table(("", "KIND", "NAME"), rows)
    out.print(f"leave {check.merge.unchanged} mergeable resources as they are", markup=False)


def make_plan_rows(check: DriftCheckRecord) -> Iterator[tuple[str, str, str]]:
    """Make the rows of what would be done with mergeable resources."""
    plan = check.merge
    groups = (
        ("CONFLICT", plan.conflicts),
        ("promote", plan.promoted),
        ("create", plan.created),
        ("delete", plan.deleted),
        ("keep production's", plan.kept),
    )
    for word, changes in groups:
        for change in changes:
            yield word, change.kind, change.name


def show_source_only(found: Iterable[SourceOnlyData], target: str) -> None:
    """Print what exists only on the source in protected data."""
    items = list(found)
    if not items:
        return
    out.print(
        f"\nonly on {target}, in protected data: does not go up, and a refresh takes it away", markup=False
    )
    rows = (
        (item.name, item.kind, item.count, shorten_samples(item.samples, of=item.count)) for item in items
    )
    print_table(("RESOURCE", "KIND", "HOW MANY", "WHICH"), rows)


def describe_source_only(item: SourceOnlyData) -> str:
    """Name protected data of the source alone in half a sentence."""
    return f"{item.name} ({item.count} {'entries' if item.kind == 'path' else 'rows'})"


def shorten_digest(digest: str | None) -> str:
    """Show as much of a digest as tells two apart by eye."""
    return (digest or "").rpartition(":")[2][:SHOWN_DIGITS]


def shorten_samples(samples: tuple[str, ...], *, of: int = 0) -> str:
    """Show the first samples and how many more there are."""
    more = max(of, len(samples)) - len(samples[:SHOWN_SAMPLES])
    return ", ".join(samples[:SHOWN_SAMPLES]) + (f" and {more} more" if more > 0 else "")
