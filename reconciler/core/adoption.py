"""What a node is told to adopt a plain docroot (docs/reference/node-protocol.md), and what it answers."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from reconciler.core.variables import describe_environment
from reconciler.ports import Json
from schemas.fleet import Environment
from schemas.preset import Protection, make_union, resolve_protection


def make_adoption_variables(
    environment: Environment, *, others: Iterable[Environment], run_id: UUID, docroot: str, undo: bool
) -> dict[str, Json]:
    """Make the extra variables of `env-adopt`; `others` are the site's other environments.

    What any of them protects must lie outside of the releases of each.
    """
    protection = unite_protection(environment, others)
    return {
        "pressluft_job": {"id": str(run_id), "epoch": 1, "type": "env_adopt", "step": "adopt"},
        "pressluft_environment": describe_environment(environment),
        "pressluft_protection": protection.model_dump(mode="json"),
        "pressluft_request": {"docroot": docroot, "undo": undo},
    }


def unite_protection(environment: Environment, others: Iterable[Environment]) -> Protection:
    """Unite the protected paths of all environments of a site; everything else is the environment's own."""
    own = resolve_protection(environment, environment)
    paths = [resolve_protection(environment, other).protected_paths for other in others]
    return own.model_copy(update={"protected_paths": make_union(own.protected_paths, *paths)})
