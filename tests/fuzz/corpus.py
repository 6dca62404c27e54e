"""A fuzzer: documents that reach lines no other did are kept, and changed further."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from tests.fuzz.coverage import Line, find_lines
from tests.fuzz.judge import Verdict, find_refusal, judge
from tests.fuzz.mutation import SEEDS, mutate

TRACED = 4
"""Every so many documents one is traced: tracing takes ten times as long as reading."""


@dataclass
class Corpus:
    """The documents that are worth changing, and what came of all that were tried."""

    chance: Random
    documents: list[tuple[str, bytes]] = field(default_factory=lambda: list(SEEDS))
    reached: set[Line] = field(default_factory=set)
    tried: int = 0
    accepted: int = 0
    slowest: float = 0.0
    broken: list[tuple[str, bytes, str]] = field(default_factory=list)

    def run(self, times: int) -> None:
        """Try so many documents."""
        for _ in range(times):
            path, parent = self.chance.choice(self.documents)
            data = mutate(parent, [other for _, other in SEEDS], self.chance)
            self.note(path, data, judge(path, data))
            if self.tried % TRACED == 0:
                self.keep_if_new(path, data)

    def note(self, path: str, data: bytes, verdict: Verdict) -> None:
        """Count what came of one."""
        self.tried += 1
        self.accepted += verdict.accepted
        self.slowest = max(self.slowest, verdict.seconds)
        self.broken += [(path, data, what) for what in verdict.broken]

    def keep_if_new(self, path: str, data: bytes) -> None:
        """Keep a document that reaches what none did before."""
        lines = find_lines(lambda: find_refusal(path, data))
        if not lines <= self.reached:
            self.reached |= lines
            self.documents.append((path, data))
