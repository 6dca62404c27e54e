"""`GET /jobs/{id}/events`: a job's progress as server-sent events; the stream ends with the job."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from pydantic import TypeAdapter

from api.desk import AtDesk, Desk, From, wait_for
from api.errors import Unauthorized
from api.views import show_job
from reconciler.core.job import ENDED
from reconciler.errors import PressluftError
from reconciler.ports import RunEvent
from schemas.api import JobEvent, JobView, ProgressLine
from schemas.model import Id
from schemas.status import JobRecord

router = APIRouter(tags=["reading"])
BREATH_SECONDS = 15.0
"""Proxies close what is silent for a minute."""
PROGRESS_SECONDS = 1.0
"""Progress lines are files of this machine, which ring no bell."""
EVENT_SCHEMA = JobEvent.model_json_schema()
LINE = TypeAdapter(ProgressLine)
JOB = TypeAdapter(JobView)


@router.get(
    "/jobs/{job_id}/events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {"schema": EVENT_SCHEMA}}}},
)
async def stream_events(job_id: Id, request: Request, desk: AtDesk, caller: From) -> StreamingResponse:
    """Stream a job: `event: job` whenever it changes, `event: progress` for each line; ends with the job."""
    job = await desk.read(lambda service: service.find_job(job_id))
    caller.require_sight(job.site, what=f"job {job_id}")

    def is_still_welcome() -> bool:
        try:
            return desk.reception.identify(request.headers) == caller
        except Unauthorized:
            return False

    return StreamingResponse(
        Stream(desk, job, is_still_welcome).run(),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


@dataclass
class Stream:
    """One caller's stream of one job."""

    desk: Desk
    job: JobRecord
    is_still_welcome: Callable[[], bool]
    _told: bytes = b""
    _lines: dict[int, int] = field(default_factory=dict)
    """How many progress lines were told, by epoch."""

    async def run(self) -> AsyncIterator[bytes]:
        """Tell what changes until the job ends, the facade stops, or the caller may not know any more."""
        loop = asyncio.get_running_loop()
        began = breathed = loop.time()
        with self.desk.bell.listen() as moved:
            while True:
                moved.clear()
                told = await self._tell_news()
                for piece in told:
                    yield piece
                if told:
                    breathed = loop.time()
                elif loop.time() - breathed >= BREATH_SECONDS:
                    breathed = loop.time()
                    yield b": still here\n\n"
                is_over = loop.time() - began >= self.desk.limits.stream_seconds
                if self.job.status in ENDED or self.desk.bell.stopping or is_over:
                    return
                if not self.is_still_welcome():
                    return
                await wait_for(moved, seconds=PROGRESS_SECONDS)

    async def _tell_news(self) -> list[bytes]:
        try:
            self.job = await self.desk.read(lambda service: service.find_job(self.job.id))
        except PressluftError:
            return []  # the repo cannot be reached at the moment: nothing new is known
        lines = await asyncio.to_thread(self.desk.progress, self.job)
        seen = self._lines.get(self.job.epoch, 0)
        self._lines[self.job.epoch] = max(seen, len(lines))
        pieces = [write_event("progress", LINE.dump_json(show_line(line))) for line in lines[seen:]]
        shown = JOB.dump_json(show_job(self.job))
        if shown != self._told:
            self._told = shown
            pieces.append(write_event("job", shown))
        return pieces


def show_line(event: RunEvent) -> ProgressLine:
    """Show one line of progress."""
    return ProgressLine(at=event.at, text=event.text)


def write_event(kind: str, data: bytes) -> bytes:
    """Write one event; JSON has no line breaks of its own."""
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), data)
