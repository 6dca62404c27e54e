"""`make fuzz`: 100,000 documents through the reader and admission. Exits 1 if one broke a promise."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from random import Random

from tests.fuzz.corpus import Corpus

PARTS = 20
MOST_SECONDS = 0.1
"""No document may keep the reader longer (issue: no hang over 100 ms); CPU time of its thread."""


def run_part(seed: int, times: int) -> Corpus:
    """Try a part of the documents."""
    corpus = Corpus(Random(seed))
    corpus.run(times)
    return corpus


def main(words: Sequence[str]) -> int:
    """Try the documents on all cores and print what came of them."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--documents", type=int, default=100_000)
    asked = parser.parse_args(words)
    with ProcessPoolExecutor() as pool:
        parts = list(pool.map(run_part, range(PARTS), [asked.documents // PARTS] * PARTS))
    slowest = max(part.slowest for part in parts)
    reached = frozenset().union(*(part.reached for part in parts))
    sys.stdout.write(
        f"{sum(part.tried for part in parts)} documents, {sum(part.accepted for part in parts)} of them accepted, "
        f"{len(reached)} lines reached, slowest {slowest * 1000:.1f} ms\n"
    )
    broken = [item for part in parts for item in part.broken]
    for path, data, what in broken:
        sys.stdout.write(f"{path}: {what}\n{data[:2000]!r}\n")
    return 1 if broken or slowest > MOST_SECONDS else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
