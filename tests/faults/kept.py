"""How much a daemon keeps, apart from the model that is in the same process: all that can be reached from it."""

from __future__ import annotations

import gc
import sys
from types import BuiltinFunctionType, FunctionType, ModuleType

from tests.faults.fault import Script
from tests.faults.machine import Machine

NOT_KEPT = (type, ModuleType, FunctionType, BuiltinFunctionType, Script)
"""Code, which is there whether or not a daemon is, and the model's script of faults."""


def measure_kept(machine: Machine) -> int:
    """Sum up what a daemon's own memory of the fleet takes, in bytes: what it parsed, looked up, claimed.

    What libgit2 keeps is not seen by Python; it is in the memory of the process.
    """
    own = machine.reconciler
    waiting: list[object] = [own.observer, own.provenance, own.claims, own.unstartable, machine.repo.inner]
    seen: set[int] = set()
    total = 0
    while waiting:
        found = waiting.pop()
        if id(found) in seen or isinstance(found, NOT_KEPT):
            continue
        seen.add(id(found))
        total += sys.getsizeof(found)
        waiting += gc.get_referents(found)
    return total
