"""Which lines of the reader a document reaches: what reaches new ones is worth changing further."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import reconciler.core.admission
import schemas

WATCHED = (str(Path(schemas.__file__).parent), reconciler.core.admission.__file__)
Line = tuple[str, int]


def find_lines(act: Callable[[], object]) -> frozenset[Line]:
    """Run something and return the lines of the reader and of admission that it reached."""
    found: set[Line] = set()

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(WATCHED):
            return None
        if event == "line":
            found.add((frame.f_code.co_filename, frame.f_lineno))
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        act()
    finally:
        sys.settrace(before)
    return frozenset(found)
