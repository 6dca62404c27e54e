"""What is measured: resources, how a name is classified, and what a measurement is."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import Any, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Pattern, Tuple

from ansible_collections.pressluft.wordpress.plugins.module_utils.quiet import OWN_FILES

TABLE, OPTION, COMPONENT, PATH = "table", "option", "component", "path"
PROTECTED, PRESERVED, MERGEABLE = "protected", "preserved", "mergeable"
OPTIONS_TABLE = "options"
"""Measured row by row, therefore no table resource."""
SAMPLES = 20  # spec.md §3


class Measure(NamedTuple):
    """One resource at one moment: its digest (None: it is not there), or why it could not be read.

    `evidence` is what a later measurement is compared with to name what differs; it never leaves the node.
    `proof` is set where the digest was not computed anew but proved to be still true (`tablespace`).
    """

    digest: Optional[str]
    unreadable: str = ""
    evidence: Optional[Mapping[str, Any]] = None
    proof: str = ""


Measures = Mapping[str, Measure]
ABSENT = Measure(None)


class Patterns:
    """Names in which `*` stands for any run of characters, compared case-sensitively."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self.names = tuple(patterns)
        self._whole = _compile(self.names, "")
        self._above = _compile(self.names, "(?:/.*)?")

    def match(self, name: str) -> bool:
        """Whether a pattern is the whole of `name`."""
        return self._whole.fullmatch(name) is not None

    def cover(self, path: str) -> bool:
        """Whether a pattern is `path` or a folder above it."""
        return self._above.fullmatch(path) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)


@dataclass(frozen=True)
class Protection:
    """`pressluft_protection` of node-protocol.md: what is protected, preserved and volatile."""

    protected_tables: Patterns
    protected_paths: Patterns
    preserved_tables: Patterns
    preserved_options: Patterns
    preserved_files: Patterns
    volatile_options: Patterns
    volatile_files: Patterns

    def classify_table(self, name: str) -> str:
        """How a promotion treats a table, given without prefix; protected wins over preserved."""
        if self.protected_tables.match(name):
            return PROTECTED
        return PRESERVED if self.preserved_tables.match(name) else MERGEABLE

    def classify_option(self, name: str) -> str:
        """How a promotion treats a row of `options`."""
        return PRESERVED if self.preserved_options.match(name) else MERGEABLE

    def is_volatile_option(self, name: str) -> bool:
        """Whether the row changes with every visit, so that it is not measured at all."""
        return self.volatile_options.match(name)

    def is_code(self, path: str) -> bool:
        """Whether a file, given relative to `current`, is what a promotion may replace."""
        groups = (self.protected_paths, self.preserved_files, self.volatile_files)
        return not any(patterns.cover(path) for patterns in groups)


def make_protection(params: Mapping[str, Iterable[str]]) -> Protection:
    """Turn `pressluft_protection` into values; a missing list is empty. Pressluft's own files never count."""
    fields: List[str] = list(Protection.__dataclass_fields__)
    patterns = {field: list(params.get(field) or ()) for field in fields}
    patterns["volatile_files"] += OWN_FILES
    return Protection(**{field: Patterns(patterns[field]) for field in fields})


def make_key(kind: str, name: str) -> str:
    """The key of a resource in a baseline: `table:posts`."""
    return "%s:%s" % (kind, name)


def split_key(key: str) -> Tuple[str, str]:
    """Kind and name of a key."""
    kind, _, name = key.partition(":")
    return kind, name


def add_kind(kind: str, measures: Measures) -> Dict[str, Measure]:
    """Key measurements of one kind as a baseline does."""
    return {make_key(kind, name): measure for name, measure in measures.items()}


def _compile(patterns: Iterable[str], below: str) -> Pattern[str]:
    numbers = itertools.count()
    words = ["".join(_translate(pattern, numbers)) for pattern in patterns]
    return re.compile("(?:%s)%s" % ("|".join(words), below) if words else r"(?!)", re.DOTALL)


def _translate(pattern: str, numbers: Iterator[int]) -> Iterator[str]:
    """Each piece between two asterisks is looked for once: with plain `.*` thirty of them would take for ever."""
    first, *rest = map(re.escape, pattern.split("*"))
    yield first
    for piece in rest[:-1]:
        name = "p%d" % next(numbers)
        yield "(?=(?P<%s>.*?%s))(?P=%s)" % (name, piece, name)
    if rest:
        yield ".*" + rest[-1]
