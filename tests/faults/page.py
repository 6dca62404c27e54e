"""What the runs of this folder print, and the page that keeps it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import structlog

PAGE = Path("docs/reference/fault-model.md")
CRITICAL = 50  # structlog's number for what must be told


def silence() -> None:
    """Let daemons keep their log to themselves."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(CRITICAL))


def tell(text: str) -> None:
    """Print at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def make_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Make a table for a page."""
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    yield from (f"| {' | '.join(str(cell) for cell in row)} |" for row in rows)


def write_page(what: str, lines: Sequence[str]) -> None:
    """Put results between their marks: `<!-- begin of WHAT -->` and `<!-- end of WHAT -->`."""
    begin, end = f"<!-- begin of {what} -->", f"<!-- end of {what} -->"
    text = PAGE.read_text()
    before, found, rest = text.partition(begin)
    _, also, after = rest.partition(end)
    if not (found and also):
        raise LookupError(f"{PAGE} has no place for {what}")
    PAGE.write_text(f"{before}{begin}\n\n" + "\n".join(lines) + f"\n\n{end}{after}")
