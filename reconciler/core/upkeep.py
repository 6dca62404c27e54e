"""The steps of every other job: drift check, backup, refresh, rollback (spec.md §3, §6, §7)."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.core.drift import find_unreadable
from reconciler.core.environment import EnvironmentEvent
from reconciler.core.flow import (
    End,
    EnvironmentChange,
    Flow,
    JobView,
    Records,
    Step,
    fail,
    read_answer,
    read_report,
    refuse,
    settle,
)
from reconciler.core.gate import choose_backup, find_backup_refused, find_inactive_node, present
from reconciler.core.job import Succeeded
from reconciler.core.record import make_backup_record, make_drift_record, require
from reconciler.ports import Json, RunOutcome, RunState
from schemas.fleet import Environment
from schemas.intent import Backup, DriftCheck, Refresh, Restore, Rollback
from schemas.model import format_timestamp
from schemas.observation import BackupMade, BackupWord, Observation
from schemas.state import BackupScope, DriftStatus, ErrorCode, RefreshScope, ReleaseHealth
from schemas.status import BackupRecord, DriftCheckRecord


def story(view: JobView, what: str) -> str:
    """Say in plain words what happened to whom: `promotion succeeded: acme staging -> production`."""
    return f"{what}: {describe_parties(view)}"


def describe_parties(view: JobView) -> str:
    """Say who takes part: `acme staging -> production`."""
    site, parties = view.parties.site.metadata.name, view.parties
    match view.intent:
        case Refresh():
            return (
                f"{site} {require(parties.production).metadata.name} -> {parties.environment.metadata.name}"
            )
        case Backup() | Restore() | Rollback():
            return f"{site} {parties.environment.metadata.name}"
        case _:
            return f"{site} {require(parties.source).metadata.name} -> {require(parties.production).metadata.name}"


def make_drift_check_flow(view: JobView, _: DriftCheck) -> Flow:
    """One look; what could not be read makes it fail, drift does not (spec.md §3)."""
    timeout = view.world.fleet.fleet.spec.timeouts.drift_check

    def judge(outcome: RunOutcome) -> End | None:
        unreadable = find_unreadable(read_answer(outcome, "observation", Observation))
        if not unreadable:
            return None
        names = "; ".join(f"{item.name}: {item.unreadable}" for item in unreadable[:10])
        text = f"could not be read, so nothing is known: {names}. Next: make them readable and check again."
        return fail(view, ErrorCode.DRIFT_CHECK_FAILED, text)

    def finish() -> End:
        observation = read_answer(view.outcomes["check"], "observation", Observation)
        record = make_drift_record(view.job, view.parties, observation)
        return End(
            Succeeded(view.now, summary=story(view, f"drift check says {record.status}")),
            records=(record,),
            environments=(EnvironmentChange(record.source_environment_id, None, make_drift_fields(record)),),
            fields={"drift_check_id": record.id, "step": "check"},
        )

    return Flow((Step("check", "drift-check", timeout, judge=judge),), finish=finish)


def make_drift_fields(record: DriftCheckRecord) -> Mapping[str, object]:
    """What a check changes on the source's record."""
    return {
        "drift_status": record.status,
        "drift_checked_at": record.checked_at,
        "last_drift_check_id": record.id,
    }


def make_backup_flow(view: JobView, intent: Backup) -> Flow:
    """One backup, done only after its data was read back."""
    environment, scope = view.parties.environment, intent.spec.scope

    def finish() -> End:
        record = make_record_of_backup(view, environment, scope=scope)
        return End(
            Succeeded(view.now, summary=story(view, f"{scope} backup completed")),
            records=(record,),
            fields={"backup_id": record.id, "step": "backup"},
        )

    return Flow((make_backup_step(view, environment, scope=scope),), finish=finish)


def make_backup_step(view: JobView, environment: Environment, *, scope: BackupScope) -> Step:
    """Back one environment up and read the backup back."""
    policy = view.world.fleet.fleet.spec

    def request() -> Mapping[str, Json]:
        until = format_timestamp(view.now + policy.retention)
        return {"environment": environment.metadata.name, "scope": scope.value, "retention_until": until}

    return Step("backup", "backup-create", policy.timeouts.backup, request=request)


def make_record_of_backup(
    view: JobView, environment: Environment, *, scope: BackupScope, step: str = "backup"
) -> BackupRecord:
    """Make the record of the backup of an environment that a step of this job took."""
    return make_backup_record(
        view.job,
        read_answer(view.outcomes[step], "backup", BackupMade),
        environment=environment,
        site_id=view.parties.site.metadata.id,
        scope=scope,
        retention=view.world.fleet.fleet.spec.retention,
    )


