"""The page of promises names tests that exist."""

import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]


def test_every_test_that_the_page_names_is_there() -> None:
    page = (REPOSITORY / "docs" / "reference" / "drift-guarantees.md").read_text()
    folders = ("unit/node", "unit/core", "unit/reconciler", "integration/node", "integration/reconciler")
    places = [place for folder in folders for place in (REPOSITORY / "tests" / folder).glob("*.py")]
    known = {name for place in places for name in re.findall(r"def (test_\w+)", place.read_text())}
    named = set(re.findall(r"`(test_\w+)`", page))
    assert len(named) > 30
    assert named - known == set()
