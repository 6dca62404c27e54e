"""Who runs passes: the ports it acts through, its name, what it remembers, and who watches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID

from reconciler.core.dispute import Dispute
from reconciler.core.plan import Plan
from reconciler.core.variables import NodeFolders
from reconciler.core.world import World
from reconciler.errors import TipMoved
from reconciler.observe import Observer
from reconciler.ports import (
    Clock,
    FleetRepo,
    PlaybookRunner,
    RunOutcome,
    Tip,
)
from reconciler.provenance import Provenance

MOST_REFUSALS = 10  # design §2: claims give up after 10 refusals and stay queued


class Witness(Protocol):
    """Who is told what passes do, and has no say in it."""

    def looked(self, look: Look) -> None:
        """A pass looked at everything."""

    def refused(self) -> None:
        """A push was refused because somebody was faster."""

    def pushed(self, plan: Plan, look: Look) -> None:
        """A plan's commit was pushed and its runs are started."""


class Nobody:
    """The witness of a pass that nobody watches."""

    def looked(self, look: Look) -> None:
        """Heed nothing."""

    def refused(self) -> None:
        """Heed nothing."""

    def pushed(self, plan: Plan, look: Look) -> None:
        """Heed nothing."""


NOBODY = Nobody()


@dataclass
class GlanceMemory:
    """The sources that this process looks at without being asked, and when each was last looked at."""

    under_way: set[UUID] = field(default_factory=set)
    last: dict[UUID, datetime] = field(default_factory=dict)


@dataclass
class DisputeMemory:
    """How this process stands with strangers who sign."""

    dispute: Dispute = field(default_factory=Dispute)


@dataclass(frozen=True, slots=True)
class Reconciler:
    """The ports a pass acts through, and who it is."""

    repo: FleetRepo
    runner: PlaybookRunner
    clock: Clock
    observer: Observer
    worker: str
    max_jobs: int
    instance: UUID | None = field(default=None, kw_only=True)
    """Which of the daemons called `worker` this is; a claim of another one of our name is not ours."""
    folders: NodeFolders
    provenance: Provenance = field(init=False)
    on_step: Callable[[str], None] = lambda _: None
    """Called with the name of each durable boundary, so that tests can break a pass there."""
    witness: Witness = NOBODY
    unstartable: dict[str, RunOutcome] = field(default_factory=dict)
    """Runs that could not be started in this process: they count as failed."""
    glances: GlanceMemory | None = None
    """What the periodic looks of this process have come to; `None` where it takes none."""
    disputes: DisputeMemory = field(default_factory=DisputeMemory)
    """The dispute of this process."""
    claims: set[tuple[UUID, int]] = field(default_factory=set)
    """Jobs and epochs that this process claimed: what else runs under our name was a process before this one."""

    def __post_init__(self) -> None:
        """Look signatures up where the fleet is read."""
        object.__setattr__(self, "provenance", Provenance(self.repo, self.observer))


class TooBusy(TipMoved):
    """Somebody was faster as often as is tried for one plan; it is given up for now."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one pass observed."""

    tip: Tip
    world: World
