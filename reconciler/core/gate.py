"""The gates of spec.md §4. Each function returns why it is shut, or nothing; there is no way to say "anyway"."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from reconciler.core.drift import decide_drift, decide_verdict, was_clean_at_refresh
from reconciler.core.freeze import find_freeze
from reconciler.core.hold import list_stops
from reconciler.core.merge import Merged, find_conflicts
from reconciler.core.party import Parties
from reconciler.core.world import World
from schemas.fleet import Fleet, Site
from schemas.observation import BackupWord, NodeReport, Observation
from schemas.state import (
    BackupScope,
    BackupStatus,
    DriftStatus,
    EnvironmentStatus,
    ErrorCode,
    OverwritePolicy,
    ResourceClass,
    Verdict,
)
from schemas.status import BackupRecord, Blocked, DriftCheckRecord, EnvironmentRecord

SKEW = timedelta(seconds=30)  # spec.md §4: how far a node's clock may be off
NAMED = 10  # how many names a reason lists before it only counts


def find_stop(fleet: Fleet, site: Site) -> Blocked | None:
    """The emergency stop, of the fleet or of the site."""
    stop = next(list_stops(fleet, site), None)
    if stop is None:
        return None
    why = f" ({stop.reason})" if stop.reason else ""
    return Blocked(
        code=ErrorCode.PROMOTIONS_DISABLED,
        detail=f"promotions are switched off in {stop.place}{why}",
        remedy=f"set spec.promotions.enabled to true in {stop.place} when it is safe again",
    )


def find_frozen(fleet: Fleet, site: Site, *, now: datetime) -> Blocked | None:
    """An open freeze window, of the fleet or of the site."""
    freeze = find_freeze((*fleet.spec.freeze_windows, *site.spec.freeze_windows), now=now)
    if freeze is None:
        return None
    why = f" ({freeze.window.reason})" if freeze.window.reason else ""
    return Blocked(
        code=ErrorCode.FREEZE_WINDOW,
        detail=f"a freeze window is open until {freeze.ends_at:%Y-%m-%d %H:%M} UTC{why}",
        remedy="commit the intent again after that, or give it `wait`",
    )


def find_inactive(records: Iterable[EnvironmentRecord]) -> Blocked | None:
    """An environment that is busy or failed."""
    for record in records:
        if record.status is not EnvironmentStatus.ACTIVE:
            return Blocked(
                code=ErrorCode.ENVIRONMENT_NOT_ACTIVE,
                detail=f"environment {record.name} is {record.status}",
                remedy=(
                    "find out why it failed and reset it"
                    if record.status is EnvironmentStatus.FAILED
                    else "wait for the job that works on it"
                ),
            )
    return None


def find_inactive_node(report: NodeReport | None, *, name: str) -> Blocked | None:
    """The node itself does not call the environment active, whatever git says (spec.md §4)."""
    if report is not None and report.status == EnvironmentStatus.ACTIVE:
        return None
    word = f"is {report.status}" if report else "was not spoken of"
    return Blocked(
        code=ErrorCode.ENVIRONMENT_NOT_ACTIVE,
        detail=f"environment {name} {word} by the node's own word",
        remedy="look at the node, then reset the environment",
    )


def find_stale_backup(
    backups: Sequence[BackupRecord], *, target: EnvironmentRecord, now: datetime, max_age: timedelta
) -> Blocked | None:
    """No full, completed backup of the target that is young enough and newer than its last change."""
    return (
        None
        if choose_backup(backups, target=target, now=now, max_age=max_age)
        else make_backup_unmet(backups, target=target, max_age=max_age)
    )


def choose_backup(
    backups: Sequence[BackupRecord], *, target: EnvironmentRecord, now: datetime, max_age: timedelta
) -> BackupRecord | None:
    """Choose the newest backup that the gate could rely on."""
    fitting = [
        backup
        for backup in backups
        if backup.environment_id == target.id
        and backup.status is BackupStatus.COMPLETED
        and backup.backup_scope is BackupScope.FULL
        and is_fresh(backup.completed_at, now=now, max_age=max_age)
        and is_after(backup.began_at, target.last_change_at)
    ]
    return max(fitting, key=lambda backup: backup.completed_at or backup.created_at, default=None)


def is_fresh(ended_at: datetime | None, *, now: datetime, max_age: timedelta) -> bool:
    """Whether a moment of a node's clock lies in the past and not further back than `max_age`."""
    return ended_at is not None and -SKEW <= now - ended_at < max_age


def is_after(began_at: datetime | None, changed_at: datetime | None) -> bool:
    """Whether a backup began after the last change, if there was one."""
    return began_at is not None and (changed_at is None or began_at > changed_at)


