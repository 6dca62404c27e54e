"""What a drift check says: a verdict for each resource, and one for production as a whole (spec.md §3)."""

from __future__ import annotations

from schemas.observation import Observation, ObservedResource
from schemas.state import DriftStatus, ResourceClass, Verdict


def decide_verdict(resource: ObservedResource, *, has_baseline: bool) -> Verdict:
    """Decide whether production's resource is what it was when the source was copied from it.

    What could not be read is `unknown`, never `clean`. Absent then and now does not gate (spec.md §2).
    """
    if resource.unreadable or not has_baseline:
        return Verdict.UNKNOWN
    if resource.production is None and resource.production_baseline is None:
        return Verdict.ABSENT
    return Verdict.CLEAN if resource.production == resource.production_baseline else Verdict.DRIFTED


def decide_drift(observation: Observation) -> DriftStatus:
    """Decide what the gate sees: only protected resources gate; without a baseline nothing is known."""
    if observation.baseline is None:
        return DriftStatus.UNKNOWN
    verdicts = {
        decide_verdict(resource, has_baseline=True)
        for resource in observation.resources
        if resource.protection is ResourceClass.PROTECTED
    }
    if Verdict.DRIFTED in verdicts:
        return DriftStatus.DRIFTED
    # A check that covered no protected resource has proved nothing.
    return DriftStatus.UNKNOWN if Verdict.UNKNOWN in verdicts or not verdicts else DriftStatus.CLEAN


def was_clean_at_refresh(observation: Observation, *, baseline_id: str | None) -> bool:
    """Whether production was clean in the moment of the refresh that took this baseline, and only written to since.

    A refresh copies and measures one snapshot of production: in that moment its protected data is the baseline. What
    visitors write later comes after that check and is kept (spec.md §4). A protected table or folder that came or
    went, or could not be read, is never what visitors write.
    """
    if baseline_id is None or observation.baseline is None or observation.baseline.id != baseline_id:
        return False
    written = find_written(observation)
    resources = tuple(
        item.model_copy(update={"production": item.production_baseline}) if item in written else item
        for item in observation.resources
    )
    return decide_drift(observation.model_copy(update={"resources": resources})) is DriftStatus.CLEAN


def find_written(observation: Observation) -> tuple[ObservedResource, ...]:
    """Find the protected resources that were there when the baseline was taken, still are, and differ."""
    return tuple(
        item
        for item in observation.resources
        if item.protection is ResourceClass.PROTECTED
        and None not in (item.production, item.production_baseline)
        and decide_verdict(item, has_baseline=observation.baseline is not None) is Verdict.DRIFTED
    )


def find_unreadable(observation: Observation) -> tuple[ObservedResource, ...]:
    """Find what could not be read; any of it makes the job fail with `DRIFT_CHECK_FAILED`."""
    return tuple(resource for resource in observation.resources if resource.unreadable)
