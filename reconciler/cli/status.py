"""`pressluft status [SITE[/ENV]]`: how things stand, from git alone."""

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
    print_table,
)
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
    entries = [
        entry
        for entry in open_service(repo, config).list_environments()
        if (not site or entry.site.name == site)
        and (not environment or entry.environment.metadata.name == environment)
    ]
    if as_json:
        print_json([entry.record or entry.environment for entry in entries])
        return
    print_table(
        ("ENVIRONMENT", "TYPE", "STATUS", "DRIFT", "CHECKED", "RELEASE", "URL"),
        (make_row(entry) for entry in entries),
    )
    if not entries:
        out.print("nothing there", markup=False)


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
