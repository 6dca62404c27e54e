"""The three-way rule as the table it is (spec.md §2)."""

from __future__ import annotations

import pytest

from reconciler.core.merge import Merged, decide_outcome, make_node_plan
from schemas.observation import ObservedResource
from schemas.state import MergeOutcome, OverwritePolicy, ResourceClass, ResourceKind

A, B, C = "sha256:a", "sha256:b", "sha256:c"
PROMOTED, CREATED, KEPT = MergeOutcome.PROMOTED, MergeOutcome.CREATED, MergeOutcome.KEPT
CONFLICT, DELETED, UNCHANGED = MergeOutcome.CONFLICT, MergeOutcome.DELETED, MergeOutcome.UNCHANGED


def make(
    base_production: str | None,
    production: str | None,
    base_source: str | None,
    source: str | None,
    *,
    equal: bool | None = None,
    kind: ResourceKind = ResourceKind.COMPONENT,
) -> ObservedResource:
    return ObservedResource(
        kind=kind,
        name="thing",
        protection=ResourceClass.MERGEABLE,
        production=production,
        production_baseline=base_production,
        source=source,
        source_baseline=base_source,
        equal=equal,
    )


@pytest.mark.parametrize(
    ("resource", "outcome"),
    [
        pytest.param(make(A, A, A, A), UNCHANGED, id="changed on neither"),
        pytest.param(make(A, A, B, B), UNCHANGED, id="changed on neither, URLs differ"),
        pytest.param(make(A, A, A, B), PROMOTED, id="changed on the source only"),
        pytest.param(make(A, B, A, A), KEPT, id="changed on production only"),
        pytest.param(make(A, B, A, C), CONFLICT, id="changed on both to different things"),
        pytest.param(make(A, B, A, B, equal=True), UNCHANGED, id="changed on both to the same"),
        pytest.param(
            make(A, B, A, C, equal=None), CONFLICT, id="changed on both and not known to be the same"
        ),
        pytest.param(make(None, None, None, A), CREATED, id="new on the source"),
        pytest.param(make(None, A, None, None), KEPT, id="new on production"),
        pytest.param(make(None, A, None, B), CONFLICT, id="new on both, different"),
        pytest.param(make(None, A, None, B, equal=True), UNCHANGED, id="new on both, the same"),
        pytest.param(make(A, A, A, None), DELETED, id="deleted on the source"),
        pytest.param(
            make(A, A, A, None, kind=ResourceKind.TABLE), KEPT, id="a table deleted on the source stays"
        ),
        pytest.param(make(A, None, A, A), KEPT, id="deleted on production stays deleted"),
        pytest.param(make(A, None, A, None), UNCHANGED, id="deleted on both"),
        pytest.param(make(A, B, A, None), CONFLICT, id="deleted on the source, changed on production"),
        pytest.param(make(A, None, A, B), CONFLICT, id="changed on the source, deleted on production"),
    ],
)
def test_the_three_way_rule(resource: ObservedResource, outcome: MergeOutcome) -> None:
    assert decide_outcome(resource) is outcome


@pytest.mark.parametrize("policy", list(OverwritePolicy))
def test_a_plan_never_takes_what_production_keeps(policy: OverwritePolicy) -> None:
    kept = Merged(make(A, B, A, A), KEPT)
    plan = make_node_plan([kept], policy=policy)
    assert plan == {
        "tables": [],
        "options": {"take": [], "delete": []},
        "components": {"take": [], "delete": []},
    }


def test_a_conflict_is_in_the_plan_only_under_warn() -> None:
    conflict = Merged(make(A, B, A, C), CONFLICT)
    taken = {policy: make_node_plan([conflict], policy=policy)["components"] for policy in OverwritePolicy}
    assert taken[OverwritePolicy.BLOCK] == {"take": [], "delete": []}
    assert taken[OverwritePolicy.WARN] == {"take": ["thing"], "delete": []}
