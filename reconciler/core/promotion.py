"""A promotion's steps: gates live, stage, gates of policy again, cut over (spec.md §4, §6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from reconciler.core.drift import decide_drift, find_unreadable, find_written
from reconciler.core.environment import EnvironmentEvent
from reconciler.core.flow import (
    End,
    EnvironmentChange,
    Flow,
    JobView,
    Step,
    fail,
    read_answer,
    read_report,
    refuse,
    settle,
)
from reconciler.core.gate import (
    SKEW,
    find_backup_refused,
    find_conflict,
    find_drift,
    find_inactive_node,
    find_policy_unmet,
    find_schema_difference,
    find_wrong_pin,
    list_names,
    present,
)
from reconciler.core.job import Succeeded
from reconciler.core.merge import decide_merge, make_node_plan
from reconciler.core.record import check_record, make_drift_record, require
from reconciler.core.upkeep import (
    find_backup_on_record,
    find_success,
    make_backup_step,
    make_drift_fields,
    make_record_of_backup,
    make_refresh_step,
    read_backup_word,
    story,
)
from reconciler.ports import Json, RunOutcome, RunState
from schemas.intent import Promotion
from schemas.observation import Observation, RefreshMade
from schemas.state import BackupScope, DriftStatus, ErrorCode, ReleaseHealth
from schemas.status import BackupRecord, Blocked

PLAYBOOK = "env-promote"
MOST_REFRESHES = 3  # spec.md §3
SOURCE_BACKUP = "backup-1"
"""The step that backs the source up, as a numbered one of its playbook; `backup` is the target's."""


def make_promotion_flow(view: JobView, intent: Promotion) -> Flow:
    """List the steps of a promotion; `backup: create` and `refresh: protected` put theirs before the check."""
    steps: list[Step] = []
    if intent.spec.backup == "create" and not has_own_backup(view):
        steps.append(make_backup_step(view, view.parties.environment, scope=BackupScope.FULL))
    if intent.spec.refresh == "protected":
        steps.append(make_source_backup_step(view))
    rounds = MOST_REFRESHES if intent.spec.refresh == "protected" else 1
    steps += make_checks(view, intent, rounds=rounds)
    steps += [make_stage_step(view), make_cut_over_step(view)]
    return Flow(
        tuple(steps),
        finish=lambda: finish_promotion(view),
        discard_playbook=PLAYBOOK,
        gain=lambda: own_backups(view),
    )


def make_source_backup_step(view: JobView) -> Step:
    """Back the source up, since a refresh takes what it has of its own in protected data (spec.md §3)."""
    return replace(
        make_backup_step(view, require(view.parties.source), scope=BackupScope.FULL), name=SOURCE_BACKUP
    )


def has_own_backup(view: JobView) -> bool:
    """Whether an earlier attempt of this job took a backup that still fits: one that waits takes no other."""
    found = find_backup_on_record(view)
    return found is not None and found.job_id == view.job.id and "backup" not in view.outcomes


def make_checks(view: JobView, intent: Promotion, *, rounds: int) -> list[Step]:
    """Check live; with `refresh: protected` refresh before each check, until one is clean.

    On a site that is never quiet none is: then the last refresh is the check (`was_clean_at_refresh`).
    """
    steps: list[Step] = []
    for number in range(1, rounds + 1):
        if number > 1 and not is_drifted(view, f"check-{number - 1}"):
            break
        if intent.spec.refresh == "protected":
            steps.append(replace(make_refresh_step(view), name=f"refresh-{number}", changes_live=False))
        steps.append(make_check_step(view, intent, name=f"check-{number}", last=number == rounds))
    return steps


def is_drifted(view: JobView, check: str) -> bool:
    """Whether a check of this job found drift."""
    outcome = view.outcomes.get(check)
    if outcome is None or outcome.state is not RunState.SUCCEEDED:
        return False
    return decide_drift(read_answer(outcome, "observation", Observation)) is DriftStatus.DRIFTED


def make_check_step(view: JobView, intent: Promotion, *, name: str, last: bool) -> Step:
    """The live gates: the node measures, the controller decides (spec.md §4)."""

    def request() -> Mapping[str, Json]:
        backup = find_backup(view)
        return {"backup": {"snapshot_id": backup.checksum} if backup else None}

    def judge(outcome: RunOutcome) -> End | None:
        observation = read_answer(outcome, "observation", Observation)
        check_record(make_drift_record(view.job, view.parties, observation))  # now, not after the cut-over
        if not last and decide_drift(observation) is DriftStatus.DRIFTED:
            return None
        return judge_gates(view, intent, outcome=outcome, observation=observation)

    timeout = view.world.fleet.fleet.spec.timeouts.drift_check
    return Step(name, PLAYBOOK, timeout, request=request, judge=judge)


def find_backup(view: JobView) -> BackupRecord | None:
    """Find the backup the gate relies on: the one this job took, or the newest that fits on record."""
    if find_success(view, "backup"):
        return make_own_backup(view)
    return find_backup_on_record(view)


def make_own_backup(view: JobView) -> BackupRecord:
    """Make the record of the backup that `backup: create` took."""
    return make_record_of_backup(view, view.parties.environment, scope=BackupScope.FULL)


