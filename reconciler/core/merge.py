"""The three-way rule: what a promotion does with each mergeable resource (spec.md §2).

The only merge there is. Baseline, source and production are compared by digest; the outcome is data.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from reconciler.ports import Json
from schemas.observation import Observation, ObservedResource
from schemas.state import MergeOutcome, OverwritePolicy, ResourceClass, ResourceKind


@dataclass(frozen=True, slots=True)
class Merged:
    """One mergeable resource and what becomes of it."""

    resource: ObservedResource
    outcome: MergeOutcome


def decide_outcome(resource: ObservedResource) -> MergeOutcome:
    """Decide by the three-way rule; both sides changed to the same is no conflict."""
    if resource.source_baseline is None and resource.production_baseline is None:
        return decide_new(resource)
    source_changed = resource.source != resource.source_baseline
    production_changed = resource.production != resource.production_baseline
    if source_changed and production_changed:
        return decide_both_changed(resource)
    if source_changed:
        return decide_source_changed(resource)
    return MergeOutcome.KEPT if production_changed else MergeOutcome.UNCHANGED


def decide_new(resource: ObservedResource) -> MergeOutcome:
    """Decide on what the baseline does not know: created from the source, or stays on production."""
    if resource.source is None:
        return MergeOutcome.KEPT
    if resource.production is None:
        return MergeOutcome.CREATED
    return MergeOutcome.UNCHANGED if resource.equal else MergeOutcome.CONFLICT


def decide_source_changed(resource: ObservedResource) -> MergeOutcome:
    """Decide where only the source changed: deleted files and rows go, deleted tables stay."""
    if resource.source is not None:
        return MergeOutcome.CREATED if resource.production is None else MergeOutcome.PROMOTED
    if resource.kind is ResourceKind.TABLE or resource.production is None:
        return MergeOutcome.KEPT
    return MergeOutcome.DELETED


def decide_both_changed(resource: ObservedResource) -> MergeOutcome:
    """Decide where both sides changed: a conflict unless they changed to the same."""
    both_gone = resource.source is None and resource.production is None
    return MergeOutcome.UNCHANGED if both_gone or resource.equal else MergeOutcome.CONFLICT


def decide_merge(observation: Observation) -> tuple[Merged, ...]:
    """Decide on every mergeable resource of an observation, in its order."""
    return tuple(
        Merged(resource, decide_outcome(resource))
        for resource in observation.resources
        if resource.protection is ResourceClass.MERGEABLE and not resource.unreadable
    )


def find_conflicts(merged: Iterable[Merged]) -> tuple[ObservedResource, ...]:
    """Find what changed on both sides to different things."""
    return tuple(item.resource for item in merged if item.outcome is MergeOutcome.CONFLICT)


def is_taken(item: Merged, *, policy: OverwritePolicy) -> bool:
    """Whether the source's version goes up; a conflict only under `overwrite_policy: warn`."""
    if item.outcome is MergeOutcome.CONFLICT:
        return policy is OverwritePolicy.WARN and item.resource.source is not None
    return item.outcome in {MergeOutcome.PROMOTED, MergeOutcome.CREATED}


def is_deleted(item: Merged, *, policy: OverwritePolicy) -> bool:
    """Whether production's version goes away; tables never do."""
    if item.outcome is MergeOutcome.CONFLICT:
        gone = item.resource.source is None and item.resource.kind is not ResourceKind.TABLE
        return policy is OverwritePolicy.WARN and gone
    return item.outcome is MergeOutcome.DELETED


def make_node_plan(merged: Iterable[Merged], *, policy: OverwritePolicy) -> dict[str, Json]:
    """Make the plan a node carries out (docs/reference/node-protocol.md), sorted, so that it is reproducible."""
    items = tuple(merged)

    def names(kind: ResourceKind, chosen: Iterable[Merged]) -> list[Json]:
        found: list[Json] = []
        found += sorted(item.resource.name for item in chosen if item.resource.kind is kind)
        return found

    taken = [item for item in items if is_taken(item, policy=policy)]
    deleted = [item for item in items if is_deleted(item, policy=policy)]
    return {
        "tables": names(ResourceKind.TABLE, taken),
        "options": {"take": names(ResourceKind.OPTION, taken), "delete": names(ResourceKind.OPTION, deleted)},
        "components": {
            "take": names(ResourceKind.COMPONENT, taken),
            "delete": names(ResourceKind.COMPONENT, deleted),
        },
    }
