"""A fleet repo of any size with a history, made through `git fast-import`, so that it is packed as a real one is."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid5

from schemas.document import dump
from schemas.fleet import Database, Environment, EnvironmentSpec, Fleet, Node, NodeSpec, Site, SiteSpec
from schemas.model import IdentifiedMetadata, Metadata
from schemas.state import (
    BackupScope,
    BackupStatus,
    EnvironmentType,
    ErrorCode,
    IntentKind,
    JobStatus,
    JobType,
)
from schemas.status import (
    BackupRecord,
    EnvironmentRecord,
    JobRecord,
    SiteRecord,
    make_record_path,
)

SPACE = UUID("3c6e2a52-9f0b-4b63-8a2c-5d1f8e7a6b01")
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
REFUSAL = (
    "production changed since staging was last refreshed: comments. Next: refresh first, then promote again."
)


@dataclass(frozen=True)
class BigFleet:
    """Where the repo is, and what may be asked of it."""

    path: Path
    environments: tuple[UUID, ...]
    jobs: tuple[UUID, ...]


def make_big_fleet(
    folder: Path, *, sites: int, jobs: int, days: int = 300, nodes: int = 20, seed: int = 1
) -> BigFleet:
    """Make a bare repo with two environments a site and that many ended jobs over that many days."""
    chance = random.Random(seed)
    bare = folder / "fleet.git"
    files = dict(list_documents(sites=sites, nodes=nodes))
    ended: dict[str, list[UUID]] = {}
    for number in range(jobs):
        site = f"site-{chance.randrange(sites):04d}"
        created = BEGINNING + timedelta(seconds=days * 86_400 * number / jobs)
        job = make_job(number, site, created)
        files[make_record_path(job, site=site)] = dump(job)
        if number % 20 == 0:
            backup = make_backup(job)
            files[make_record_path(backup, site=site)] = dump(backup)
        ended.setdefault(site, []).append(job.id)
    for site, ids in ended.items():
        files[f"status/{site}/ended.txt"] = "".join(f"{job_id}\n" for job_id in ids).encode()
    import_files(bare, files)
    environments = [
        uuid5(SPACE, f"site-{i:04d}/{name}") for i in range(sites) for name in ("production", "staging")
    ]
    return BigFleet(bare, tuple(environments), tuple(job for ids in ended.values() for job in ids))


def identify(name: str) -> IdentifiedMetadata:
    return IdentifiedMetadata(name=name.rpartition("/")[2], id=uuid5(SPACE, name))


def list_documents(*, sites: int, nodes: int) -> Iterator[tuple[str, bytes]]:
    yield "pressluft.yaml", dump(Fleet(metadata=Metadata(name="pressluft")))
    for number in range(nodes):
        name = f"node-{number:02d}"
        spec = NodeSpec(host=f"{name}.example.org")
        yield f"nodes/{name}.yaml", dump(Node(metadata=identify(name), spec=spec))
    for number in range(sites):
        site = f"site-{number:04d}"
        document = Site(metadata=identify(site), spec=SiteSpec(display_name=f"Site {number}"))
        yield f"sites/{site}/site.yaml", dump(document)
        for kind in (EnvironmentType.PRODUCTION, EnvironmentType.STAGING):
            environment = make_environment(site, kind, node=f"node-{number % nodes:02d}")
            yield f"sites/{site}/environments/{kind.value}.yaml", dump(environment)
            record = EnvironmentRecord(
                id=environment.metadata.id,
                name=kind.value,
                site_id=document.metadata.id,
                created_at=BEGINNING,
                updated_at=BEGINNING,
            )
            yield make_record_path(record, site=site), dump(record)
        met = SiteRecord(id=document.metadata.id, name=site, created_at=BEGINNING, updated_at=BEGINNING)
        yield make_record_path(met, site=site), dump(met)


def make_environment(site: str, kind: EnvironmentType, *, node: str) -> Environment:
    is_production = kind is EnvironmentType.PRODUCTION
    return Environment(
        metadata=identify(f"{site}/{kind.value}"),
        spec=EnvironmentSpec(
            type=kind,
            node=node,
            source=None if is_production else "production",
            url=f"https://{kind.value}.{site}.example.org",
            root=f"/srv/www/{site}/{kind.value}",
            database=Database(name=f"{site}_{kind.value}".replace("-", "_")),
        ),
    )


def make_job(number: int, site: str, created: datetime) -> JobRecord:
    failed = number % 5 == 0
    environment = uuid5(SPACE, f"{site}/production")
    return JobRecord(
        id=uuid5(SPACE, f"job {number}"),
        status=JobStatus.FAILED if failed else JobStatus.SUCCEEDED,
        job_type=JobType.ENV_PROMOTE if number % 2 else JobType.BACKUP_CREATE,
        summary="" if failed else f"promotion succeeded: {site} staging -> production",
        site=site,
        site_id=uuid5(SPACE, site),
        environment_id=environment,
        source_environment_id=uuid5(SPACE, f"{site}/staging"),
        node_id=uuid5(SPACE, "node-00"),
        intent_kind=IntentKind.PROMOTION if number % 2 else IntentKind.BACKUP,
        intent_path=f"intents/{site}/release-{number}.yaml",
        intent_name=f"release-{number}",
        intent_blob_id=f"{number:040x}",
        actor="admin (REST)",
        reason="It's the weekly release: theme & plugins",
        epoch=1,
        attempt_count=1,
        locked_at=created,
        locked_by="worker-1",
        claimed_commit=f"{number:040x}",
        started_at=created,
        finished_at=created + timedelta(seconds=40),
        error_code=ErrorCode.DRIFT_GATE_UNMET if failed else None,
        error_message=f"{REFUSAL}\n{REFUSAL}" if failed else None,
        created_at=created,
        updated_at=created + timedelta(seconds=40),
    )


def make_backup(job: JobRecord) -> BackupRecord:
    assert job.environment_id is not None
    assert job.site_id is not None
    return BackupRecord(
        id=uuid5(job.id, "backup"),
        status=BackupStatus.COMPLETED,
        site_id=job.site_id,
        environment_id=job.environment_id,
        job_id=job.id,
        backup_scope=BackupScope.FULL,
        storage_path="/srv/backups",
        checksum="f" * 64,
        size_bytes=123_456_789,
        retention_until=job.created_at + timedelta(days=30),
        created_at=job.created_at,
        began_at=job.created_at,
        completed_at=job.created_at + timedelta(minutes=2),
    )


def import_files(bare: Path, files: dict[str, bytes]) -> None:
    """Make a bare repo whose first commit has all files."""
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", str(bare)], check=True)
    with subprocess.Popen(
        ["git", "-C", str(bare), "fast-import", "--quiet"], stdin=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        stream = process.stdin
        stream.write(
            b"commit refs/heads/main\ncommitter Bench <bench@example.org> 1767225600 +0000\ndata 5\nfleet\n"
        )
        for path, data in files.items():
            stream.write(f"M 100644 inline {path}\ndata {len(data)}\n".encode() + data + b"\n")
    assert process.returncode == 0