def judge_gates(
    view: JobView, intent: Promotion, *, outcome: RunOutcome, observation: Observation
) -> End | None:
    """Judge every gate on what the node just measured; shut ones end the job or make it wait."""
    unreadable = find_unreadable(observation)
    if unreadable:
        names = "; ".join(f"{item.name}: {item.unreadable}" for item in unreadable[:10])
        end: End | None = fail(view, ErrorCode.DRIFT_CHECK_FAILED, f"could not be read: {names}")
    else:
        end = refuse(view, find_unmet_live(view, intent, outcome=outcome, observation=observation))
    return record_check(view, end, observation) if end else None


def find_unmet_live(
    view: JobView, intent: Promotion, *, outcome: RunOutcome, observation: Observation
) -> tuple[Blocked, ...]:
    """Find the gates that are shut right now, the drift gate first."""
    policy = view.world.fleet.fleet.spec
    word, asked_at = read_backup_word(outcome), find_asking_time(view, observation)
    copy = require(view.parties.source).metadata.name
    return (
        *present(
            find_drift(observation, copy=copy, refreshed=find_refreshed(view)),
            find_wrong_pin(observation, pin=intent.spec.pin),
            find_schema_difference(observation),
            find_conflict(decide_merge(observation), policy=policy.overwrite_policy),
            find_backup_refused(word, now=asked_at, max_age=policy.backup_max_age),
            find_inactive_node(read_report(outcome), name=view.parties.environment.metadata.name),
        ),
        *find_policy_unmet(view.parties, view.world),
    )


def find_refreshed(view: JobView) -> str | None:
    """Find the baseline that this job's last refresh took, by the node's word; `None` where it said nothing."""
    for number in range(MOST_REFRESHES, 0, -1):
        outcome = view.outcomes.get(f"refresh-{number}")
        if outcome is not None:
            said = "refresh" in outcome.result and outcome.state is RunState.SUCCEEDED
            return read_answer(outcome, "refresh", RefreshMade).baseline_id if said else None
    return None


def find_asking_time(view: JobView, observation: Observation) -> datetime:
    """Return when the live gates were asked, by the node's clock, which the controller's holds within bounds.

    They are asked once, as the job's first step (spec.md §4): staging may take longer than a backup stays fresh.
    """
    earliest = view.job.locked_at or view.now
    if earliest - SKEW <= observation.taken_at <= view.now + SKEW:
        return observation.taken_at
    return view.now


def record_check(view: JobView, end: End, observation: Observation) -> End:
    """Add the live check to what a job's end records, on the source it is about."""
    record = make_drift_record(view.job, view.parties, observation)
    change = EnvironmentChange(record.source_environment_id, None, make_drift_fields(record))
    return replace(
        end,
        records=(*end.records, record),
        environments=(*end.environments, change),
        fields={**(end.fields or {}), "drift_check_id": record.id},
    )


def own_backups(view: JobView) -> tuple[BackupRecord, ...]:
    """The backups this job took: the target's and the source's."""
    taken = {"backup": view.parties.environment, SOURCE_BACKUP: view.parties.source}
    return tuple(
        make_record_of_backup(view, require(environment), scope=BackupScope.FULL, step=step)
        for step, environment in taken.items()
        if find_success(view, step)
    )


def find_observation(view: JobView) -> Observation | None:
    """Find what the last check of this epoch saw; `None` when the epoch began by resuming a cut-over."""
    for number in range(MOST_REFRESHES, 0, -1):
        outcome = view.outcomes.get(f"check-{number}")
        if outcome is not None and outcome.state is RunState.SUCCEEDED:
            return read_answer(outcome, "observation", Observation)
    return None


def make_stage_step(view: JobView) -> Step:
    """Put together, beside what is live, exactly what the check allowed."""

    def request() -> Mapping[str, Json]:
        observation = find_observation(view)
        if observation is None:
            raise ValueError("staging follows a check")
        policy = view.world.fleet.fleet.spec.overwrite_policy
        plan = make_node_plan(decide_merge(observation), policy=policy)
        return {"observation_id": observation.id, "plan": plan}

    timeout = view.world.fleet.fleet.spec.timeouts.stage
    return Step("stage", PLAYBOOK, timeout, request=request)


def make_cut_over_step(view: JobView) -> Step:
    """Switch. The live check is judged again right before it, by the policy of that moment."""
    policy = view.world.fleet.fleet.spec
    return Step(
        "cut_over",
        PLAYBOOK,
        policy.timeouts.cut_over,
        request=lambda: {"keep_old_release": int(policy.keep_old_release.total_seconds())},
        changes_live=True,
    )


def finish_promotion(view: JobView) -> End:
    """Record a healthy promotion: the release, the moment, and the check it stood on."""
    report = read_report(view.outcomes["cut_over"])
    target = view.world.status.environments.get(view.parties.environment.metadata.id)
    changed = settle(
        view,
        EnvironmentEvent.SETTLED,
        current_release_id=view.job.id,
        previous_release_id=target.current_release_id if target else None,
        release_health=ReleaseHealth.HEALTHY,
        last_change_at=(report.last_change_at if report else None) or view.now,
    )
    observation = find_observation(view)
    end = End(
        Succeeded(view.now, summary=tell_success(view, observation)),
        environments=changed,
        fields={"release_id": view.job.id, "step": "cut_over"},
    )
    return record_check(view, end, observation) if observation else end


def tell_success(view: JobView, observation: Observation | None) -> str:
    """Tell how a promotion ended, and what visitors wrote between its own refresh and its check."""
    written = [item.name for item in find_written(observation)] if observation else []
    kept = f"; visitors wrote meanwhile, and it is kept: {list_names(written)}" if written else ""
    return story(view, "promotion succeeded") + kept
