"""Pages of lists: bare arrays, with the way to the next page in the `Link` header."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, TypeVar
from urllib.parse import urlencode
from uuid import UUID

from fastapi import Query, Request, Response
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


def make_page(
    request: Request,
    found: Sequence[Shown],
    adapter: TypeAdapter[list[Shown]],
    *,
    limit: int,
    cursor: Callable[[Shown], str],
) -> Response:
    """Answer with the first `limit` of `found`; one more than that says that there is a next page."""
    page = list(found[:limit])
    headers = {"Link": make_link(request, cursor(page[-1]))} if len(found) > limit else None
    return Response(adapter.dump_json(page), media_type="application/json", headers=headers)


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
