"""Draws the transition tables of jobs, environments and backups as Mermaid diagrams and as Markdown tables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Final, TypeVar

from reconciler.core import backup, environment, job
from schemas.state import BackupStatus, EnvironmentStatus, JobStatus

Event = StrEnum | type[job.JobEvent]
StateT = TypeVar("StateT", bound=StrEnum)
EventT = TypeVar("EventT", bound=Event)
Transitions = Mapping[tuple[StateT, EventT], StateT]

INDENT: Final = "    "


def draw_jobs() -> str:
    """Draw the life of a job."""
    return draw(job.TRANSITIONS, first=JobStatus.QUEUED)


def draw_environments() -> str:
    """Draw the life of an environment, which a site mirrors."""
    return draw(environment.TRANSITIONS, first=EnvironmentStatus.ACTIVE)


def draw_backups() -> str:
    """Draw the life of a backup."""
    return draw(backup.TRANSITIONS, first=BackupStatus.PENDING)


def draw(transitions: Transitions[StateT, EventT], *, first: StrEnum) -> str:
    """Draw a table as a Mermaid state diagram: one arrow for each pair of states, all its events on it.

    `first` is where things begin; a state that nothing leaves is drawn as an end.
    """
    arrows: dict[tuple[StateT, StateT], list[str]] = {}
    for (before, event), after in transitions.items():
        arrows.setdefault((before, after), []).append(name_event(event))
    lines = [
        "stateDiagram-v2",
        f"{INDENT}[*] --> {first}",
        *(f"{INDENT}{before} --> {after}: {', '.join(events)}" for (before, after), events in arrows.items()),
        *(f"{INDENT}{end} --> [*]" for end in find_ends(transitions)),
    ]
    return "\n".join(lines)


def find_ends(transitions: Transitions[StateT, EventT]) -> Iterator[StateT]:
    """Find the states that are reached and never left, in the order they appear."""
    left = {before for before, _ in transitions}
    return (state for state in dict.fromkeys(transitions.values()) if state not in left)


def list_moves(transitions: Transitions[StateT, EventT]) -> Iterator[tuple[str, str, str, str]]:
    """List state, event, next state and, where the event says so itself, what the event means."""
    for (before, event), after in transitions.items():
        meaning = "" if isinstance(event, StrEnum) else (event.__doc__ or "").strip()
        yield before.value, name_event(event), after.value, " ".join(meaning.split())


def name_event(event: Event) -> str:
    """Name an event in plain words: `TakenOver` is `taken over`."""
    if isinstance(event, StrEnum):
        return event.value
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", event.__name__).lower()
