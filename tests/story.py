"""A small fleet, a fake node and a clock that tests advance: what reconciler tests are written in."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

from reconciler.core.variables import NodeFolders
from reconciler.core.world import StatusView
from reconciler.index import Index
from reconciler.observe import Observer
from reconciler.ports import FleetRepo, Json, RunOutcome, RunSpec, RunState
from reconciler.reconcile import PassReport, run_pass
from reconciler.service import Service
from reconciler.shelf import Kind
from reconciler.worker import Reconciler
from schemas.status import BackupRecord, EnvironmentRecord, JobRecord
from tests.fake_runner import FakePlaybookRunner
from tests.fakes import FakeFleetRepo

SPACE = UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
SITE_ID, NODE_ID = uuid5(SPACE, "acme"), uuid5(SPACE, "web-1")
PRODUCTION_ID, STAGING_ID = uuid5(SPACE, "production"), uuid5(SPACE, "staging")
START = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
BASELINE = "0" * 64
CLEAN, CHANGED = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def make_environment(name: str, env_id: UUID, *, source: str = "null", extra: str = "") -> str:
    """Write an environment's file."""
    kind = "production" if name == "production" else "staging"
    return f"""\
apiVersion: pressluft/v1
kind: Environment
metadata: {{name: {name}, id: {env_id}}}
spec:
  type: {kind}
  node: web-1
  source: {source}
  url: https://{name}.acme.test
  root: /srv/acme/{name}
  database: {{name: acme_{name}}}
{extra}"""


def make_site_files(site: str = "acme", site_id: UUID = SITE_ID) -> dict[str, str]:
    """Write a site's files, without environments."""
    return {
        f"sites/{site}/site.yaml": "apiVersion: pressluft/v1\nkind: Site\n"
        f"metadata: {{name: {site}, id: {site_id}}}\nspec: {{}}\n"
    }


def make_fleet_files(policy: str = "{}") -> dict[str, str]:
    """Write a fleet of one node and one site with production and staging."""
    return {
        "pressluft.yaml": f"apiVersion: pressluft/v1\nkind: Fleet\nmetadata: {{name: pressluft}}\nspec: {policy}\n",
        "nodes/web-1.yaml": "apiVersion: pressluft/v1\nkind: Node\n"
        f"metadata: {{name: web-1, id: {NODE_ID}}}\nspec: {{host: localhost}}\n",
        **make_site_files(),
        "sites/acme/environments/production.yaml": make_environment("production", PRODUCTION_ID),
        "sites/acme/environments/staging.yaml": make_environment("staging", STAGING_ID, source="production"),
    }


def make_intent(kind: str, name: str, spec: str) -> tuple[str, str]:
    """Write an intent's path and file."""
    text = f"apiVersion: pressluft/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n"
    return f"intents/acme/{name}.yaml", text


def make_resource(name: str, *, kind: str = "table", protection: str = "protected", **digests: Json) -> Json:
    """Make one observed resource that is clean unless said otherwise."""
    both = {"production": CLEAN, "production_baseline": CLEAN, "source": CLEAN, "source_baseline": CLEAN}
    return {"kind": kind, "name": name, "protection": protection, **both, **digests}


@dataclass
class FakeClock:
    """A clock that only moves when told to."""

    at: datetime = START

    def now(self) -> datetime:
        """Return the told time."""
        return self.at

    def advance(self, **units: float) -> None:
        """Move on."""
        self.at += timedelta(**units)


@dataclass
class Node:
    """What the fake node answers; tests change it."""

    clock: FakeClock
    resources: list[Json] = field(
        default_factory=lambda: [make_resource("posts"), make_resource("wp-content/uploads", kind="path")]
    )
    baseline: bool = True
    backup_age: timedelta = timedelta(0)
    backup_valid: bool = True
    last_change_at: datetime | None = None
    overrides: dict[str, RunOutcome] = field(default_factory=dict)
    began: int = 0
    resumed: str = ""
    """The job whose cut-over a reset brings to its end."""

    def stamp(self, moment: datetime) -> str:
        """Write a time."""
        return moment.isoformat().replace("+00:00", "Z")

    def report(self, **fields: Json) -> dict[str, Json]:
        """Make the `node` part of an answer."""
        changed = self.stamp(self.last_change_at) if self.last_change_at else None
        return {"status": "active", "epoch": 1, "last_change_at": changed, **fields}

    def observation(self) -> dict[str, Json]:
        """Make the observation."""
        return {
            "id": "observation-1",
            "taken_at": self.stamp(self.clock.now()),
            "baseline": {"id": BASELINE, "taken_at": self.stamp(START)} if self.baseline else None,
            "source_fingerprint": "sha256:" + "c" * 64,
            "resources": copy.deepcopy(self.resources),
        }

    def answer(self, spec: RunSpec) -> RunOutcome:
        """Answer a run."""
        if spec.step in self.overrides:
            return self.overrides[spec.step]
        return RunOutcome(RunState.SUCCEEDED, {**self.make_result(spec), "node": self.report()}, rc=0)

    def make_result(self, spec: RunSpec) -> dict[str, Json]:
        """Make what the step's modules return."""
        now = self.clock.now()
        if spec.step.startswith("check") or spec.step == "verify":
            word: Json = {
                "snapshot_id": "f" * 64,
                "began_at": self.stamp(now - self.backup_age - timedelta(minutes=1)),
                "ended_at": self.stamp(now - self.backup_age),
                "last_change_at": None,
                "valid": self.backup_valid,
                "reason": "" if self.backup_valid else "the snapshot is not in the storage any more",
            }
            return {"observation": self.observation(), "backup": word}
        if spec.step in ("backup", "backup-1"):
            made: Json = {
                "snapshot_id": "f" * 64,
                "began_at": self.stamp(now),
                "ended_at": self.stamp(now),
                "size_bytes": 1,
                "repository": "/backups",
            }
            return {"backup": made}
        if spec.step in {"cut_over", "rollback"}:
            self.last_change_at = now
        if spec.step.startswith("reset"):
            resumed: list[Json] = [self.resumed] if self.resumed else []
            return {
                "reset": {"release": self.resumed or "first", "resumed": resumed},
                "health": {"healthy": True},
            }
        if spec.step == "cleanup":
            request = spec.variables["pressluft_request"]
            return {"cleanup": {"forgotten": request["expired"]}}  # type: ignore[index,call-overload]
        return {}


