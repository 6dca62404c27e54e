"""What a job leaves behind in git: drift checks and backups, made from a node's answers (spec.md §1, §3)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from functools import lru_cache
from typing import TypeVar
from uuid import UUID, uuid5

from reconciler.core import backup
from reconciler.core.drift import decide_drift, decide_verdict
from reconciler.core.gate import bare_digest
from reconciler.core.merge import Merged, decide_merge
from reconciler.core.party import Parties
from schemas.document import dump, read_status
from schemas.fleet import Environment
from schemas.observation import BackupMade, Observation, ObservedResource, SourceOnly
from schemas.preset import Protection, resolve_protection
from schemas.state import (
    BackupScope,
    BackupStatus,
    MergeOutcome,
    Proof,
    ResourceClass,
    ResourceKind,
    StorageType,
    Verdict,
)
from schemas.status import (
    BackupRecord,
    DriftCheckRecord,
    JobRecord,
    MergePlan,
    Record,
    ResourceChange,
    ResourceVerdict,
    SchemaDifference,
    SourceOnlyData,
)

RecordT = TypeVar("RecordT", bound=Record)
STORAGES = {"s3": StorageType.S3, "sftp": StorageType.SFTP, "rest": StorageType.REST}


def find_protection(parties: Parties) -> Protection:
    """Unite what source and production protect; one side alone protects its own."""
    sides = [env for env in (parties.source, parties.production) if env is not None] or [parties.environment]
    return resolve_protection(sides[0], sides[-1])


def make_drift_record(job: JobRecord, parties: Parties, observation: Observation) -> DriftCheckRecord:
    """Make the immutable record of a live check. Needs a source and a production among the parties."""
    source, production = require(parties.source), require(parties.production)
    return DriftCheckRecord(
        id=uuid5(job.id, f"drift-check-{job.epoch}-{observation.id}"),
        status=decide_drift(observation),
        site=job.site,
        job_id=job.id,
        source_environment_id=source.metadata.id,
        target_environment_id=production.metadata.id,
        promotion_preset=source.spec.promotion_preset,
        baseline_id=observation.baseline.id if observation.baseline else None,
        reason=observation.baseline_refused,
        protection_digest=find_protection(parties).digest(),
        source_fingerprint=bare_digest(observation.source_fingerprint),
        checked_at=observation.taken_at,
        pending_upgrade=observation.pending_upgrade,
        schema_differences=tuple(
            SchemaDifference(table=item.table, difference=item.difference)
            for item in observation.schema_differences
        ),
        resources=tuple(make_verdicts(observation)),
        merge=make_merge_plan(decide_merge(observation), observation),
    )


def require(environment: Environment | None) -> Environment:
    """Return the environment; a job without it never comes here."""
    if environment is None:
        raise ValueError("this job has no such environment")
    return environment


def make_verdicts(observation: Observation) -> Iterable[ResourceVerdict]:
    """Make a verdict for each protected or preserved resource, and for what could not be read."""
    for resource in observation.resources:
        if resource.protection is ResourceClass.MERGEABLE and not resource.unreadable:
            continue
        yield make_verdict(resource, has_baseline=observation.baseline is not None)


def make_verdict(resource: ObservedResource, *, has_baseline: bool) -> ResourceVerdict:
    """Make one verdict with its proof and samples, never with content."""
    verdict = decide_verdict(resource, has_baseline=has_baseline)
    is_told = resource.kind is ResourceKind.TABLE or resource.protection is not ResourceClass.PRESERVED
    proof = {Verdict.UNKNOWN: Proof.NONE, Verdict.ABSENT: Proof.ABSENCE}.get(verdict, resource.proof)
    return ResourceVerdict(
        kind=resource.kind,
        name=resource.name,
        protection=resource.protection,
        verdict=verdict,
        proof=proof,
        before=resource.production_baseline if is_told else None,
        after=resource.production if is_told else None,
        samples=resource.samples,
    )


def make_merge_plan(merged: Iterable[Merged], observation: Observation) -> MergePlan:
    """List by outcome what a promotion would do."""
    items = tuple(merged)

    def listed(outcome: MergeOutcome) -> tuple[ResourceChange, ...]:
        return tuple(
            ResourceChange(kind=item.resource.kind, name=item.resource.name)
            for item in items
            if item.outcome is outcome
        )

    return MergePlan(
        promoted=listed(MergeOutcome.PROMOTED),
        created=listed(MergeOutcome.CREATED),
        deleted=listed(MergeOutcome.DELETED),
        kept=listed(MergeOutcome.KEPT),
        conflicts=listed(MergeOutcome.CONFLICT),
        unchanged=sum(item.outcome is MergeOutcome.UNCHANGED for item in items),
        source_only_protected=tuple(
            make_source_only(found, observation) for found in observation.source_only
        ),
    )


def make_source_only(found: SourceOnly, observation: Observation) -> SourceOnlyData:
    """List protected data that only the source has; the node names tables and folders alike."""
    paths = {resource.name for resource in observation.resources if resource.kind is ResourceKind.PATH}
    kind = ResourceKind.PATH if found.table in paths else ResourceKind.TABLE
    return SourceOnlyData(kind=kind, name=found.table, count=found.count, samples=found.samples)


def make_backup_record(
    job: JobRecord,
    made: BackupMade,
    *,
    environment: Environment,
    site_id: UUID,
    scope: BackupScope,
    retention: timedelta,
) -> BackupRecord:
    """Make the record of a backup that was read back, through its whole life."""
    pending = BackupRecord(
        id=uuid5(job.id, f"backup-{job.epoch}-{environment.metadata.id}"),
        status=BackupStatus.PENDING,
        site_id=site_id,
        environment_id=environment.metadata.id,
        job_id=job.id,
        backup_scope=scope,
        created_at=job.created_at,
    )
    running = backup.change(pending, backup.BackupEvent.STARTED, began_at=made.began_at)
    done = backup.change(
        running,
        backup.BackupEvent.READ_BACK,
        storage_type=STORAGES.get(made.repository.split(":", 1)[0], StorageType.LOCAL),
        storage_path=made.repository or None,
        checksum=bare_digest(made.snapshot_id),
        size_bytes=made.size_bytes,
        retention_until=made.ended_at + retention,
        completed_at=made.ended_at,
    )
    return check_record(done)


def check_record(record: RecordT) -> RecordT:
    """Return the record as it will be read back; what `model_copy` changed has never been looked at.

    Raises pydantic's `ValidationError` or `DocumentInvalid` for what the strict reader would refuse.
    """
    clean = type(record).model_validate(record.model_dump())
    prove_readable(clean)
    return clean


@lru_cache(maxsize=256)
def prove_readable(record: Record) -> None:
    """Write a record and read it again. Remembered: a live check is judged again on each pass while it is staged."""
    read_status(dump(record), path=f"{record.record_name}.yaml")
