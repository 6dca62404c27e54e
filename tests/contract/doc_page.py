"""The pages that people read, taken apart: code blocks, commands, links and headings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [
        CHECKOUT / "README.md",
        CHECKOUT / "CHANGELOG.md",
        *(CHECKOUT / "docs").rglob("*.md"),
        *(CHECKOUT / "examples").rglob("*.md"),
    ]
)
REFUSED = "# refused"
"""The remark behind a command that is meant to exit 1."""

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A code block and its language, empty if it has none."""

    language: str
    text: str


@dataclass(frozen=True)
class Command:
    """One line that the reader is to type, and whether the page says that it is refused."""

    text: str
    is_refused: bool


def name_page(page: Path) -> str:
    """Name a page for people: its path in the checkout."""
    return str(page.relative_to(CHECKOUT))


def list_blocks(page: Path, *languages: str) -> list[Block]:
    """List a page's code blocks, only those of some languages if any are given."""
    blocks = [Block(*found) for found in FENCE.findall(page.read_text())]
    return [block for block in blocks if not languages or block.language in languages]


def list_commands(page: Path) -> list[Command]:
    """List the lines with the prompt `$` of a page's console blocks. `#` is the prompt of root on a node."""
    lines = [line for block in list_blocks(page, "console") for line in block.text.splitlines()]
    typed = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    return [Command(line.partition(REFUSED)[0].strip(), REFUSED in line) for line in typed]


def list_spans(page: Path) -> list[str]:
    """List what stands as code within sentences and tables."""
    return SPAN.findall(FENCE.sub("", page.read_text()))


def list_links(page: Path) -> list[str]:
    """List the targets of a page's links."""
    return LINK.findall(FENCE.sub("", page.read_text()))


def list_anchors(page: Path) -> Iterator[str]:
    """List the anchors that a forge makes of a page's headings."""
    for heading in HEADING.findall(FENCE.sub("", page.read_text())):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
