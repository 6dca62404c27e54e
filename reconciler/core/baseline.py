"""Which baseline each source must have: the one that the last job which advanced it left (spec.md §3).

The node compares with its own sealed file; git only holds that file's id. So an older file that was put back on the
node is refused, and so is the true one where git's record is wrong: neither side alone can make drift look clean.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from uuid import UUID

from reconciler.core.flow import EnvironmentChange, JobView, NodeAnswerInvalid, is_untouched, read_answer
from reconciler.ports import RunOutcome, RunState
from schemas.observation import CutOverMade, Observation, RefreshMade

LAST = frozenset({"cut_over", "rollback"})
Bound = dict[UUID, str | None]


def find_bound(view: JobView) -> Mapping[UUID, str | None]:
    """Find the ids of the site's baselines: what is on record, and what this job's own steps have said since.

    `None` is no claim: the node's seal alone counts, and the next check puts down what it found.
    """
    site_id = view.parties.site.metadata.id
    bound: Bound = {
        record.id: record.baseline_id
        for record in view.world.status.environments.values()
        if record.site_id == site_id
    }
    source = view.parties.source.metadata.id if view.parties.source else None
    for step in sorted(view.outcomes, key=find_place):
        with suppress(NodeAnswerInvalid):  # said by whoever judges the step; here it is no word at all
            heed(view.outcomes[step], step=step, source=source, bound=bound)
    return bound


def find_place(step: str) -> tuple[bool, str, bool]:
    """Order a job's steps as they run: refresh-1, check-1, refresh-2, check-2, cut_over."""
    name, _, number = step.partition("-")
    return step in LAST, number, name == "check"


def heed(outcome: RunOutcome, *, step: str, source: UUID | None, bound: Bound) -> None:
    """Take over what one step says of a baseline; a step that may have advanced one without a word unbinds it."""
    kind = step.partition("-")[0]
    has_succeeded = outcome.state is RunState.SUCCEEDED
    if kind == "check" and has_succeeded and source in bound and bound[source] is None:
        seen = read_answer(outcome, "observation", Observation).baseline
        bound[source] = seen.id if seen else None
    elif kind == "refresh" and source is not None and outcome.state is not RunState.RUNNING:
        if "refresh" not in outcome.result and step == "refresh" and is_untouched(outcome):
            return
        # Within a promotion the node speaks of production, which says nothing about the source.
        bound[source] = None
        if "refresh" in outcome.result:
            bound[source] = read_answer(outcome, "refresh", RefreshMade).baseline_id
    elif step in LAST and outcome.state is not RunState.RUNNING:
        heed_cut_over(outcome, source=source, bound=bound)


def heed_cut_over(outcome: RunOutcome, *, source: UUID | None, bound: Bound) -> None:
    """Take over what a cut-over says; a rollback names its source itself, since only the node knows it."""
    if "cut_over" in outcome.result:
        made = read_answer(outcome, "cut_over", CutOverMade).baseline
        if made is not None and made.id is not None and made.source_id in bound:
            bound[made.source_id] = made.id
    elif not is_untouched(outcome):
        for env_id in [source] if source is not None else list(bound):
            bound[env_id] = None


def find_baseline_changes(view: JobView) -> tuple[EnvironmentChange, ...]:
    """Find what the steps so far change about the records of the site's sources."""
    records = view.world.status.environments
    return tuple(
        EnvironmentChange(env_id, None, {"baseline_id": baseline_id})
        for env_id, baseline_id in find_bound(view).items()
        if env_id in records and records[env_id].baseline_id != baseline_id
    )
