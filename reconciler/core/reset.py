"""A Reset's steps: each failed environment proves itself on its node, and only then is `active` again (spec.md §5)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from uuid import UUID

from reconciler.core.environment import EnvironmentEvent
from reconciler.core.flow import End, EnvironmentChange, Flow, JobView, Step, read_answer, read_report
from reconciler.core.job import Succeeded
from reconciler.core.upkeep import read_health
from reconciler.ports import Json, RunOutcome
from schemas.fleet import Environment
from schemas.model import ID_PATTERN
from schemas.observation import Reported
from schemas.state import EnvironmentStatus


class ResetWord(Reported):
    """What a node did to an environment that it reset."""

    release: str
    """The release that is served."""
    resumed: tuple[str, ...] = ()
    """The jobs whose cut-over it brought to an end."""


def make_reset_flow(view: JobView) -> Flow:
    """One step for each environment; the job ends on the node with the last, so that all are safe to repeat."""
    named = list_environments(view)

    def finish() -> End:
        names = ", ".join(env.metadata.name for env in named)
        changes = tuple(make_change(view, env, view.outcomes[make_name(n)]) for n, env in enumerate(named, 1))
        return End(
            Succeeded(view.now, summary=f"reset succeeded: {view.parties.site.metadata.name} {names}"),
            environments=changes,
            fields={"step": "reset"},
        )

    steps = [make_step(view, env, number=n, is_last=n == len(named)) for n, env in enumerate(named, 1)]
    return Flow(tuple(steps), finish=finish)


def list_environments(view: JobView) -> tuple[Environment, ...]:
    """List the environments that are reset: of a whole site those that failed, else the one that is named."""
    records = view.world.status.environments
    failed = tuple(
        env
        for env in view.parties.environments
        if env.metadata.id in records and records[env.metadata.id].status is EnvironmentStatus.FAILED
    )
    return failed or (view.parties.environment,)


def make_name(number: int) -> str:
    """Name the step of an environment; the number is no part of the node's step."""
    return f"reset-{number}"


def make_step(view: JobView, environment: Environment, *, number: int, is_last: bool) -> Step:
    """Reset one environment."""

    def request() -> Mapping[str, Json]:
        return {"environment": environment.metadata.name, "is_last": is_last}

    return Step(
        make_name(number), "health-check", view.world.fleet.fleet.spec.timeouts.health_check, request=request
    )


def make_change(view: JobView, environment: Environment, outcome: RunOutcome) -> EnvironmentChange:
    """Say what is recorded of an environment that proved itself."""
    record = view.world.status.environments[environment.metadata.id]
    report, word = read_report(outcome), read_answer(outcome, "reset", ResetWord)
    fields: dict[str, object] = {"release_health": read_health(outcome)}
    if report is not None and report.last_change_at is not None:
        fields["last_change_at"] = report.last_change_at
    if word.resumed:
        fields["current_release_id"] = parse_release(word.release)
        fields["previous_release_id"] = parse_release((report.previous_release if report else None) or "")
    failed = record.status is EnvironmentStatus.FAILED
    return EnvironmentChange(record.id, EnvironmentEvent.RESET if failed else None, fields)


def parse_release(name: str) -> UUID | None:
    """Return the job that made a release; the first one of a site was made by none."""
    return UUID(name) if re.fullmatch(ID_PATTERN, name) else None
