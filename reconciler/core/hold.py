"""What holds promotions up by policy (spec.md §1): the emergency stop and freeze windows, of fleet and site."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from reconciler.core.freeze import find_freeze
from schemas.fleet import Fleet, Site


@dataclass(frozen=True, slots=True)
class Hold:
    """One reason, where it is written, and when it ends; a stop ends when somebody lifts it (`None`)."""

    place: str
    reason: str
    ends_at: datetime | None = None


def list_stops(fleet: Fleet, site: Site | None) -> Iterator[Hold]:
    """List where promotions are switched off."""
    for place, document in list_places(fleet, site):
        if not document.spec.promotions.enabled:
            yield Hold(place, document.spec.promotions.reason or "")


def list_freezes(fleet: Fleet, site: Site | None, *, now: datetime) -> Iterator[Hold]:
    """List the open freeze windows, of each place the one that closes last."""
    for place, document in list_places(fleet, site):
        freeze = find_freeze(document.spec.freeze_windows, now=now)
        if freeze is not None:
            yield Hold(place, freeze.window.reason or "", freeze.ends_at)


def list_places(fleet: Fleet, site: Site | None) -> Iterator[tuple[str, Fleet | Site]]:
    """List the documents that may hold promotions up, by the names that people know them by."""
    yield "pressluft.yaml", fleet
    if site is not None:
        yield "site.yaml", site
