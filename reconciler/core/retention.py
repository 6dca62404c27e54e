"""Which backups have had their time, and the job that forgets them: every 6 h, asked for by nobody (spec.md §7)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID, uuid5

from reconciler.core import backup as life
from reconciler.core.flow import End, Flow, JobView, Step, read_answer
from reconciler.core.job import Succeeded
from reconciler.core.world import World
from reconciler.ports import Json
from schemas.fleet import Environment
from schemas.intent import Backup, BackupSpec, Intent
from schemas.model import Metadata
from schemas.observation import CleanupMade
from schemas.state import BackupScope, BackupStatus, JobStatus, JobType
from schemas.status import BackupRecord, EnvironmentRecord, JobRecord

PLAYBOOK, STEP = "backup-cleanup", "cleanup"
INTERVAL: Final = timedelta(hours=6)
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def find_expired(
    backups: Iterable[BackupRecord],
    *,
    environment: EnvironmentRecord,
    relied_on: frozenset[UUID],
    now: datetime,
) -> tuple[BackupRecord, ...]:
    """Find the backups of an environment that may be forgotten, oldest first.

    Never its newest full one, nor one that is `relied_on`, nor the one behind a release that is kept.
    """
    own = [
        backup
        for backup in backups
        if backup.environment_id == environment.id and backup.status is BackupStatus.COMPLETED
    ]
    kept = {*relied_on, *find_last_full(own)}
    if environment.previous_release_id is not None and environment.last_change_at is not None:
        kept |= find_last_full(own, before=environment.last_change_at)
    expired = (
        backup
        for backup in own
        if backup.retention_until is not None and backup.retention_until <= now and backup.id not in kept
    )
    return tuple(sorted(expired, key=lambda backup: (backup.created_at, str(backup.id))))


def find_last_full(own: Iterable[BackupRecord], *, before: datetime | None = None) -> set[UUID]:
    """Find the newest full backup, or the newest that began before a moment; empty where there is none."""
    full = [
        backup
        for backup in own
        if backup.backup_scope is BackupScope.FULL
        and backup.began_at is not None
        and (before is None or backup.began_at < before)
    ]
    newest = max(full, key=lambda backup: backup.began_at or backup.created_at, default=None)
    return {newest.id} if newest else set()


def find_relied_on(world: World, own: Iterable[BackupRecord]) -> frozenset[UUID]:
    """Find, of an environment's own backups, those that jobs which have not ended would restore, or took."""
    jobs = world.status.jobs
    named = {job.backup_id for job in jobs.values() if job.backup_id is not None}
    return frozenset(named | {backup.id for backup in own if backup.job_id in jobs})


def find_due_cleanups(world: World) -> Iterator[JobRecord]:
    """Make a queued job for each environment with expired backups that had none in this slot of 6 h.

    The id is that of the environment and the slot, so that several daemons make one job, and a failed one is tried
    again in the next slot.
    """
    backups = find_due(world)
    for site in world.fleet.sites.values() if backups else ():
        if site.document is None:
            continue
        for environment in site.environments.values():
            known = world.status.environments.get(environment.metadata.id)
            job_id = make_job_id(environment.metadata.id, now=world.now)
            own = backups.get(environment.metadata.id, ())
            if known is None or not own or job_id in world.status.jobs:
                continue
            if world.status.has_ended(job_id, site=site.name):
                continue
            relied_on = find_relied_on(world, own)
            if find_expired(own, environment=known, relied_on=relied_on, now=world.now):
                yield make_job(
                    environment, job_id, site=site.name, site_id=site.document.metadata.id, world=world
                )


def find_due(world: World) -> Mapping[UUID, tuple[BackupRecord, ...]]:
    """Find the backups of those environments that have one past its time: mostly none, in a large fleet."""
    return {
        env_id: own
        for env_id, own in world.status.backups.items()
        if any(one.retention_until is not None and one.retention_until <= world.now for one in own)
    }


def make_job_id(environment_id: UUID, *, now: datetime) -> UUID:
    """Make the id of an environment's cleanup in the slot of 6 h that a moment lies in."""
    return uuid5(environment_id, f"backup-cleanup {(now - EPOCH) // INTERVAL}")


def make_job(environment: Environment, job_id: UUID, *, site: str, site_id: UUID, world: World) -> JobRecord:
    """Make the queued job; it has no intent, since nobody asked for it."""
    node = world.fleet.nodes.get(environment.spec.node)
    return JobRecord(
        id=job_id,
        status=JobStatus.QUEUED,
        job_type=JobType.BACKUP_CLEANUP,
        site=site,
        site_id=site_id,
        environment_id=environment.metadata.id,
        node_id=node.metadata.id if node else None,
        created_at=world.now,
        updated_at=world.now,
    )


def make_stand_ins(world: World, jobs: Iterable[JobRecord]) -> Mapping[UUID, Intent]:
    """Say by an intent that is written nowhere which environment a cleanup is about."""
    names = {
        env.metadata.id: env.metadata.name
        for site in world.fleet.sites.values()
        for env in site.environments.values()
    }
    return {
        job.id: Backup(
            metadata=Metadata(name=PLAYBOOK), spec=BackupSpec(environment=names[job.environment_id])
        )
        for job in jobs
        if job.job_type is JobType.BACKUP_CLEANUP and job.environment_id in names
    }


def make_cleanup_flow(view: JobView) -> Flow:
    """Forget and prune on the node; a record becomes `expired` once the node says that its snapshot is gone."""
    own = view.world.status.backups.get(view.parties.environment.metadata.id, ())
    step = Step(
        STEP,
        PLAYBOOK,
        view.world.fleet.fleet.spec.timeouts.backup_cleanup,
        request=lambda: {
            "expired": list_snapshots(find_own_expired(view, relied_on=find_relied_on(view.world, own)))
        },
    )

    def finish() -> End:
        made = read_answer(view.outcomes[STEP], "cleanup", CleanupMade)
        # Whatever came to rely on one meanwhile: what is gone is gone.
        due = find_own_expired(view, relied_on=frozenset())
        gone = [record for record in due if record.checksum in set(made.forgotten)]
        records = tuple(life.change(record, life.BackupEvent.EXPIRED) for record in gone)
        name = f"{view.parties.site.metadata.name} {view.parties.environment.metadata.name}"
        summary = f"backup cleanup forgot {len(records)} of {name}"
        return End(Succeeded(view.now, summary=summary), records=records, fields={"step": STEP})

    return Flow((step,), finish=finish)


def find_own_expired(view: JobView, *, relied_on: frozenset[UUID]) -> tuple[BackupRecord, ...]:
    """Find what this job's environment may do without, now."""
    record = view.world.status.environments.get(view.parties.environment.metadata.id)
    if record is None:
        return ()
    own = view.world.status.backups.get(record.id, ())
    return find_expired(own, environment=record, relied_on=relied_on, now=view.now)


def list_snapshots(backups: Iterable[BackupRecord]) -> list[Json]:
    """List the snapshots' ids."""
    return [backup.checksum for backup in backups if backup.checksum is not None]
