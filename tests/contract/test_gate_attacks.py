"""The page of attacks names tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


def test_every_attack_is_a_test() -> None:
    page = (CHECKOUT / "docs/reference/gate-attacks.md").read_text()
    named = re.findall(r"`(test_\w+)` \|$", page, re.M)
    folders = ("unit/reconciler", "integration/git", "integration/node")
    written = "\n".join(
        path.read_text() for folder in folders for path in (CHECKOUT / "tests" / folder).glob("test_*.py")
    )
    assert len(named) >= 25
    assert [name for name in named if f"def {name}(" not in written] == []
