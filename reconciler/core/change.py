"""The files of a plan: what is written under `status/`, each record in one place only."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.core.plan import Plan
from reconciler.core.world import StatusView
from schemas.document import dump
from schemas.status import StatusRecord, make_record_path

ENDED_FILE = "status/{site}/ended.txt"


def make_changes(plan: Plan, status: StatusView) -> Iterator[tuple[str, bytes | None]]:
    """Make the files of a plan: records, each in one place only, and the growing lists of ended jobs."""
    records: list[tuple[str, StatusRecord]] = [
        *((job.site, job) for job in plan.jobs.values()),
        *plan.environments.values(),
        *((site.name, site) for site in plan.sites.values()),
        *plan.records,
    ]
    files = {make_record_path(record, site=site): record for site, record in records}
    for record in files.values():
        yield from ((path, None) for path in status.paths.get(record.id, ()) if path not in files)
    yield from ((path, dump(record)) for path, record in files.items())
    yield from plan.files
    for site in sorted({job.site for job in plan.ended}):
        yield ENDED_FILE.format(site=site), make_ended_list(site, plan, status)


def make_ended_list(site: str, plan: Plan, status: StatusView) -> bytes:
    """Add the jobs that end now to the site's list, which never gets shorter (spec.md §1)."""
    ended = [
        *status.ended_by_site.get(site, ()),
        *(str(job.id) for job in plan.ended if job.site == site),
        *(str(file_id) for buried_in, file_id in plan.buried if buried_in == site),
    ]
    return "".join(f"{job_id}\n" for job_id in dict.fromkeys(ended)).encode()
