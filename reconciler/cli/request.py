"""The commands that write an intent: promote, drift-check, backup, refresh, rollback, reset, cancel."""

from __future__ import annotations

import getpass
import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

import typer
from pydantic import ValidationError

from reconciler.cli.asking import Asking, requesting
from reconciler.cli.common import (
    EXIT_REFUSED,
    EXIT_USAGE,
    err,
    escape,
    out,
    print_json,
    split_target,
    stop,
    watch_runs,
)
from reconciler.cli.job import find_job
from reconciler.errors import Transient
from reconciler.request import make_cancel_name
from reconciler.service import Service, make_intent_name
from schemas.intent import (
    Backup,
    Cancel,
    CancelSpec,
    DriftCheck,
    Intent,
    Promotion,
    Refresh,
    Reset,
    Restore,
    Rollback,
)
from schemas.model import Metadata
from schemas.state import BackupScope, JobStatus, RefreshScope
from schemas.status import JobRecord

POLL_SECONDS = 0.2

Target = Annotated[str, typer.Argument(metavar="SITE/ENV")]
PatienceOption = Annotated[
    str | None, typer.Option("--patience", help="Stay queued this long while a gate is shut, such as 2h.")
]
NotBeforeOption = Annotated[datetime | None, typer.Option(help="Do not start before this UTC time.")]


@requesting
def promote(
    target: Annotated[str, typer.Argument(metavar="SITE/SOURCE", help="What to promote to its production.")],
    backup: Annotated[bool, typer.Option("--backup", help="Take the fresh backup first.")] = False,
    refresh: Annotated[bool, typer.Option("--refresh", help="Refresh protected data first.")] = False,
    pin: Annotated[str | None, typer.Option(help="Fingerprint of the source that was reviewed.")] = None,
    patience: PatienceOption = None,
    not_before: NotBeforeOption = None,
    *,
    asking: Asking,
) -> None:
    """Promote an environment to the production it was cloned from. The gates are judged live by the job.

    Example: pressluft promote acme/staging --reason "New checkout theme" --wait
    """
    site, source = split_target(target)
    service = asking.open()
    entry = service.find_named(site, source)
    spec = {
        "source": source,
        "target": entry.environment.spec.source or source,
        "backup": "create" if backup else None,
        "refresh": "protected" if refresh else None,
        "pin": pin,
        "wait": patience,
        "not_before": not_before.isoformat() + "Z" if not_before else None,
    }
    write(service, site, make(Promotion, spec, asking), asking)


@requesting
def drift_check(
    target: Target,
    *,
    asking: Asking,
) -> None:
    """Check whether production changed since ENV was copied from it.

    Example: pressluft drift-check acme/staging --wait
    """
    site, environment = split_target(target)
    intent = make(DriftCheck, {"environment": environment}, asking)
    write(asking.open(), site, intent, asking)


@requesting
def backup(
    target: Target,
    scope: Annotated[BackupScope, typer.Option(help="The backup gate asks for full.")] = BackupScope.FULL,
    *,
    asking: Asking,
) -> None:
    """Back an environment up and read the backup back.

    Example: pressluft backup acme/production --wait
    """
    site, environment = split_target(target)
    intent = make(Backup, {"environment": environment, "scope": scope}, asking)
    write(asking.open(), site, intent, asking)


@requesting
def refresh(
    target: Target,
    scope: Annotated[RefreshScope, typer.Option(help="full: a fresh copy.")] = RefreshScope.PROTECTED,
    anonymise: Annotated[bool, typer.Option(help="Run the node's anonymise script.")] = False,
    *,
    asking: Asking,
) -> None:
    """Pull production's data down into ENV and take the new baseline.

    Example: pressluft refresh acme/staging --wait
    """
    site, environment = split_target(target)
    spec = {"environment": environment, "scope": scope, "anonymise": anonymise}
    write(asking.open(), site, make(Refresh, spec, asking), asking)


@requesting
def rollback(
    target: Target,
    overwrite: Annotated[
        list[str] | None, typer.Option(help="Promoted resource whose later writes may be lost; repeatable.")
    ] = None,
    *,
    asking: Asking,
) -> None:
    """Put production's previous release and tables back.

    Example: pressluft rollback acme/production --wait
    """
    site, environment = split_target(target)
    spec = {"environment": environment, "overwrite": overwrite or []}
    write(asking.open(), site, make(Rollback, spec, asking), asking)


