"""The records of sites and environments that the fleet names: made on first sight, kept under their present name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from uuid import UUID

from reconciler.core import environment as life
from reconciler.core.world import SiteView, World
from schemas.fleet import Environment
from schemas.status import EnvironmentRecord, SiteRecord


def meet_sites(world: World) -> Mapping[UUID, SiteRecord]:
    """Return the records of all sites, known and new."""
    met = (meet_site(site, site_id, world) for site, site_id in list_sites(world))
    return {**world.status.sites, **{record.id: record for record in met}}


def meet_environments(world: World) -> Mapping[UUID, EnvironmentRecord]:
    """Return the records of all environments, known and new."""
    met = (
        meet_environment(env, site, site_id, world)
        for site, site_id in list_sites(world)
        for env in site.environments.values()
    )
    return {**world.status.environments, **{record.id: record for record in met}}


def list_sites(world: World) -> Iterator[tuple[SiteView, UUID]]:
    """List the sites whose own file is in force, with their ids."""
    for site in world.fleet.sites.values():
        if site.document is not None:
            yield site, site.document.metadata.id


def meet_site(site: SiteView, site_id: UUID, world: World) -> SiteRecord:
    """Return a site's record, made now or under its present name.

    A site whose folder is there under another id is not renamed: its name stays taken (`hold_site_ids`).
    """
    known, now = world.status.sites.get(site_id), world.now
    primary = site.production.metadata.id if site.production else None
    if known is None:
        return SiteRecord(
            id=site_id, name=site.name, primary_environment_id=primary, created_at=now, updated_at=now
        )
    name = known.name if known.name in world.fleet.sites else site.name
    if (known.name, known.primary_environment_id) == (name, primary):
        return known
    return touch(known, at=now, name=name, primary_environment_id=primary)


def meet_environment(env: Environment, site: SiteView, site_id: UUID, world: World) -> EnvironmentRecord:
    """Return an environment's record; renamed, moved or copied by hand it is written anew, in one place."""
    known, now, name = world.status.environments.get(env.metadata.id), world.now, env.metadata.name
    if known is None:
        return EnvironmentRecord(
            id=env.metadata.id, name=name, site_id=site_id, created_at=now, updated_at=now
        )
    if world.status.paths.get(known.id, frozenset()) == {f"status/{site.name}/environments/{name}.yaml"}:
        return known
    return life.update(known, at=now, name=name, site_id=site_id)


def touch(site: SiteRecord, *, at: datetime, **fields: object) -> SiteRecord:
    """Return a site's record with other fields; when it was last touched is also when it last had its turn."""
    return site.model_copy(update={"updated_at": at, "state_version": site.state_version + 1, **fields})
