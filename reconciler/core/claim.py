"""Which queued jobs may start: one running job per site and on every node it touches (spec.md §5)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from schemas.state import JobStatus
from schemas.status import JobRecord


def choose_startable(
    ready: Iterable[JobRecord], running: Sequence[JobRecord], *, max_jobs: int
) -> Sequence[JobRecord]:
    """Choose, oldest first, the jobs that find their site and node free; each choice takes them."""
    held = {key for job in running for key in find_keys(job)}
    room = max_jobs - len(running)
    chosen: list[JobRecord] = []
    for job in sorted(ready, key=lambda item: (item.created_at, item.intent_path or "", str(item.id))):
        if len(chosen) >= room:
            break
        keys = find_keys(job)
        if not keys & held:
            chosen.append(job)
            held |= keys
    return chosen


def find_keys(job: JobRecord) -> frozenset[tuple[str, str | UUID]]:
    """Return what a job holds while it runs: its site and its node, taken together or not at all."""
    node: frozenset[tuple[str, str | UUID]] = frozenset({("node", job.node_id)} if job.node_id else ())
    return node | {("site", job.site)}


def is_due(job: JobRecord, *, now: datetime) -> bool:
    """Whether a queued job's time has come."""
    return job.status is JobStatus.QUEUED and (job.run_after is None or job.run_after <= now)
