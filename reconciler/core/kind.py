"""What each kind of intent comes to: its steps, and the gates that are asked before it starts."""

from __future__ import annotations

from reconciler.core.flow import Flow, JobView
from reconciler.core.gate import find_inactive, find_unmet_at_request, find_unmet_rollback, present
from reconciler.core.promotion import make_promotion_flow
from reconciler.core.reset import make_reset_flow
from reconciler.core.restoration import find_unmet_restore, make_restore_flow
from reconciler.core.retention import make_cleanup_flow
from reconciler.core.upkeep import (
    make_backup_flow,
    make_drift_check_flow,
    make_refresh_flow,
    make_rollback_flow,
)
from schemas.intent import Backup, DriftCheck, Promotion, Refresh, Reset, Restore, Rollback
from schemas.state import JobType
from schemas.status import Blocked


def make_flow(view: JobView) -> Flow:
    """Return the flow of a job by its intent's kind; a cleanup has no intent of its own."""
    if view.job.job_type is JobType.BACKUP_CLEANUP:
        return make_cleanup_flow(view)
    match view.intent:
        case Promotion():
            return make_promotion_flow(view, view.intent)
        case DriftCheck():
            return make_drift_check_flow(view, view.intent)
        case Backup():
            return make_backup_flow(view, view.intent)
        case Refresh():
            return make_refresh_flow(view, view.intent)
        case Rollback():
            return make_rollback_flow(view, view.intent)
        case Restore():
            return make_restore_flow(view, view.intent)
        case Reset():
            return make_reset_flow(view)
        case _:
            raise ValueError(f"an intent of kind {view.intent.kind} is never admitted")


def find_unmet(view: JobView) -> tuple[Blocked, ...]:
    """Find the gates that are shut before a job is started, as far as git can tell."""
    match view.intent:
        case Promotion():
            takes_backup = view.intent.spec.backup == "create"
            return find_unmet_at_request(view.parties, view.world, takes_backup=takes_backup)
        case Rollback():
            return find_unmet_rollback(view.parties, view.world)
        case Restore():
            return find_unmet_restore(view, view.intent)
        case Refresh():
            record = view.world.status.environments.get(view.parties.environment.metadata.id)
            return tuple(present(find_inactive([record] if record else [])))
        case _:
            return ()