def make_backup_unmet(
    backups: Sequence[BackupRecord], *, target: EnvironmentRecord, max_age: timedelta
) -> Blocked:
    """Say what there is instead of a usable backup."""
    completed = [
        backup.completed_at
        for backup in backups
        if backup.environment_id == target.id and backup.completed_at is not None
    ]
    last = f"the last one ended {max(completed):%Y-%m-%d %H:%M:%S} UTC" if completed else "there is none"
    changed = (
        f"; {target.name} was last changed {target.last_change_at:%Y-%m-%d %H:%M:%S} UTC"
        if target.last_change_at and completed
        else ""
    )
    return Blocked(
        code=ErrorCode.BACKUP_GATE_UNMET,
        detail=f"no full backup of {target.name} is younger than {max_age} and newer than its last change: "
        f"{last}{changed}",
        remedy=f"take one first: `pressluft backup SITE/{target.name}`, or give the intent `backup: create`",
    )


def find_backup_refused(word: BackupWord | None, *, now: datetime, max_age: timedelta) -> Blocked | None:
    """The node's own word on the backup: it was in the storage then, and recent. `now` is when it was asked."""
    if word is None:
        detail = "the node knows of no backup of this environment"
    elif not word.valid:
        detail = word.reason
    elif not is_fresh(word.ended_at, now=now, max_age=max_age):
        detail = f"the node's newest backup ended {word.ended_at}, which is not within {max_age}"
    elif not is_after(word.began_at, word.last_change_at):
        detail = f"the backup began {word.began_at}, before the last change at {word.last_change_at}"
    else:
        return None
    return Blocked(
        code=ErrorCode.BACKUP_GATE_UNMET,
        detail=detail,
        remedy="take a full backup of production, then commit the promotion again",
    )


def find_drift(observation: Observation, *, copy: str, refreshed: str | None = None) -> Blocked | None:
    """Production's protected data is not known to be what the source was copied from.

    `refreshed` is the baseline that the asking job's own refresh took: the check then is of the moment it was copied.
    """
    status = decide_drift(observation)
    if status is DriftStatus.CLEAN or was_clean_at_refresh(observation, baseline_id=refreshed):
        return None
    if observation.baseline is None:
        detail = observation.baseline_refused or "it was never refreshed from production"
        remedy = (
            f"refresh it in full: `pressluft refresh SITE/{copy} --scope full`; that takes a new baseline"
        )
        detail = f"{copy} has no baseline to compare with: {detail}"
        return Blocked(code=ErrorCode.DRIFT_GATE_UNMET, detail=detail, remedy=remedy)
    names = [
        resource.name
        for resource in observation.resources
        if resource.protection is ResourceClass.PROTECTED
        and decide_verdict(resource, has_baseline=True) not in {Verdict.CLEAN, Verdict.ABSENT}
    ]
    detail = f"production changed since {copy} was last refreshed: {list_names(names)}"
    return Blocked(code=ErrorCode.DRIFT_GATE_UNMET, detail=detail, remedy=make_refresh_remedy(copy))


def make_refresh_remedy(copy: str) -> str:
    """Say the one way out of drift (spec.md §3)."""
    return f"refresh first: `pressluft refresh SITE/{copy}`, then look at {copy} and promote again"


def find_unchecked(
    record: DriftCheckRecord | None,
    *,
    copy: str,
    protection_digest: str,
    now: datetime,
    max_age: timedelta,
) -> Blocked | None:
    """No clean and recent drift check of this source and protection on record (the REST facade's question)."""
    if record is None:
        detail = f"{copy} was never checked for drift"
    elif record.protection_digest != protection_digest:
        detail = "what is protected has changed since the last drift check"
    elif record.status is not DriftStatus.CLEAN:
        detail = f"the last drift check of {copy} says {record.status}"
    elif not is_fresh(record.checked_at, now=now, max_age=max_age):
        detail = f"the last drift check of {copy} is older than {max_age}"
    else:
        return None
    drifted = record is not None and record.status is DriftStatus.DRIFTED
    remedy = make_refresh_remedy(copy) if drifted else f"check again: `pressluft drift-check SITE/{copy}`"
    return Blocked(code=ErrorCode.DRIFT_GATE_UNMET, detail=detail, remedy=remedy)


def find_conflict(merged: Iterable[Merged], *, policy: OverwritePolicy) -> Blocked | None:
    """Something changed on both sides to different things, and policy does not take the source's."""
    conflicts = find_conflicts(merged)
    if not conflicts or policy is OverwritePolicy.WARN:
        return None
    return make_conflict(list_names(f"{item.kind} {item.name}" for item in conflicts))


def find_recorded_conflict(record: DriftCheckRecord | None, *, policy: OverwritePolicy) -> Blocked | None:
    """The last drift check on record found something that changed on both sides, and policy does not overwrite."""
    if record is None or not record.merge.conflicts or policy is OverwritePolicy.WARN:
        return None
    names = list_names(f"{item.kind} {item.name}" for item in record.merge.conflicts)
    return make_conflict(names)


