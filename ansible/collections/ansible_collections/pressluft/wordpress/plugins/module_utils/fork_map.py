"""One function over many paths on all cores: Python's threads share one lock, forked processes share none.

What runs in a child may only open, read and compute: the locks of other threads stay as they were at the fork.
"""

from __future__ import annotations

import marshal
import os
from typing import Any, Callable, List, NamedTuple, Sequence

_WORKERS = 2
_WORTH_IT = 2000  # below this, starting processes costs more than it saves

Rows = List[Any]


class _Child(NamedTuple):
    process: int
    pipe: int
    share: Sequence[bytes]


def map_paths(function: Callable[[bytes], Any], paths: Sequence[bytes]) -> Rows:
    """Return `function` of each path, in any order. Results must be tuples of plain values (`marshal`).

    A child that dies costs time, not results: its share is done here.
    """
    if len(paths) < _WORTH_IT:
        return [function(path) for path in paths]
    children = [_start(function, paths[number::_WORKERS]) for number in range(_WORKERS)]
    return [row for child in children for row in _collect(function, child)]


def _start(function: Callable[[bytes], Any], share: Sequence[bytes]) -> _Child:
    reader, writer = os.pipe()
    process = os.fork()
    if process:
        os.close(writer)
        return _Child(process, reader, share)
    status = 1
    try:
        _write(writer, marshal.dumps([function(path) for path in share]))
        status = 0
    finally:
        os._exit(status)  # nothing of the parent's may be flushed, closed or finished here


def _write(writer: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(writer, view) :]


def _collect(function: Callable[[bytes], Any], child: _Child) -> Rows:
    with os.fdopen(child.pipe, "rb") as stream:
        content = stream.read()
    _process, status = os.waitpid(child.process, 0)
    if status != 0:
        return [function(path) for path in child.share]
    return list(marshal.loads(content))  # noqa: S302 - from our own child, through a pipe of its own
