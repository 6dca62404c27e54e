"""From bytes to a tree of scalars that knows where each of them stood (spec.md §1: YAML is read strictly).

Unquoted scalars keep the text they were written with (`PlainScalar`); only `null`, `~` and nothing at all mean
null. What `true`, `010` or `3.10` are is decided by the model's field, so `name: 3.10` stays "3.10".
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol

import yaml

from schemas.model import UNREADABLE, PlainScalar

MOST_BYTES: Final = 64 * 1024  # spec.md §1
MOST_LEVELS: Final = 32  # spec.md §1
UNREADABLE_CHARACTER: Final = re.compile(rf"\r(?!\n)|(?!\r)[{UNREADABLE}]")
NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})


@dataclass(frozen=True, order=True, slots=True)
class Mark:
    """A place in a file, both counted from 1; columns count characters."""

    line: int
    column: int


START: Final = Mark(1, 1)


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong at one place; `field` is a path such as `spec.protect.paths[1]`, or empty."""

    mark: Mark
    field: str
    expected: str


class DocumentInvalid(ValueError):
    """A document that cannot be taken; says where and what was expected instead.

    `problems` holds all that was found, ordered by place, never none; the attributes are those of the first.
    """

    def __init__(self, path: str, *problems: Problem) -> None:
        self.path = path
        self.problems = tuple(sorted(problems, key=lambda problem: problem.mark))
        first = self.problems[0]
        self.line, self.column = first.mark.line, first.mark.column
        self.field, self.expected = first.field, first.expected
        super().__init__(format_problem(path, first))

    @property
    def report(self) -> str:
        """All problems, one on each line."""
        return "\n".join(format_problem(self.path, problem) for problem in self.problems)


def format_problem(path: str, problem: Problem) -> str:
    """Write `path:line:col: field: what was expected`."""
    place = f"{path}:{problem.mark.line}:{problem.mark.column}"
    return ": ".join(part for part in (place, problem.field, problem.expected) if part)


@dataclass(slots=True)
class Leaf:
    """A leaf; `value` is None for null."""

    mark: Mark
    value: str | None


@dataclass(slots=True)
class Items:
    """A list."""

    mark: Mark
    items: list["Tree"] = field(default_factory=list)


@dataclass(slots=True)
class Fields:
    """A mapping of text to trees; `marks` says where each key stands."""

    mark: Mark
    items: dict[str, "Tree"] = field(default_factory=dict)
    marks: dict[str, Mark] = field(default_factory=dict)
    pending: str | None = None
    """The key whose value comes next, while the mapping is being read."""


Tree = Leaf | Items | Fields
Value = str | None | list["Value"] | dict[str, "Value"]


def read_tree(data: bytes, *, path: str, most_bytes: int = MOST_BYTES) -> Fields:
    """Read one YAML document whose root is a mapping; raise DocumentInvalid for all that is not plain data."""
    text = decode(data, path=path, most_bytes=most_bytes)
    root = build_tree(parse_events(text, path=path), path=path)
    if not isinstance(root, Fields):
        mark = START if root is None else root.mark
        raise DocumentInvalid(
            path, Problem(mark, "", "expected a mapping with apiVersion, kind, metadata, spec")
        )
    return root


def decode(data: bytes, *, path: str, most_bytes: int) -> str:
    """Take UTF-8 (a leading byte order mark is dropped) without control characters and not too long."""
    if len(data) > most_bytes:
        raise DocumentInvalid(path, Problem(START, "", f"expected at most {most_bytes // 1024} KiB"))
    try:
        text = data.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode(errors="replace")
        raise DocumentInvalid(path, Problem(find_mark(before), "", "expected UTF-8")) from error
    bad = UNREADABLE_CHARACTER.search(text)
    if bad is not None:
        what = (
            "spaces instead of a tab"
            if bad.group() == "\t"
            else f"no control character U+{ord(bad.group()):04X}"
        )
        raise DocumentInvalid(path, Problem(find_mark(text[: bad.start()]), "", f"expected {what}"))
    return text


def find_mark(before: str) -> Mark:
    """Find the place that follows the text `before`."""
    return Mark(before.count("\n") + 1, len(before) - before.rfind("\n"))


