"""The generated parts of `docs/reference/job-types.md`, from the very flows that the planner walks.

A small fleet that exists nowhere else is promoted, refreshed and so on in memory, and the steps are listed. Nothing
is started: a flow is data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final
from uuid import UUID, uuid5

from reconciler.core import environment as life
from reconciler.core.flow import Flow, JobView
from reconciler.core.kind import make_flow
from reconciler.core.party import Parties, find_parties
from reconciler.core.walk import DISCARD, PROBE
from reconciler.core.world import FleetView, SiteView, StatusView, World
from reconciler.docs.page import code, make_table
from schemas.fleet import Environment, Fleet, Node, Site
from schemas.intent import (
    JOB_TYPES,
    Backup,
    Cancel,
    DriftCheck,
    Intent,
    Promotion,
    Refresh,
    Reset,
    Restore,
    Rollback,
)
from schemas.model import format_duration
from schemas.state import JobStatus, JobType
from schemas.status import EnvironmentRecord, JobRecord

SPACE: Final = UUID("5b0b8f0e-2a57-4f0c-9a51-3c1c8b6f7f10")
NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)
TYPE_HEAD: Final = ("job type", "asked for by", "playbook", "the environment is meanwhile", "in this version")
STEP_HEAD: Final = ("job type", "step", "playbook", "time-out", "may change what is live")


def make_parts() -> Mapping[str, str]:
    """Make the table of job types and the table of their steps."""
    return {
        "types": make_table(TYPE_HEAD, make_type_rows()),
        "steps": make_table(STEP_HEAD, make_step_rows()),
    }


def make_type_rows() -> Iterator[tuple[str, str, str, str, str]]:
    """Make a row for each job type."""
    asked = {job_type: kind for kind, job_type in JOB_TYPES.items() if job_type}
    carried = {JOB_TYPES[intent.kind] for intent in make_intents() if make_sample_flow(intent)}
    carried.add(JobType.BACKUP_CLEANUP)
    for item in JobType:
        begins = life.STARTS.get(item)
        status = life.TRANSITIONS[life.ACTIVE, begins] if begins else life.ACTIVE
        kind = code(asked[item]) if item in asked else "nobody, every 6 h where backups have expired"
        yield code(item), kind, code(name_playbook(item)), code(status), "yes" if item in carried else "no"


def name_playbook(item: JobType) -> str:
    """Name the playbook of a job type: the same word with dashes (spec.md §5)."""
    return item.value.replace("_", "-")


def make_step_rows() -> Iterator[tuple[str, str, str, str, str]]:
    """Make a row for each step of each job type that is carried out, optional ones included."""
    cleanup = Backup.model_validate({"metadata": {"name": "cleanup"}, "spec": {"environment": "production"}})
    samples = [(JOB_TYPES[intent.kind], make_sample_flow(intent)) for intent in make_intents()]
    samples.append((JobType.BACKUP_CLEANUP, make_sample_flow(cleanup, job_type=JobType.BACKUP_CLEANUP)))
    for job_type, flow in samples:
        if flow is None or job_type is None:
            continue
        for step in flow.steps:
            live = "yes" if step.changes_live else "no"
            yield code(job_type), code(step.name), code(step.playbook), format_duration(step.timeout), live
        if flow.discard_playbook:
            yield code(job_type), code(DISCARD), code(flow.discard_playbook), "", "no"
        changing = [step.playbook for step in flow.steps if step.changes_live]
        if changing:
            yield code(job_type), code(PROBE), code(changing[0]), "", "no"


def make_intents() -> tuple[Intent, ...]:
    """Make one intent of each kind, with everything that adds a step."""

    def document(name: str, **spec: object) -> dict[str, object]:
        return {"metadata": {"name": name}, "spec": spec}

    staging: dict[str, object] = {"environment": "staging"}
    production: dict[str, object] = {"environment": "production"}
    full = {"source": "staging", "target": "production", "backup": "create", "refresh": "protected"}
    return (
        DriftCheck.model_validate(document("check", **staging)),
        Promotion.model_validate(document("promote", **full)),
        Backup.model_validate(document("backup", **production)),
        Refresh.model_validate(document("refresh", **staging)),
        Rollback.model_validate(document("rollback", **production)),
        Restore.model_validate(document("restore", **production, backup_id=SPACE)),
        Reset.model_validate(document("reset", **production)),
        Cancel.model_validate(document("cancel", job_id=SPACE)),
    )


def make_sample_flow(intent: Intent, *, job_type: JobType | None = None) -> Flow | None:
    """Make the flow of an intent in the sample fleet; `None` where this version refuses the kind."""
    fleet = make_fleet()
    parties = find_parties(intent, site="acme", view=fleet)
    if not isinstance(parties, Parties):
        return None
    job = JobRecord(
        id=SPACE,
        status=JobStatus.RUNNING,
        job_type=job_type,
        site="acme",
        epoch=1,
        created_at=NOW,
        updated_at=NOW,
    )
    records = {env.metadata.id: make_record(env) for env in parties.environments}
    world = World(fleet, StatusView(None, environments=records), outcomes={}, now=NOW, worker="", max_jobs=1)
    return make_flow(JobView(job, intent, parties, world, parties))


def make_record(environment: Environment) -> EnvironmentRecord:
    """Make the record of an environment that serves a release, so that a refresh backs it up first."""
    return EnvironmentRecord(
        id=environment.metadata.id,
        name=environment.metadata.name,
        site_id=SPACE,
        current_release_id=SPACE,
        created_at=NOW,
        updated_at=NOW,
    )


def make_fleet() -> FleetView:
    """Make the sample fleet: one node, one site with production and staging."""
    environments = {name: make_environment(name) for name in ("production", "staging")}
    site = Site.model_validate({"metadata": identify("acme")})
    node = Node.model_validate({"metadata": identify("web-1"), "spec": {"host": "web-1.example.org"}})
    fleet = Fleet.model_validate({"metadata": {"name": "pressluft"}})
    return FleetView("", fleet, {"web-1": node}, {"acme": SiteView("acme", site, environments)}, ())


def make_environment(name: str) -> Environment:
    """Make one environment of the sample fleet."""
    spec = {
        "type": name,
        "node": "web-1",
        "source": None if name == "production" else "production",
        "url": f"https://{name}.example.org",
        "root": f"/srv/www/{name}",
        "database": {"name": name},
    }
    return Environment.model_validate({"metadata": identify(name), "spec": spec})


def identify(name: str) -> dict[str, object]:
    """Name a document of the sample fleet."""
    return {"name": name, "id": uuid5(SPACE, name)}