def list_recorded(repo: FleetRepo) -> list[JobRecord]:
    """List all jobs that have a record, in no order."""
    index = Index(repo)
    index.update(repo.fetch(), now=START)
    found = [index.read_record(leaf, JobRecord) for leaf in index.shelf.leaves[Kind.JOBS].values()]
    return [job for job in found if job is not None]


class Story:
    """A reconciler over fakes, driven step by step."""

    def __init__(
        self,
        policy: str = "{}",
        *,
        repo: FakeFleetRepo | None = None,
        make_node: Callable[[FakeClock], Node] | None = None,
    ) -> None:
        self.clock = FakeClock()
        self.node = (make_node or Node)(self.clock)
        self.repo = repo or FakeFleetRepo()
        self.runner = self.make_runner()
        self.commit(make_fleet_files(policy))
        self.reconciler = self.make_reconciler("worker-1")
        self.service = Service(self.repo, self.clock)

    def make_runner(self) -> FakePlaybookRunner:
        """Make a runner that knows of no run yet."""
        runner = self.create_runner()
        for step in STEPS:
            runner.answer(step, self.node.answer)
        return runner

    def create_runner(self) -> FakePlaybookRunner:
        """Make the runner; another kind of story has another."""
        return FakePlaybookRunner(now=self.clock.now)

    def restart(self, *, fresh_runner: bool = False) -> None:
        """Start the daemon again, with or without the folder in which it keeps its runs."""
        self.runner = self.make_runner() if fresh_runner else self.runner
        self.reconciler = self.make_reconciler(self.reconciler.worker)

    def make_reconciler(self, worker: str, *, on_step: Callable[[str], None] = lambda _: None) -> Reconciler:
        """Make another daemon on the same repo."""
        return Reconciler(
            repo=self.repo,
            runner=self.runner,
            on_step=on_step,
            clock=self.clock,
            observer=Observer(self.repo),
            worker=worker,
            max_jobs=4,
            folders=NodeFolders("/state", "/etc/pressluft"),
        )

    def commit(self, files: Mapping[str, str | None]) -> None:
        """Commit files as a person."""
        self.repo.commit_as_person(
            {path: text.encode() if text is not None else None for path, text in files.items()}
        )

    def intend(self, kind: str, name: str, spec: str) -> None:
        """Commit an intent as a person."""
        path, text = make_intent(kind, name, spec)
        self.commit({path: text})

    def run(self) -> PassReport:
        """Let the daemon look, and let a second pass by."""
        report = run_pass(self.reconciler)
        self.clock.advance(seconds=2)
        return report

    def back_up(self) -> None:
        """Have a fresh full backup of production on record."""
        self.intend("Backup", f"backup-{self.clock.now():%H%M%S}", "{environment: production}")
        self.run()

    def promote(
        self, name: str = "release", spec: str = "{source: staging, target: production}"
    ) -> JobRecord:
        """Commit a promotion, run, and return its job."""
        self.intend("Promotion", name, spec)
        self.run()
        return self.job(name)

    def job(self, name: str) -> JobRecord:
        """Find a job on record by its intent's name."""
        return next(job for job in self.list_recorded() if job.intent_name == name)

    def list_recorded(self) -> list[JobRecord]:
        """List the jobs on record, newest first."""
        jobs = list_recorded(self.repo)
        return sorted(jobs, key=lambda job: (job.created_at, str(job.id)), reverse=True)

    def see(self) -> StatusView:
        """Read what is on record, whether or not its environment is in the fleet."""
        return Observer(self.repo).read_status(self.repo.fetch().status)

    def list_backups(self) -> list[BackupRecord]:
        """List the backups on record, those that have expired among them, oldest first."""
        index = Index(self.repo)
        index.update(self.repo.fetch(), now=START)
        leaves = index.shelf.leaves[Kind.BACKUPS].values()
        found = [record for leaf in leaves if (record := index.read_record(leaf, BackupRecord)) is not None]
        return sorted(found, key=lambda backup: backup.created_at)

    def environment(self, env_id: UUID = PRODUCTION_ID) -> EnvironmentRecord:
        """Find an environment's record."""
        record = self.service.find_environment(env_id).record
        assert record is not None
        return record

    def steps(self, name: str) -> list[str]:
        """List the steps that were started for a job."""
        job_id = self.job(name).id
        return [spec.step for spec in self.runner.started if spec.job_id == job_id]


STEPS = (
    "probe",
    "backup",
    "backup-1",
    "refresh",
    "check",
    "stage",
    "cut_over",
    "rollback",
    "cleanup",
    "verify",
    "discard",
    "check-1",
    "check-2",
    "check-3",
    "refresh-1",
    "refresh-2",
    "refresh-3",
    "reset-1",
    "reset-2",
)
