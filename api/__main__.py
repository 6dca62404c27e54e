"""`python -m api [--check]`: write `contracts/openapi.yaml`, or say that it is not current.

Run in a checkout. Exit 0: current or written; 1: `--check` found a difference; 2: usage.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from api.app import make_routes
from api.contract import format_contract, make_contract
from reconciler.settings import CHECKOUT

CONTRACT = Path("contracts/openapi.yaml")


def make_text() -> str:
    """Make the file's text."""
    return format_contract(make_contract(make_routes(None)))


def main(arguments: list[str]) -> int:
    """Write or check; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m api", description="Write the contract.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if it is not current")
    parser.add_argument("--root", type=Path, default=CHECKOUT, help="the checkout")
    options = parser.parse_args(arguments)
    path, text = options.root / CONTRACT, make_text()
    is_current = path.is_file() and path.read_text(encoding="utf-8") == text
    if not is_current and not options.check:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    if not is_current:
        sys.stdout.write(f"{CONTRACT}: {'not current' if options.check else 'written'}\n")
    return 1 if options.check and not is_current else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