def make_refresh_flow(view: JobView, intent: Refresh) -> Flow:
    """Back the source up, since what it had of its own is lost (spec.md §3), then pull production down."""
    copy, full = view.parties.environment, intent.spec.scope is RefreshScope.FULL
    known = view.world.status.environments.get(copy.metadata.id)
    has_content = known is not None and known.current_release_id is not None
    backup = (make_backup_step(view, copy, scope=BackupScope.FULL),) if has_content else ()

    def finish() -> End:
        report = read_report(view.outcomes["refresh"])
        fields: dict[str, object] = {
            "drift_status": DriftStatus.UNKNOWN,  # a new baseline: nothing was checked against it yet
            "last_change_at": (report.last_change_at if report else None) or view.now,
            "release_health": read_health(view.outcomes["refresh"]),
        }
        if full:
            fields["current_release_id"] = view.job.id
        return End(
            Succeeded(view.now, summary=story(view, f"{intent.spec.scope} refresh succeeded")),
            environments=settle(view, EnvironmentEvent.SETTLED, **fields),
            fields={"step": "refresh"},
        )

    def gain() -> Records:
        taken = find_success(view, "backup")
        return (make_record_of_backup(view, copy, scope=BackupScope.FULL),) if taken else ()

    return Flow((*backup, make_refresh_step(view, intent)), finish=finish, gain=gain)


def find_success(view: JobView, step: str) -> RunOutcome | None:
    """Find the outcome of a step that succeeded in this epoch."""
    outcome = view.outcomes.get(step)
    return outcome if outcome is not None and outcome.state is RunState.SUCCEEDED else None


def read_health(outcome: RunOutcome) -> ReleaseHealth:
    """Read the verdict on the release that a step left, `unknown` where there is none."""
    health = outcome.result.get("health")
    healthy = health.get("healthy") if isinstance(health, dict) else None
    verdicts = {True: ReleaseHealth.HEALTHY, False: ReleaseHealth.UNHEALTHY}
    return (
        verdicts.get(healthy, ReleaseHealth.UNKNOWN) if isinstance(healthy, bool) else ReleaseHealth.UNKNOWN
    )


def make_refresh_step(view: JobView, intent: Refresh | None = None) -> Step:
    """Pull production's data down and take the new baseline; without an intent, the protected data."""
    scope = intent.spec.scope if intent else RefreshScope.PROTECTED
    anonymise = intent.spec.anonymise if intent else False
    return Step(
        "refresh",
        "env-refresh",
        view.world.fleet.fleet.spec.timeouts.refresh,
        request=lambda: {"scope": scope.value, "anonymise": anonymise},
        changes_live=True,
    )


def make_rollback_flow(view: JobView, intent: Rollback) -> Flow:
    """Back to the release before the last promotion; the node refuses to lose what was written since."""
    target = view.world.status.environments.get(view.parties.environment.metadata.id)

    def finish() -> End:
        report = read_report(view.outcomes["rollback"])
        changed = settle(
            view,
            EnvironmentEvent.SETTLED,
            current_release_id=target.previous_release_id if target else None,
            previous_release_id=None,
            release_health=ReleaseHealth.HEALTHY,
            last_change_at=(report.last_change_at if report else None) or view.now,
        )
        return End(
            Succeeded(view.now, summary=story(view, "rollback succeeded")),
            environments=changed,
            fields={"step": "rollback", "release_id": target.previous_release_id if target else None},
        )

    # Neither a freeze nor the stop holds a rollback up: they are for promotions, and it is the way back.
    timeout = view.world.fleet.fleet.spec.timeouts.rollback
    verify = Step(
        "verify",
        "release-rollback",
        timeout,
        request=lambda: request_backup(view),
        judge=lambda o: judge_backup(view, o),
    )
    rollback = Step(
        "rollback",
        "release-rollback",
        timeout,
        request=lambda: {"overwrite": list(intent.spec.overwrite)},
        changes_live=True,
    )
    return Flow((verify, rollback), finish=finish)


def request_backup(view: JobView) -> Mapping[str, Json]:
    """Name the backup on record that the gate would rely on, for the node to look for."""
    backup = find_backup_on_record(view)
    return {"backup": {"snapshot_id": backup.checksum} if backup else None}


def find_backup_on_record(view: JobView) -> BackupRecord | None:
    """Find the newest backup of the job's environment that fits the gate on record."""
    target = view.world.status.environments.get(view.parties.environment.metadata.id)
    if target is None:
        return None
    max_age = view.world.fleet.fleet.spec.backup_max_age
    own = view.world.status.backups.get(target.id, ())
    return choose_backup(own, target=target, now=view.now, max_age=max_age)


def judge_backup(view: JobView, outcome: RunOutcome) -> End | None:
    """Judge the gates of a rollback on the node's own word."""
    max_age = view.world.fleet.fleet.spec.backup_max_age
    name = view.parties.environment.metadata.name
    backup = find_backup_refused(read_backup_word(outcome), now=view.now, max_age=max_age)
    return refuse(view, present(backup, find_inactive_node(read_report(outcome), name=name)))


def read_backup_word(outcome: RunOutcome) -> BackupWord | None:
    """Read what the node says about the backup, `None` if it was asked for none."""
    return read_answer(outcome, "backup", BackupWord) if outcome.result.get("backup") else None
