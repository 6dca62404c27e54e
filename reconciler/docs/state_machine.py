"""The generated parts of `docs/reference/state-machines.md`."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.core import backup, environment, job
from reconciler.core.diagram import (
    EventT,
    StateT,
    Transitions,
    draw_backups,
    draw_environments,
    draw_jobs,
    list_moves,
)
from reconciler.docs.page import code, make_table


def make_parts() -> Mapping[str, str]:
    """Make the diagram and the table of each machine."""
    return {
        "jobs": make_part(draw_jobs(), job.TRANSITIONS),
        "environments": make_part(draw_environments(), environment.TRANSITIONS),
        "backups": make_part(draw_backups(), backup.TRANSITIONS),
    }


def make_part(diagram: str, transitions: Transitions[StateT, EventT]) -> str:
    """Put a diagram and its table together; the meanings are left out where no event has one."""
    moves = list(list_moves(transitions))
    has_meaning = any(meaning for *_, meaning in moves)
    rows = [
        (code(before), event, code(after), *([meaning] if has_meaning else []))
        for before, event, after, meaning in moves
    ]
    head = ("from", "event", "to", *(["meaning"] if has_meaning else []))
    return f"```mermaid\n{diagram}\n```\n\n{make_table(head, rows)}"
