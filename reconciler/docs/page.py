"""Putting generated parts into pages that people write, and Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

BEGIN: Final = "<!-- {name}: made by `python -m reconciler.docs`, do not edit -->"
END: Final = "<!-- end of {name} -->"


class MarkerMissing(Exception):
    """A page does not have the place that a generated part belongs in; the message names it."""


def fill(page: str, parts: Mapping[str, str]) -> str:
    """Put each part between its markers. Raises `MarkerMissing`."""
    for name, part in parts.items():
        begin, end = BEGIN.format(name=name), END.format(name=name)
        before, found_begin, rest = page.partition(begin)
        _, found_end, after = rest.partition(end)
        if not (found_begin and found_end):
            raise MarkerMissing(f"expected {begin} and {end} in the page")
        page = f"{before}{begin}\n\n{part.strip()}\n\n{end}{after}"
    return page


def make_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Make a Markdown table; bars in cells are escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(escape(cell) for cell in line)} |" for line in lines)


def escape(cell: str) -> str:
    """Keep a cell in its cell."""
    return cell.replace("|", r"\|").replace("\n", " ")


def code(text: str) -> str:
    """Write a word as code, nothing as nothing."""
    return f"`{text}`" if text else ""
