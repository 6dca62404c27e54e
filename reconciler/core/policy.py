"""Which policy binds a job: today's where it is stricter, that of its admission where today's is laxer (spec.md §1).

The stop, freeze windows and `allowed_signers` are no measures but switches: they bind as they stand now, and what
waits for them goes on once they are lifted.
"""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from reconciler.core.party import Parties
from reconciler.core.world import FleetView, World
from schemas.fleet import Environment, Fleet, FleetSpec, Protect
from schemas.model import format_duration
from schemas.state import OverwritePolicy, Preset

AGES = ("backup_max_age", "drift_check_max_age")
DEFAULT = FleetSpec()


def bind_world(world: World, admitted: FleetView | None) -> World:
    """Return the world in which a job is judged that was admitted under another policy."""
    if admitted is None or admitted.fleet == world.fleet.fleet:
        return world
    return replace(world, fleet=replace(world.fleet, fleet=bind_fleet(world.fleet.fleet, admitted.fleet)))


def bind_fleet(today: Fleet, admitted: Fleet) -> Fleet:
    """Return the stricter of two policies, rule by rule."""
    ages = {name: min(getattr(today.spec, name), getattr(admitted.spec, name)) for name in AGES}
    blocks = OverwritePolicy.BLOCK in {today.spec.overwrite_policy, admitted.spec.overwrite_policy}
    policy = OverwritePolicy.BLOCK if blocks else today.spec.overwrite_policy
    return today.model_copy(
        update={"spec": today.spec.model_copy(update={**ages, "overwrite_policy": policy})}
    )


def bind_parties(today: Parties, admitted: FleetView | None) -> Parties:
    """Return who takes part, protected as now and as when the job was admitted."""
    if admitted is None:
        return today
    known = {env.metadata.id: env for site in admitted.sites.values() for env in site.environments.values()}
    return replace(
        today,
        environment=bind_environment(today.environment, known),
        production=bind_environment(today.production, known) if today.production else None,
        source=bind_environment(today.source, known) if today.source else None,
    )


def bind_environment(today: Environment, admitted: dict[UUID, Environment]) -> Environment:
    """Return an environment with the protection of both its descriptions."""
    before = admitted.get(today.metadata.id, today).spec
    presets = {today.spec.promotion_preset, before.promotion_preset}
    if before.protect == today.spec.protect and len(presets) == 1:
        return today
    protect = Protect(
        tables=tuple(dict.fromkeys((*today.spec.protect.tables, *before.protect.tables))),
        paths=tuple(dict.fromkeys((*today.spec.protect.paths, *before.protect.paths))),
    )
    # commerce-protect is all of content-protect and more (spec.md §2).
    preset = Preset.COMMERCE_PROTECT if Preset.COMMERCE_PROTECT in presets else today.spec.promotion_preset
    return today.model_copy(
        update={"spec": today.spec.model_copy(update={"protect": protect, "promotion_preset": preset})}
    )


def describe_laxer(policy: FleetSpec) -> str:
    """Name what is laxer than Pressluft's own defaults; empty where nothing is."""
    ages = [
        f"{name} {format_duration(getattr(policy, name))}"
        for name in AGES
        if getattr(policy, name) > getattr(DEFAULT, name)
    ]
    warns = policy.overwrite_policy is not DEFAULT.overwrite_policy
    named = [*ages, *([f"overwrite_policy {policy.overwrite_policy}"] if warns else [])]
    return f"admitted under {', '.join(named)}" if named else ""
