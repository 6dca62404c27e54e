"""`pressluft status [SITE[/ENV]]`: how things stand, from git alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

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
    to_plain,
)
from reconciler.core.hold import Hold
from reconciler.service import EnvironmentEntry
from schemas.model import format_timestamp


@explained
def status(
    target: Annotated[
        str, typer.Argument(metavar="[SITE[/ENV]]", help="Only this site or environment.")
    ] = "",
    as_json: JsonOption = False,
    repo: RepoOption = None,
    config: ConfigOption = None,
) -> None:
    """Show sites and environments with their state, drift and release.

    Example: pressluft status acme/staging
    """
    site, _, environment = target.partition("/")
    service = open_service(repo, config)
    entries = [
        entry
        for entry in service.list_environments()
        if (not site or entry.site.name == site)
        and (not environment or entry.environment.metadata.name == environment)
    ]
    holds = service.list_holds()
    if as_json:
        print_json([make_answer(entry, holds) for entry in entries])
        return
    print_table(
        ("ENVIRONMENT", "TYPE", "STATUS", "DRIFT", "CHECKED", "RELEASE", "URL"),
        (make_row(entry) for entry in entries),
    )
    if not entries:
        out.print("nothing there", markup=False)
    for name in ("", *sorted({entry.site.name for entry in entries})):
        for hold in holds.get(name, ()):
            out.print(describe(hold, where=name or "all sites"), markup=False)


def make_answer(entry: EnvironmentEntry, holds: Mapping[str, tuple[Hold, ...]]) -> dict[str, Any]:
    """Make the answer for programs: the record, else what people wrote, and what holds promotions up."""
    found = [
        {
            "place": hold.place,
            "reason": hold.reason,
            "ends_at": format_timestamp(hold.ends_at) if hold.ends_at else None,
        }
        for name in ("", entry.site.name)
        for hold in holds.get(name, ())
    ]
    known: dict[str, Any] = to_plain(entry.record or entry.environment)
    return {**known, "promotions_held": found}


def describe(hold: Hold, *, where: str) -> str:
    """Say what holds promotions up, and until when."""
    why = f" ({hold.reason})" if hold.reason else ""
    if hold.ends_at is None:
        return f"{where}: promotions are switched off in {hold.place}{why}, until somebody switches them on"
    return f"{where}: a freeze window of {hold.place} is open until {hold.ends_at:%Y-%m-%d %H:%M} UTC{why}"


def make_row(entry: EnvironmentEntry) -> tuple[object, ...]:
    """Make one row."""
    record, spec = entry.record, entry.environment.spec
    name = f"{entry.site.name}/{entry.environment.metadata.name}"
    if record is None:
        return (name, spec.type, "not met yet", "", "", "", spec.url)
    checked = format_timestamp(record.drift_checked_at) if record.drift_checked_at else ""
    drift = "" if spec.is_production else record.drift_status
    release = str(record.current_release_id)[:8] if record.current_release_id else ""
    return (name, spec.type, record.status, drift, checked, release, spec.url)
