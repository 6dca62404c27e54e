"""Who takes part in a job: the environments and the node an intent names, or why it cannot be (spec.md §1, §4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations

from reconciler.core.world import FleetView, SiteView
from schemas.fleet import Environment, Node, Site
from schemas.intent import (
    Backup,
    DriftCheck,
    Intent,
    Promotion,
    Refresh,
    Reset,
    Restore,
    Rollback,
)


@dataclass(frozen=True, slots=True)
class Parties:
    """The parts of a job. `environment` is the one whose state changes; `node` is its node."""

    site: Site
    environment: Environment
    node: Node
    production: Environment | None = None
    source: Environment | None = None
    others: tuple[Environment, ...] = ()
    """The rest of the site, where the job is about all of it."""
    other_nodes: tuple[Node, ...] = ()
    """The nodes of environments that take part and are not on `node`."""

    @property
    def environments(self) -> tuple[Environment, ...]:
        """All environments that take part, each once."""
        named = {
            env.metadata.id: env
            for env in (self.environment, self.production, self.source, *self.others)
            if env is not None
        }
        return tuple(named.values())

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Every node that the job touches."""
        return (self.node, *self.other_nodes)

    def find_node(self, environment: Environment) -> Node:
        """Find the node of an environment that takes part."""
        return next(node for node in self.nodes if node.metadata.name == environment.spec.node)

    def is_same_as(self, other: Parties) -> bool:
        """Whether environments and node are described alike; a site's own file holds only policy."""
        return (self.environments, self.nodes) == (other.environments, other.nodes)


@dataclass(frozen=True, slots=True)
class Misfit:
    """Why an intent names something that is not there or does not belong together. No commit of ours mends it."""

    message: str


@dataclass(frozen=True, slots=True)
class Unsettled:
    """A file that the intent needs is broken at the moment: the job waits until it is mended."""

    message: str


def find_parties(intent: Intent, *, site: str, view: FleetView) -> Parties | Misfit | Unsettled:
    """Find who takes part in a job, or say by name why the intent does not fit the fleet."""
    broken = find_broken(view, site)
    if broken:
        return Unsettled(broken)
    found = view.sites.get(site)
    if found is None or found.document is None:
        return Misfit(f"there is no site {site!r}: expected sites/{site}/site.yaml")
    match intent:
        case Promotion():
            return find_promotion_parties(intent, found, view)
        case DriftCheck() | Refresh():
            return find_copy_parties(intent.spec.environment, found, view)
        case Backup() | Restore():
            return settle(found, view, environment=intent.spec.environment)
        case Rollback():
            return find_rollback_parties(intent.spec.environment, found, view)
        case Reset():
            return find_reset_parties(intent.spec.environment, found, view)
        case _:
            return Misfit(f"kind {intent.kind} is not carried out by this version; nothing was done")


def find_broken(view: FleetView, site: str) -> str:
    """Return why a file that this site's jobs need is not in force, empty if all are."""
    found = view.sites.get(site)
    nodes = {env.spec.node for env in found.environments.values()} if found else set()
    needed = {"pressluft.yaml", *(f"nodes/{node}.yaml" for node in nodes)}
    mine = (path for path in sorted(view.broken) if path in needed or path.startswith(f"sites/{site}/"))
    return "; ".join(view.broken[path] for path in mine)


def find_promotion_parties(
    intent: Promotion, site: SiteView, view: FleetView
) -> Parties | Misfit | Unsettled:
    """A promotion goes from a copy of production to that very production."""
    source, target = site.environments.get(intent.spec.source), site.environments.get(intent.spec.target)
    if source is None or target is None:
        missing = intent.spec.source if source is None else intent.spec.target
        return make_missing(site, missing)
    if not target.spec.is_production or site.production is None:
        return Misfit(f"target {target.metadata.name!r} is not the one production of site {site.name!r}")
    if source.spec.source != target.metadata.name:
        return Misfit(
            f"source {source.metadata.name!r} was not cloned from {target.metadata.name!r} "
            f"but from {source.spec.source!r}"
        )
    return settle(site, view, environment=target.metadata.name, source=source, production=target)


def find_copy_parties(name: str, site: SiteView, view: FleetView) -> Parties | Misfit | Unsettled:
    """A drift check and a refresh are about a copy and the production it was cloned from."""
    copy = site.environments.get(name)
    if copy is None:
        return make_missing(site, name)
    if copy.spec.is_production or copy.spec.source is None:
        return Misfit(f"environment {name!r} is production: name the environment that was cloned from it")
    production = site.environments.get(copy.spec.source)
    if production is None or not production.spec.is_production or site.production is None:
        return Misfit(
            f"{name!r} was cloned from {copy.spec.source!r}, which is not the site's one production"
        )
    return settle(site, view, environment=name, source=copy, production=production)


