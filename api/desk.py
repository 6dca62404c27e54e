"""What routes work with: the service in threads, the outbox, and a bell that rings when the repo has moved."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, TypeVar
from uuid import UUID

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool

from api.caller import Caller, Reception
from api.door import Limits
from api.metrics import Meter
from reconciler.outbox import Outbox
from reconciler.ports import RunEvent
from reconciler.request import Request as Wish
from reconciler.service import NotFound, Service
from schemas.status import JobRecord

Answer = TypeVar("Answer")
Progress = Callable[[JobRecord], tuple[RunEvent, ...]]
"""Returns the progress lines of a job's run, as far as this machine knows them."""


@dataclass
class Bell:
    """Wakes those who wait for the repo to move. `ring` may be called from any thread."""

    _loop: asyncio.AbstractEventLoop | None = None
    _waiting: set[asyncio.Event] = field(default_factory=set)
    stopping: bool = False

    def bind(self) -> None:
        """Belong to the running loop."""
        self._loop = asyncio.get_running_loop()

    def ring(self) -> None:
        """Wake everybody."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake)

    def stop(self) -> None:
        """Wake everybody for the last time: those who stream end now."""
        self.stopping = True
        self.ring()

    def _wake(self) -> None:
        for event in self._waiting:
            event.set()

    @contextmanager
    def listen(self) -> Iterator[asyncio.Event]:
        """Have an event of one's own that is set with each ring; clear it before looking."""
        event = asyncio.Event()
        self._waiting.add(event)
        try:
            yield event
        finally:
            self._waiting.discard(event)


@dataclass(frozen=True)
class Watched:
    """The daemon of this process: how it is woken, what it tells Prometheus, and whether its loop is stuck.

    By default there is none: the facade runs alone.
    """

    wake: Callable[[], None] = lambda: None
    show: Callable[[], bytes] = lambda: b""
    find_stall: Callable[[], str] = lambda: ""


ALONE = Watched()


@dataclass
class Desk:
    """One facade's working place."""

    service: Service
    outbox: Outbox
    bell: Bell
    reception: Reception
    limits: Limits
    meter: Meter
    progress: Progress
    webhook_secret: Callable[[], bytes | None]
    daemon: Watched
    root_path: str = ""

    async def read(self, look: Callable[[Service], Answer]) -> Answer:
        """Read in a thread. What is not found in a remote repo is looked for once more after asking it."""
        try:
            return await run_in_threadpool(look, self.service)
        except NotFound:
            if self.service.fetches_on_read or not await self._ask_remote():
                raise
            return await run_in_threadpool(look, self.service)

    async def _ask_remote(self) -> bool:
        """Let the outbox look at the remote; returns whether that brought anything new in reasonable time."""
        with self.bell.listen() as moved:
            self.outbox.look_soon()
            return await wait_for(moved, seconds=2)

    async def write(self, wish: Wish) -> UUID:
        """Write an intent; its commit is durable when this returns. A caller that goes away changes nothing."""
        return await asyncio.shield(asyncio.wrap_future(self.outbox.submit(wish)))

    async def follow(self, job_id: UUID, *, until: Callable[[JobRecord], bool]) -> JobRecord:
        """Wait until a job is as wanted, or patience ends; returns it as it then is."""
        deadline = asyncio.get_running_loop().time() + self.limits.patience_seconds
        with self.bell.listen() as moved:
            while True:
                moved.clear()
                job = await run_in_threadpool(self.service.find_job, job_id)
                left = deadline - asyncio.get_running_loop().time()
                if until(job) or left <= 0 or self.bell.stopping:
                    return job
                await wait_for(moved, seconds=left)


async def wait_for(event: asyncio.Event, *, seconds: float) -> bool:
    """Wait for an event for at most so long; returns whether it came."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


def get_desk(request: Request) -> Desk:
    """Return the app's desk."""
    desk: Desk = request.app.state.desk
    return desk


def get_caller(request: Request) -> Caller:
    """Return who asks; the door has made sure that somebody does."""
    caller: Caller = request.scope["state"]["caller"]
    return caller


AtDesk = Annotated[Desk, Depends(get_desk)]
From = Annotated[Caller, Depends(get_caller)]
