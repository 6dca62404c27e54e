"""`python -m reconciler.docs [--check]`: write the generated parts of `docs/reference`, or say what is not current.

Run in a checkout. Exit 0: current or written; 1: `--check` found differences; 2: usage.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from reconciler.docs import command_line, error_code, job_type, setting, state_machine
from reconciler.docs.page import fill
from reconciler.settings import CHECKOUT

REFERENCE: Final = Path("docs/reference")
PAGES: Final[Mapping[Path, Callable[[], Mapping[str, str]]]] = {
    REFERENCE / "command-line.md": command_line.make_parts,
    REFERENCE / "error-codes.md": error_code.make_parts,
    REFERENCE / "job-types.md": job_type.make_parts,
    REFERENCE / "settings.md": setting.make_parts,
    REFERENCE / "state-machines.md": state_machine.make_parts,
}


def make_pages(root: Path) -> Mapping[Path, str]:
    """Make the text of each page by its path below `root`, what people wrote in it kept as it is."""
    return {path: fill((root / path).read_text(encoding="utf-8"), make()) for path, make in PAGES.items()}


def main(arguments: list[str]) -> int:
    """Write or check; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m reconciler.docs", description="Write what the reference takes from the code."
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a page is not current")
    parser.add_argument("--root", type=Path, default=CHECKOUT, help="the checkout")
    options = parser.parse_args(arguments)
    pages = make_pages(options.root)
    stale = [
        path for path, text in pages.items() if (options.root / path).read_text(encoding="utf-8") != text
    ]
    for path in stale:
        if not options.check:
            (options.root / path).write_text(pages[path], encoding="utf-8")
        sys.stdout.write(f"{path}: {'not current' if options.check else 'written'}\n")
    return 1 if options.check and stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