def parse_events(text: str, *, path: str) -> Iterator[yaml.Event]:
    """Parse lazily, so that a document nested too deep is given up before it costs anything."""
    try:
        yield from yaml.parse(text, Loader=yaml.CSafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = make_mark(error.problem_mark)
        raise DocumentInvalid(path, Problem(mark, "", f"expected YAML: {error.problem}")) from error
    except yaml.YAMLError as error:
        raise DocumentInvalid(path, Problem(START, "", "expected YAML")) from error


class Positioned(Protocol):
    """What PyYAML's two kinds of marks have in common; both count from 0."""

    @property
    def line(self) -> int: ...
    @property
    def column(self) -> int: ...


def make_mark(mark: Positioned | None) -> Mark:
    """Count from 1 as editors do; the start of the file where PyYAML knows no place."""
    return START if mark is None else Mark(mark.line + 1, mark.column + 1)


def build_tree(events: Iterator[yaml.Event], *, path: str) -> Tree | None:
    """Build the tree without recursion; None for an empty document."""
    root: Tree | None = None
    stack: list[Items | Fields] = []
    for event in events:
        refusal = find_refusal(event, depth=len(stack), has_root=root is not None)
        if refusal is not None:
            raise DocumentInvalid(path, Problem(make_mark(event.start_mark), "", refusal))
        if isinstance(event, yaml.CollectionEndEvent):
            stack.pop()
        elif isinstance(event, yaml.NodeEvent):
            tree = make_tree(event)
            if stack:
                add_child(stack[-1], tree, path=path)
            root = root or tree
            if not isinstance(tree, Leaf):
                stack.append(tree)
    return root


def find_refusal(event: yaml.Event, *, depth: int, has_root: bool) -> str | None:
    """Say what is expected instead of `event`, or None where it is plain data."""
    if isinstance(event, yaml.DocumentStartEvent) and has_root:
        return "expected one document in the file"
    if isinstance(event, yaml.DocumentStartEvent) and (event.version or event.tags):
        return "expected no %YAML or %TAG directive"
    if isinstance(event, yaml.AliasEvent):
        return f"expected the value itself, not the alias *{event.anchor}"
    return find_node_refusal(event, depth=depth) if isinstance(event, yaml.NodeEvent) else None


def find_node_refusal(event: yaml.NodeEvent, *, depth: int) -> str | None:
    """Say what is expected instead of a scalar or the beginning of a collection, or None where it is plain."""
    if event.anchor is not None:
        return f"expected no anchor &{event.anchor}"
    if getattr(event, "tag", None) is not None:
        return "expected no tag"
    if isinstance(event, yaml.CollectionStartEvent) and depth >= MOST_LEVELS:
        return f"expected at most {MOST_LEVELS} levels"
    if isinstance(event, yaml.ScalarEvent) and UNREADABLE_CHARACTER.search(event.value):
        return "expected text without control characters"
    return None


def make_tree(event: yaml.NodeEvent) -> Tree:
    """Make the leaf or the still empty collection that the event begins."""
    mark = make_mark(event.start_mark)
    if isinstance(event, yaml.MappingStartEvent):
        return Fields(mark)
    if isinstance(event, yaml.ScalarEvent):
        if event.style:
            return Leaf(mark, event.value)
        return Leaf(mark, None if event.value in NULLS else PlainScalar(event.value))
    return Items(mark)


def add_child(parent: Items | Fields, tree: Tree, *, path: str) -> None:
    """Put a tree where it belongs: at a list's end, or as a mapping's next key or value."""
    if isinstance(parent, Items):
        parent.items.append(tree)
    elif parent.pending is not None:
        parent.items[parent.pending] = tree
        parent.pending = None
    else:
        key = find_key(parent, tree, path=path)
        parent.marks[key] = tree.mark
        parent.pending = key


def find_key(parent: Fields, tree: Tree, *, path: str) -> str:
    """Take a tree as the next key of a mapping."""
    if not isinstance(tree, Leaf) or tree.value is None:
        raise DocumentInvalid(path, Problem(tree.mark, "", "expected a field's name"))
    key = str(tree.value)
    if key == "<<":
        raise DocumentInvalid(path, Problem(tree.mark, "", "expected no merge key <<"))
    if key in parent.items:
        first = parent.marks[key].line
        raise DocumentInvalid(
            path, Problem(tree.mark, key, f"expected each field once; it stands in line {first} already")
        )
    return key


def make_value(tree: Tree) -> Value:
    """Drop the places; unquoted scalars stay `PlainScalar`. The depth is at most `MOST_LEVELS`."""
    if isinstance(tree, Fields):
        return {key: make_value(item) for key, item in tree.items.items()}
    if isinstance(tree, Items):
        return [make_value(item) for item in tree.items]
    return tree.value
