"""Pages of lists: bare arrays, with the way to the next page in the `Link` header."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Generic, TypeVar
from urllib.parse import urlencode
from uuid import UUID

from fastapi import Depends, Query, Request, Response
from pydantic import TypeAdapter

from schemas.api import Cursor
from schemas.model import Model, Name

MOST = 200
USUAL = 100
Limit = Annotated[int, Query(ge=1, le=MOST, description="How many at most.")]
AfterTime = Annotated[Cursor | None, Query(description="Where the page before ended; taken from `Link`.")]
AfterName = Annotated[Name | None, Query(description="Where the page before ended; taken from `Link`.")]
Item = TypeVar("Item", bound=Model)
Shown = TypeVar("Shown", bound=Model)
Place = TypeVar("Place")


@dataclass(frozen=True, slots=True)
class Page(Generic[Place]):
    """Which part of a list is asked for: at most `limit` of what comes after a place, `None` for the beginning."""

    request: Request
    limit: int
    after: Place | None

    @property
    def wanted(self) -> int:
        """How many to look for: one more than fits says that there is a next page."""
        return self.limit + 1

    def answer(
        self, found: Sequence[Shown], adapter: TypeAdapter[list[Shown]], *, cursor: Callable[[Shown], str]
    ) -> Response:
        """Answer with the beginning of `found`, and where the next page is if there is more."""
        page = list(found[: self.limit])
        headers = {"Link": make_link(self.request, cursor(page[-1]))} if len(found) > self.limit else None
        return Response(adapter.dump_json(page), media_type="application/json", headers=headers)


async def ask_by_name(request: Request, limit: Limit = USUAL, after: AfterName = None) -> Page[str]:
    """Read which page of a list by name is asked for."""
    return Page(request, limit, after)


async def ask_by_time(
    request: Request, limit: Limit = USUAL, after: AfterTime = None
) -> Page[tuple[datetime, UUID]]:
    """Read which page of a list by time is asked for."""
    return Page(request, limit, read_cursor(after))


ByName = Annotated[Page[str], Depends(ask_by_name)]
ByTime = Annotated[Page[tuple[datetime, UUID]], Depends(ask_by_time)]


def make_link(request: Request, after: str) -> str:
    """Make the address of the next page: this one's, with another beginning."""
    query: Mapping[str, str] = {**request.query_params, "after": after}
    return f'<{request.url.path}?{urlencode(query)}>; rel="next"'


def show(view: Model, *, status: int = 200) -> Response:
    """Answer with one thing."""
    return Response(view.model_dump_json(), status_code=status, media_type="application/json")


def write_cursor(moment: datetime, item_id: UUID) -> str:
    """Write a place in a list that is sorted by time."""
    return f"{round(moment.timestamp() * 1000)}_{item_id}"


def read_cursor(text: str | None) -> tuple[datetime, UUID] | None:
    """Read it again."""
    if text is None:
        return None
    milliseconds, _, item_id = text.partition("_")
    seconds, rest = divmod(int(milliseconds), 1000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest * 1000), UUID(item_id)
