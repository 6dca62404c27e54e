"""Facades for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.api.living import Living, live, make_settings, make_small_fleet


@pytest.fixture
def living(tmp_path: Path) -> Iterator[Living]:
    """A facade on a fresh small fleet, without a daemon."""
    with live(make_settings(tmp_path, make_small_fleet(tmp_path))) as served:
        yield served