def find_rollback_parties(name: str, site: SiteView, view: FleetView) -> Parties | Misfit | Unsettled:
    """A rollback goes back on production, which alone has releases that were promoted."""
    environment = site.environments.get(name)
    if environment is not None and not environment.spec.is_production:
        return Misfit(f"environment {name!r} is not production: only promotions can be rolled back")
    return settle(site, view, environment=name, production=environment)


def find_reset_parties(name: str | None, site: SiteView, view: FleetView) -> Parties | Misfit | Unsettled:
    """A reset is about one environment, or about all of a site's."""
    if name is not None:
        return settle(site, view, environment=name)
    main = site.production or next(iter(site.environments.values()), None)
    if main is None:
        return Misfit(f"site {site.name!r} has no environments")
    others = tuple(site.environments.values())
    return settle(site, view, environment=main.metadata.name, others=others)


def settle(
    site: SiteView,
    view: FleetView,
    *,
    environment: str,
    source: Environment | None = None,
    production: Environment | None = None,
    others: tuple[Environment, ...] = (),
) -> Parties | Misfit | Unsettled:
    """Put the parts together once nodes exist and nothing overlaps."""
    found = site.environments.get(environment)
    if found is None:
        return make_missing(site, environment)
    if site.document is None:
        return Misfit(f"there is no site {site.name!r}")
    sides = {env.metadata.name: env for env in (found, production, source, *others) if env is not None}
    for env in sides.values():
        if env.spec.node not in view.nodes:
            name = env.spec.node
            return Misfit(
                f"environment {env.metadata.name!r} names node {name!r}: there is no nodes/{name}.yaml"
            )
    node = view.nodes[found.spec.node]
    names = sorted({env.spec.node for env in sides.values()} - {found.spec.node})
    other_nodes = tuple(view.nodes[name] for name in names)
    parties = Parties(site.document, found, node, production, source, others, other_nodes)
    return find_misplacement(parties, view) or parties


def make_missing(site: SiteView, name: str) -> Misfit:
    """Say which environment is missing and which there are."""
    known = ", ".join(sorted(site.environments)) or "none"
    return Misfit(f"site {site.name!r} has no environment {name!r} (it has: {known})")


def find_misplacement(parties: Parties, view: FleetView) -> Misfit | None:
    """Find what keeps these environments from being safely told apart from all others."""
    ids = {env.metadata.id for env in parties.environments}
    placed = list_placed(view)
    own = [(site, env) for site, env in placed if env.metadata.id in ids]
    nodes = {env.spec.node for _, env in own}
    near = [(site, env) for site, env in placed if env.spec.node in nodes or env.metadata.id in ids]
    for site, mine in own:
        for other_site, other in near:
            reason = "" if other is mine else find_overlap(mine, other)
            if reason:
                return Misfit(f"{site}/{mine.metadata.name} and {other_site}/{other.metadata.name} {reason}")
    return None


def find_overlaps(view: FleetView) -> Iterator[tuple[Environment, Environment, str]]:
    """Find environments that share a root, a database and prefix, or an id (spec.md §1, Identity)."""
    for (site_a, a), (site_b, b) in combinations(list_placed(view), 2):
        reason = find_overlap(a, b)
        if reason:
            yield a, b, f"{site_a}/{a.metadata.name} and {site_b}/{b.metadata.name} {reason}"


def list_placed(view: FleetView) -> list[tuple[str, Environment]]:
    """List every environment of the fleet with its site's name."""
    return [(site.name, env) for site in view.sites.values() for env in site.environments.values()]


def find_overlap(a: Environment, b: Environment) -> str:
    """Return what two environments share that they must not, empty if nothing."""
    if a.metadata.id == b.metadata.id:
        return f"have the same id {a.metadata.id}"
    if a.spec.node != b.spec.node:
        return ""
    if is_nested(a.spec.root, b.spec.root):
        return f"have overlapping roots on node {a.spec.node}: {a.spec.root} and {b.spec.root}"
    if a.spec.database.name == b.spec.database.name and is_same_prefix(
        a.spec.database.table_prefix, b.spec.database.table_prefix
    ):
        return f"share database {a.spec.database.name} with overlapping table prefixes on node {a.spec.node}"
    return ""


def is_nested(one: str, other: str) -> bool:
    """Whether a folder is the other or lies in it."""
    a, b = f"{one}/", f"{other}/"  # both are normal: no `..`, no `//`, no slash at the end
    return a.startswith(b) or b.startswith(a)


def is_same_prefix(one: str, other: str) -> bool:
    """Whether tables of one prefix could be taken for the other's; `wp_2_` is told apart from `wp_`."""
    short, long = sorted((one, other), key=len)
    rest = long.removeprefix(short)
    return long.startswith(short) and not (rest[:1].isdigit() and rest.endswith("_") and rest[:-1].isdigit())


def list_environments(view: FleetView) -> Iterable[tuple[SiteView, Environment]]:
    """List every environment of the fleet with its site."""
    return ((site, env) for site in view.sites.values() for env in site.environments.values())
