"""A restore's steps: the backup verified, what is there backed up, both put together, cut over (spec.md §7)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from uuid import UUID

from reconciler.core.environment import EnvironmentEvent
from reconciler.core.flow import (
    End,
    EnvironmentChange,
    Flow,
    JobView,
    Records,
    Step,
    fail,
    make_refusal,
    read_answer,
    read_report,
    settle,
)
from reconciler.core.gate import find_inactive_parties, present
from reconciler.core.job import Succeeded
from reconciler.core.upkeep import find_success, make_backup_step, make_record_of_backup, story
from reconciler.core.world import World
from reconciler.ports import Json
from schemas.fleet import Environment
from schemas.intent import Restore
from schemas.observation import BackupMade
from schemas.state import BackupScope, BackupStatus, DriftStatus, ErrorCode, ReleaseHealth
from schemas.status import BackupRecord, Blocked

PLAYBOOK = "env-restore"


def make_restore_flow(view: JobView, intent: Restore) -> Flow:
    """Neither a freeze nor the stop holds a restore up: they are for promotions, and it is a way back."""
    timeouts = view.world.fleet.fleet.spec.timeouts

    def request() -> Mapping[str, Json]:
        backup = find_backup(list_backups(view.world), intent.spec.backup_id)
        return {"backup": {"snapshot_id": backup.checksum if backup else None}}

    def guard() -> End | None:
        reason = find_unrestorable(list_backups(view.world), view.parties.environment, intent)
        return fail(view, reason.code, make_refusal([reason])) if reason else None

    verify = Step("verify", PLAYBOOK, timeouts.restore, request=request, guard=guard)
    stage = Step("stage", PLAYBOOK, timeouts.restore, request=request, guard=guard)
    cut_over = Step("cut_over", PLAYBOOK, timeouts.cut_over, changes_live=True)
    return Flow(
        (verify, make_rescue_step(view), stage, cut_over),
        finish=lambda: finish_restore(view, intent),
        discard_playbook=PLAYBOOK,
        gain=lambda: list_rescued(view),
    )


def make_rescue_step(view: JobView) -> Step:
    """Back up what is there before it is replaced; of a site that was wiped, whatever is left."""
    step = make_backup_step(view, view.parties.environment, scope=BackupScope.FULL)
    return replace(step, request=lambda: {**step.request(), "present_only": True})


def find_unmet_restore(view: JobView, intent: Restore) -> tuple[Blocked, ...]:
    """The gates of a restore, as far as git can tell."""
    refused = find_unrestorable(list_backups(view.world), view.parties.environment, intent)
    return (*present(refused), *find_inactive_parties(view.parties, view.world))


def find_unrestorable(
    backups: Iterable[BackupRecord], environment: Environment, intent: Restore
) -> Blocked | None:
    """Say why a backup cannot be restored there: an environment takes only its own completed full backups."""
    name, backup = environment.metadata.name, find_backup(backups, intent.spec.backup_id)
    if backup is None:
        detail = f"there is no backup {intent.spec.backup_id}, or it has expired"
    elif backup.environment_id != environment.metadata.id:
        detail = f"backup {backup.id} was taken of another environment than {name}"
    elif backup.status is not BackupStatus.COMPLETED or backup.checksum is None:
        detail = f"backup {backup.id} is {backup.status}"
    elif backup.backup_scope is not BackupScope.FULL:
        detail = f"backup {backup.id} holds only the {backup.backup_scope} part"
    else:
        return None
    remedy = f"choose a completed full backup of {name}: they are listed in status/<site>/backups"
    return Blocked(code=ErrorCode.BACKUP_INVALID, detail=detail, remedy=remedy)


def list_backups(world: World) -> Iterator[BackupRecord]:
    """List the backups on record of all environments, so that one of another environment is called just that."""
    return chain.from_iterable(world.status.backups.values())


def find_backup(backups: Iterable[BackupRecord], backup_id: UUID) -> BackupRecord | None:
    """Find a backup on record."""
    return next((backup for backup in backups if backup.id == backup_id), None)


def list_rescued(view: JobView) -> Records:
    """The backup of what was there, if there was anything."""
    outcome = find_success(view, "backup")
    if outcome is None or not outcome.result.get("backup"):
        return ()
    made = read_answer(outcome, "backup", BackupMade)
    return (make_record_of_backup(view, view.parties.environment, scope=made.scope),)


def finish_restore(view: JobView, intent: Restore) -> End:
    """Record what is served now, from when on older backups no longer stand behind a promotion."""
    report = read_report(view.outcomes["cut_over"])
    changed = settle(
        view,
        EnvironmentEvent.SETTLED,
        current_release_id=view.job.id,
        previous_release_id=None,
        release_health=ReleaseHealth.HEALTHY,
        last_change_at=(report.last_change_at if report else None) or view.now,
    )
    return End(
        Succeeded(view.now, summary=story(view, "restore succeeded")),
        environments=(*changed, *forget_verdicts(view)),
        fields={"backup_id": intent.spec.backup_id, "release_id": view.job.id, "step": "cut_over"},
    )


def forget_verdicts(view: JobView) -> Iterable[EnvironmentChange]:
    """What was said of drift before is of data that is gone: of the copy's own, or of its copies'."""
    restored, known = view.parties.environment, view.world.status.environments
    site = view.world.fleet.sites.get(view.parties.site.metadata.name)
    for environment in site.environments.values() if site else ():
        is_copy = environment.spec.source == restored.metadata.name
        is_itself = environment.metadata.id == restored.metadata.id and not restored.spec.is_production
        if (is_copy or is_itself) and environment.metadata.id in known:
            fields = {"drift_status": DriftStatus.UNKNOWN}
            yield EnvironmentChange(environment.metadata.id, None, fields)