def make_conflict(names: str) -> Blocked:
    """Make the reason for what changed on both sides."""
    return Blocked(
        code=ErrorCode.OVERWRITE_BLOCKED,
        detail=f"changed on source and production alike: {names}",
        remedy="make both sides equal (bring production's change to the source), then promote again",
    )


def find_schema_difference(observation: Observation) -> Blocked | None:
    """A protected or preserved table is defined differently on the two sides (spec.md §2)."""
    if not observation.schema_differences:
        return None
    details = "; ".join(f"{item.table}: {item.difference}" for item in observation.schema_differences[:NAMED])
    return Blocked(
        code=ErrorCode.SCHEMA_UNSUPPORTED,
        detail=f"protected tables are not defined alike on both sides: {details}",
        remedy="bring both sides to the same plugin and database version, refresh, then promote",
    )


def find_wrong_pin(observation: Observation, *, pin: str | None) -> Blocked | None:
    """The source is no longer what was reviewed."""
    return compare_pin(pin, bare_digest(observation.source_fingerprint))


def find_recorded_pin(record: DriftCheckRecord | None, *, pin: str | None) -> Blocked | None:
    """The source was something else than what is pinned when it was last checked."""
    known = record.source_fingerprint if record else None
    return compare_pin(pin, bare_digest(known)) if known else None


def compare_pin(pin: str | None, present_digest: str) -> Blocked | None:
    """Compare what was reviewed with what is there."""
    if pin is None or pin == present_digest:
        return None
    return Blocked(
        code=ErrorCode.SOURCE_CHANGED,
        detail=f"the intent pins {pin}, the source is {present_digest}",
        remedy="review the source again and pin its present fingerprint",
    )


def bare_digest(digest: str) -> str:
    """Return the hex digits of a digest with or without its `sha256:`."""
    return digest.removeprefix("sha256:")


def list_names(names: Iterable[str]) -> str:
    """List names for a sentence, the first ones by name."""
    found = list(names)
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return ", ".join(found[:NAMED]) + more


def find_policy_unmet(parties: Parties, world: World) -> Iterator[Blocked]:
    """The gates that bind at once and up to the cut-over: stop and freeze (spec.md §1).

    `parties` of a running job are those of its claim; policy is that of the newest commit.
    """
    fleet = world.fleet.fleet
    newest = world.fleet.sites.get(parties.site.metadata.name)
    site = newest.document if newest and newest.document else parties.site
    yield from present(find_stop(fleet, site), find_frozen(fleet, site, now=world.now))


def find_unmet_at_request(parties: Parties, world: World, *, takes_backup: bool) -> tuple[Blocked, ...]:
    """All gates of a promotion that can be judged from git when it is asked for, shut ones only."""
    backup = () if takes_backup else find_backup_unmet(parties, world)
    return (*find_policy_unmet(parties, world), *find_inactive_parties(parties, world), *backup)


def find_unmet_rollback(parties: Parties, world: World) -> tuple[Blocked, ...]:
    """The gates of a rollback: neither stop nor freeze, since it is the way back (spec.md §6)."""
    return (*find_inactive_parties(parties, world), *find_backup_unmet(parties, world))


def find_inactive_parties(parties: Parties, world: World) -> tuple[Blocked, ...]:
    """The gate of environments that are busy or failed."""
    known = world.status.environments
    records = [known[env.metadata.id] for env in parties.environments if env.metadata.id in known]
    return tuple(present(find_inactive(records)))


def find_backup_unmet(parties: Parties, world: World) -> tuple[Blocked, ...]:
    """The backup gate, as far as git can tell."""
    target = world.status.environments.get(parties.environment.metadata.id)
    if target is None:
        return ()
    max_age = world.fleet.fleet.spec.backup_max_age
    return tuple(
        present(
            find_stale_backup(
                world.status.backups.get(target.id, ()), target=target, now=world.now, max_age=max_age
            )
        )
    )


def present(*found: Blocked | None) -> Iterator[Blocked]:
    """Yield the reasons among `found`."""
    return (blocked for blocked in found if blocked is not None)


def find_last_check(world: World, source: UUID) -> DriftCheckRecord | None:
    """Find the last drift check on record of a source, if it is about the source as it is now.

    A refresh makes a new baseline that no earlier check knows; a check of another production proves nothing.
    """
    check, record = world.status.drift_checks.get(source), world.status.environments.get(source)
    if check is None or record is None or record.last_drift_check_id != check.id:
        return None
    productions = {site.production.metadata.id for site in world.fleet.sites.values() if site.production}
    is_present = record.drift_status is check.status and check.target_environment_id in productions
    return check if is_present else None
