"""`pressluft demo`: the main job on two real WordPress sites, in a folder of its own."""

from __future__ import annotations

from typing import Annotated

import typer

from reconciler.cli.common import explained, out


@explained
def demo(
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave everything running and print the addresses.")
    ] = False,
) -> None:
    """Show the main job on private servers: install what is missing, promote, be refused, roll back.

    Example: pressluft demo --keep
    """
    from reconciler.demo.stage import run_demo  # noqa: PLC0415 - no other command needs servers

    run_demo(out, keep=keep)
