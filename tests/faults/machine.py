"""A controller in the model: a runner whose work reaches the node later, a daemon that dies and comes back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

from reconciler.core.variables import NodeFolders
from reconciler.errors import PressluftError
from reconciler.observe import Observer
from reconciler.ports import (
    Clock,
    FleetRepo,
    PlaybookRunner,
    RunEvent,
    RunOutcome,
    RunSpec,
    RunState,
    Tip,
)
from reconciler.reconcile import run_pass
from reconciler.worker import Reconciler
from tests.faults.fault import Killed, Port, Script
from tests.story import FakeClock

RUNNING = RunOutcome(RunState.RUNNING)
LOST = RunOutcome(RunState.LOST)


@dataclass
class Delivery:
    """A step on its way to the node. `runner` hears of its end, unless it was killed meanwhile."""

    spec: RunSpec
    runner: ModelRunner | None
    seen: Tip
    """Where the branches stood when the step was ordered, as its daemon saw them."""


@dataclass
class ModelRunner:
    """A `PlaybookRunner` whose steps are done when the world says so."""

    inbox: list[Delivery]
    repo: SeeingRepo
    runs: dict[str, RunOutcome] = field(default_factory=dict)
    specs: dict[str, RunSpec] = field(default_factory=dict)

    def start(self, spec: RunSpec) -> str:
        """Send a step on its way."""
        if spec.key not in self.runs:
            self.runs[spec.key] = RUNNING
            self.specs[spec.key] = spec
            self.inbox.append(Delivery(spec, self, self.repo.seen))
        return spec.key

    def find(self, job_id: UUID, epoch: int) -> Sequence[str]:
        """Find the runs of a job and epoch."""
        known = [key for key, spec in self.specs.items() if (spec.job_id, spec.epoch) == (job_id, epoch)]
        return sorted(known)

    def outcome(self, key: str) -> RunOutcome:
        """Say where a run stands."""
        return self.runs.get(key, LOST)

    def events(self, key: str, *, after: int = 0) -> Sequence[RunEvent]:
        """Say nothing."""
        return ()

    def cancel(self, key: str) -> None:
        """Kill a run and all that it started."""
        if self.outcome(key).state is RunState.RUNNING:
            self.runs[key] = RunOutcome(RunState.CANCELLED)
            self.inbox[:] = [item for item in self.inbox if item.runner is not self or item.spec.key != key]

    def forget(self, key: str) -> None:
        """Remove an ended run."""
        if self.outcome(key).state is RunState.RUNNING:
            raise ValueError(f"the run {key} has not ended")
        self.runs.pop(key, None)
        self.specs.pop(key, None)

    def end(self, key: str, outcome: RunOutcome) -> None:
        """Hear of a run's end, if it is still waited for."""
        if self.outcome(key).state is RunState.RUNNING:
            self.runs[key] = outcome

    def die(self, *, reaches_node: Callable[[], bool]) -> None:
        """End with the daemon. What was on its way either dies too, or goes on and nobody hears of it."""
        self.runs = {key: LOST if run.state is RunState.RUNNING else run for key, run in self.runs.items()}
        for item in [item for item in self.inbox if item.runner is self]:
            item.runner = None
            if not reaches_node():
                self.inbox.remove(item)


class SeeingRepo:
    """A repo that remembers what its daemon last saw."""

    def __init__(self, inner: FleetRepo) -> None:
        self.inner = inner
        self.seen = Tip(None, None)

    def fetch(self) -> Tip:
        """Look, and remember."""
        self.seen = self.inner.fetch()
        return self.seen

    def __getattr__(self, name: str) -> Any:
        """Return what the repo itself has."""
        return getattr(self.inner, name)


@dataclass(frozen=True)
class SkewedClock:
    """A controller's clock, some seconds off."""

    clock: FakeClock
    offset: timedelta

    def now(self) -> datetime:
        """Return its time."""
        return self.clock.now() + self.offset


@dataclass
class Machine:
    """A controller: a daemon that is started again whenever it dies."""

    name: str
    open_repo: Callable[[], FleetRepo]
    clock: SkewedClock
    inbox: list[Delivery]
    chance: Callable[[], float]
    max_jobs: int = 4
    script: Script = field(default_factory=Script)
    bugs: list[BaseException] = field(default_factory=list)
    deaths: int = 0
    busy: bool = False

    def __post_init__(self) -> None:
        self.start(keeps_runs=False)

    def start(self, *, keeps_runs: bool) -> None:
        """Start a daemon, with the folder of runs of the one before or without."""
        self.repo = SeeingRepo(self.open_repo())
        known = self.runner if keeps_runs else None
        self.runner = ModelRunner(self.inbox, self.repo)
        if known is not None:
            self.runner.runs, self.runner.specs = known.runs, known.specs
        repo = cast("FleetRepo", Port(self.repo, self.script))
        self.reconciler = Reconciler(
            repo=repo,
            runner=cast("PlaybookRunner", Port(self.runner, self.script)),
            clock=cast("Clock", Port(self.clock, self.script)),
            observer=Observer(repo),
            worker=self.name,
            max_jobs=self.max_jobs,
            folders=NodeFolders("/state", "/etc/pressluft"),
        )

    def look(self) -> None:
        """Run one pass as the daemon's loop does: it outlives whatever is no kill."""
        if self.busy:
            return
        self.busy = True
        try:
            run_pass(self.reconciler)
        except Killed:
            self.die()
        except (PressluftError, OSError):
            pass
        except Exception as error:  # noqa: BLE001 - a bug: told at the end of the schedule
            self.bugs.append(error)
        finally:
            self.busy = False

    def die(self) -> None:
        """Die and come back."""
        self.deaths += 1
        self.runner.die(reaches_node=lambda: self.chance() < 0.5)
        self.start(keeps_runs=self.chance() < 0.6)
