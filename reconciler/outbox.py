"""The one thread of a facade that writes to the fleet repo, and that looks at it when somebody says so.

Wishes that arrive while a commit is being made go into the next one together, so that fifty callers cost a few
commits and not fifty races.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from uuid import UUID

import structlog

from reconciler.errors import PressluftError, Transient
from reconciler.ports import Tip
from reconciler.request import Request
from reconciler.service import Service

MOST_TOGETHER = 50
MOST_QUEUED = 500
WARM_UP_STEP, WARM_UP_PAUSE = 50, 0.003
"""How many records are glanced at at a time, and the seconds in between that belong to callers."""

log = structlog.get_logger()


class Overloaded(Transient):
    """More is asked for than this process takes on at a time."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A request on its way, and where its answer goes."""

    request: Request
    answer: Future[UUID]


@dataclass
class Outbox:
    """Writes what is submitted, in order. `on_look` is called from its thread whenever the repo has moved."""

    service: Service
    on_look: Callable[[], None]
    interval: float
    on_warm: Callable[[], None] = lambda: None
    """Called once, when all that is there was looked at."""
    _queue: deque[Wish] = field(default_factory=deque)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _thread: threading.Thread | None = None
    _stopping: bool = False
    _should_look: bool = False
    _cold: bool = True
    _told: Tip | None = None
    healthy: bool = False
    """Whether the last look at the repo succeeded."""

    def start(self) -> None:
        """Begin to work."""
        self._thread = threading.Thread(target=self._work, name="outbox", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Write what was submitted, then end."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def submit(self, request: Request) -> Future[UUID]:
        """Hand in a request; the future holds the job's id once its commit is durable. Raises `Overloaded`."""
        wish = Wish(request, Future())
        with self._changed:
            if self._stopping or len(self._queue) >= MOST_QUEUED:
                raise Overloaded("too many requests at a time", retry_after=1)
            self._queue.append(wish)
            self._changed.notify()
        return wish.answer

    def look_soon(self) -> None:
        """Say that the repo may have moved. May be called from any thread."""
        with self._changed:
            self._should_look = True
            self._changed.notify()

    def _work(self) -> None:
        next_look = 0.0
        while True:
            with self._changed:
                if not (self._queue or self._stopping or self._should_look):
                    self._changed.wait(WARM_UP_PAUSE if self._cold else self.interval)
                batch = self._take_batch()
                if self._stopping and not batch:
                    return
                should_look, self._should_look = self._should_look, False
            if batch:
                self._write(batch)
            if should_look or time.monotonic() >= next_look:
                self._attempt(self.service.refresh)
                next_look = time.monotonic() + self.interval
            self._tell()
            if self._cold and self.healthy and not batch:  # only what was looked at can be warmed up
                self._warm_up()

    def _warm_up(self) -> None:
        self._cold = self._attempt(lambda: self.service.warm_up(most=WARM_UP_STEP))
        if not self._cold:
            self.on_warm()

    def _take_batch(self) -> Sequence[Wish]:
        """Take the wishes of one actor: a commit has one author."""
        batch: list[Wish] = []
        while self._queue and len(batch) < MOST_TOGETHER:
            actor = self._queue[0].request.intent.spec.actor
            if batch and actor != batch[0].request.intent.spec.actor:
                break
            wish = self._queue.popleft()
            if wish.answer.set_running_or_notify_cancel():  # the caller may have gone
                batch.append(wish)
        return batch

    def _write(self, batch: Sequence[Wish]) -> None:
        try:
            answers = self.service.write([wish.request for wish in batch])
        except Exception as error:  # noqa: BLE001 - the boundary of this thread: each caller gets it
            for wish in batch:
                wish.answer.set_exception(error)
            return
        for wish, answer in zip(batch, answers, strict=True):
            if isinstance(answer, PressluftError):
                wish.answer.set_exception(answer)
            else:
                wish.answer.set_result(answer)

    def _tell(self) -> None:
        tip = self.service.tip
        if tip != self._told:
            self._told = tip
            self.on_look()

    def _attempt(self, act: Callable[[], bool]) -> bool:
        """Do something that needs the repo; a failure is logged once and is over with the next success."""
        try:
            result = act()
        except PressluftError as error:
            if self.healthy:
                log.warning("cannot look at the fleet repo", reason=str(error))
            self.healthy = False
            return False
        self.healthy = True
        return result
