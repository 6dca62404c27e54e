"""`pressluft demo`: the main job on two real WordPress sites, in a folder of its own."""

from __future__ import annotations

from typing import Annotated

import typer

from reconciler.cli.common import explained, out
from reconciler.demo.stage import run_demo


@explained
def demo(
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave everything running and print the addresses.")
    ] = False,
) -> None:
    """Show the main job on private servers: install what is missing, promote, be refused, roll back.

    Example: pressluft demo --keep
    """
    run_demo(out, keep=keep)