@requesting
def restore(
    target: Target,
    backup_id: Annotated[
        str, typer.Option("--backup", metavar="ID", help="One of its completed full backups.")
    ],
    *,
    asking: Asking,
) -> None:
    """Put ENV back to one of its own backups: tables, code and uploads. What is there is backed up first.

    Example: pressluft restore acme/production --backup BACKUP_ID --wait
    """
    site, environment = split_target(target)
    intent = make(Restore, {"environment": environment, "backup_id": backup_id}, asking)
    write(asking.open(), site, intent, asking)


@requesting
def reset(
    target: Annotated[str, typer.Argument(metavar="SITE[/ENV]", help="What failed; a site is all of it.")],
    *,
    asking: Asking,
) -> None:
    """Bring a failed environment back: what is half done is finished or undone, then it must prove healthy.

    Example: pressluft reset acme/production --wait
    """
    site, environment = split_target(target) if "/" in target else (target, None)
    intent = make(Reset, {"environment": environment}, asking)
    write(asking.open(), site, intent, asking)


@requesting
def cancel(
    job_id: Annotated[str, typer.Argument(metavar="JOB", help="The job's id, or the beginning of it.")],
    *,
    asking: Asking,
) -> None:
    """Cancel a job; once its cut-over has begun it is seen through.

    Example: pressluft cancel JOB_ID --wait
    """
    service = asking.open()
    job = find_job(service, job_id)
    spec = CancelSpec(job_id=job.id, reason=asking.reason, actor=getpass.getuser())
    service.request(job.site, Cancel(metadata=Metadata(name=make_cancel_name(job.id)), spec=spec))
    found = follow(service, job.id, asking) if asking.wait else service.find_job(job.id)
    if asking.as_json:
        print_json(found)
    else:
        out.print(f"job {job.id} is {found.status}", markup=False)
    if asking.wait and found.status is not JobStatus.CANCELLED:
        raise typer.Exit(EXIT_REFUSED)


def make(model: type[Any], spec: dict[str, Any], asking: Asking) -> Intent:
    """Make an intent of this person's; what was not given is left out."""
    given = {name: value for name, value in spec.items() if value is not None}
    name = make_intent_name(model.__name__, now=datetime.now().astimezone())
    try:
        intent: Intent = model(
            metadata=Metadata(name=name), spec={**given, "reason": asking.reason, "actor": getpass.getuser()}
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        stop(f"{'.'.join(map(str, first['loc'][1:]))}: {first['msg']}", code=EXIT_USAGE)
    return intent


def write(service: Service, site: str, intent: Intent, asking: Asking) -> None:
    """Commit the intent, say which job it is, and follow it if wanted; exit 1 if the job does not succeed."""
    job_id = service.request(site, intent)
    if not asking.wait:
        print_json({"job_id": str(job_id)}) if asking.as_json else out.print(
            f"job {job_id} is queued", markup=False
        )
        return
    job = follow(service, job_id, asking)
    if asking.as_json:
        print_json(job)
    elif job.status is JobStatus.SUCCEEDED:
        out.print(f"{job.status}: {job.summary}", markup=False)
    else:
        err.print(f"{job.status}: {job.error_code or ''} {job.error_message or job.summary}", markup=False)
    if job.status is not JobStatus.SUCCEEDED:
        raise typer.Exit(EXIT_REFUSED)


def follow(service: Service, job_id: UUID, asking: Asking) -> JobRecord:
    """Follow a job until it ends: a line that changes on a terminal, a line for each news elsewhere."""
    began, find_progress = time.monotonic(), watch_runs(asking.config)
    told: Counter[int] = Counter()  # lines, by epoch: another claim begins anew
    with err.status("queued") as display:  # shows nothing where there is no terminal
        while True:
            job = look_again(service, job_id)
            if job is not None and job.finished_at is not None:
                return job
            if job is not None:
                lines = [event.text for event in find_progress(job)]
                display.update(escape(f"{tell_stand(job, lines)} ({make_span(began)})"))
                for line in lines[told[job.epoch] :] if not err.is_terminal else ():
                    err.print(line, markup=False)
                told[job.epoch] = max(told[job.epoch], len(lines))
            time.sleep(POLL_SECONDS)


def tell_stand(job: JobRecord, lines: Sequence[str]) -> str:
    """Say in a line where a job stands: what it waits for, or how far it is."""
    waiting = job.waiting_for[0].detail if job.waiting_for else ""
    detail = lines[-1] if lines else waiting
    return f"{job.status}: {detail}" if detail else str(job.status)


def make_span(began: float) -> timedelta:
    """Return the time since then, in whole seconds."""
    return timedelta(seconds=int(time.monotonic() - began))


def look_again(service: Service, job_id: UUID) -> JobRecord | None:
    """Find the job, `None` while the repo cannot be reached."""
    try:
        return service.find_job(job_id)
    except Transient:
        return None
