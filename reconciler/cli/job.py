"""`pressluft jobs` and `pressluft job ID`: what was asked and what became of it, from git alone."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated
from uuid import UUID

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
    stop,
    watch_runs,
)
from reconciler.service import JobFilter, Service
from schemas.model import format_timestamp
from schemas.status import JobRecord


@explained
def jobs(
    site: Annotated[str, typer.Argument(help="Only this site.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 30,
    as_json: JsonOption = False,
    repo: RepoOption = None,
    config: ConfigOption = None,
) -> None:
    """List jobs, newest first.

    Example: pressluft jobs acme --limit 5
    """
    wanted = JobFilter(sites=frozenset({site}) if site else None)
    found = open_service(repo, config).list_jobs(wanted, limit=limit)
    if as_json:
        print_json(found)
        return
    print_table(
        ("JOB", "TYPE", "SITE", "STATUS", "CREATED", "WHAT"),
        (
            (
                str(item.id)[:8],
                item.job_type,
                item.site,
                item.status,
                format_timestamp(item.created_at),
                tell(item),
            )
            for item in found
        ),
    )


def tell(job: JobRecord) -> str:
    """Say in a few words why a job is where it is."""
    if job.error_code:
        return job.error_code
    return job.waiting_for[0].detail if job.waiting_for else job.summary or (job.reason or "")


@explained
def job(
    job_id: Annotated[str, typer.Argument(metavar="ID", help="The job's id, or the beginning of it.")],
    as_json: JsonOption = False,
    repo: RepoOption = None,
    config: ConfigOption = None,
) -> None:
    """Show one job; while a daemon of this machine runs it, how far it is as well.

    Example: pressluft job 3f9a
    """
    found = find_job(open_service(repo, config), job_id)
    if as_json:
        print_json(found)
        return
    for name, value in found.model_dump(mode="json", exclude_none=True).items():
        if value not in ([], "", None):
            out.print(f"{name:24}{value}", markup=False)
    if found.finished_at is None:
        for event in watch_runs(config)(found)[-1:]:
            out.print(f"{'progress':24}{event.text}", markup=False)


def find_job(service: Service, prefix: str) -> JobRecord:
    """Find the one job whose id begins like this."""
    with suppress(ValueError):
        return service.find_job(UUID(prefix))
    found = [item for item in service.list_jobs() if str(item.id).startswith(prefix.lower())]
    if len(found) == 1:
        return found[0]
    return stop(f"{'no job' if not found else 'several jobs'} with an id that begins with {prefix!r}")
