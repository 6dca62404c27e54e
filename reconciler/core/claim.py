"""Whose turn it is: one running job per site and on every node it touches, fair across sites (spec.md §5)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from schemas.state import JobStatus
from schemas.status import JobRecord, SiteRecord

LONGEST_PAUSE = timedelta(minutes=5)
NEVER = datetime.min.replace(tzinfo=UTC)
Key = tuple[str, str | UUID | None]


def order_by_turn(jobs: Iterable[JobRecord], sites: Mapping[UUID, SiteRecord]) -> Sequence[JobRecord]:
    """Order queued jobs: the site that was not served for longest first, and within a site the oldest.

    A site's record is touched whenever one of its jobs starts, so a site with many jobs takes turns with the others.
    """
    served = {site.name: site.updated_at for site in sites.values()}
    return sorted(
        jobs,
        key=lambda job: (served.get(job.site, NEVER), job.created_at, job.intent_path or "", str(job.id)),
    )


def find_site_key(job: JobRecord) -> Key:
    """Return what a job holds of its site while it runs."""
    return "site", job.site


def find_keys(job: JobRecord) -> frozenset[Key]:
    """Return all that a running job holds: its site and every node it touches, taken together or not at all."""
    nodes = (job.node_id or job.site, *job.other_node_ids)
    return frozenset({find_site_key(job), *(("node", node) for node in nodes)})


def is_held_by(job: JobRecord, *, worker: str, instance: UUID | None) -> bool:
    """Whether a job is held by this very daemon: another one may have been given the same name by mistake."""
    return job.locked_by == worker and job.locked_instance in {None, instance}


def is_namesake(job: JobRecord, *, worker: str, instance: UUID | None) -> bool:
    """Whether a running job is held by another daemon of our name."""
    is_running = job.status is JobStatus.RUNNING and job.locked_by == worker
    return is_running and not is_held_by(job, worker=worker, instance=instance)


def is_due(job: JobRecord, *, now: datetime) -> bool:
    """Whether a queued job's time has come."""
    return job.status is JobStatus.QUEUED and is_awake(job, now=now)


def is_awake(job: JobRecord, *, now: datetime) -> bool:
    """Whether the time that a job waits for has come.

    A job that ran before waits minutes, never longer: what is further away was written before the clock was put back.
    """
    if job.run_after is None or job.run_after <= now:
        return True
    return job.epoch > 0 and job.run_after > now + LONGEST_PAUSE
