"""Production on one node, staging on another, the daemon on a third; no node can reach the other.

The long version, with every moment at which a cable may be cut, is tests/faults/faults_nodes.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.state import JobStatus
from tests.e2e.cut_link import check_promoted, list_leftovers, promote_through
from tests.e2e.far_world import FarWorld, make_far_world

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def far(session_folder: Path) -> Iterator[FarWorld]:
    """The three hosts."""
    with make_far_world(session_folder / "far") as world:
        yield world


def test_a_full_refresh_makes_staging_a_copy_on_its_own_node(far: FarWorld) -> None:
    job = far.refresh("full")
    assert (job.status, job.error_message or "") == (JobStatus.SUCCEEDED, "")
    page = far.show_staging()
    assert page.status == 200
    assert far.production.url not in page.body
    assert list_leftovers(far.origin) == list_leftovers(far.target) == []


def test_a_promotion_is_seen_through_although_its_source_is_cut_off_for_a_while(far: FarWorld) -> None:
    far.edit_theme("2.0.0")
    far.staging.query("CREATE TABLE {p}coupons (id INT PRIMARY KEY, url LONGTEXT) ENGINE=InnoDB")
    far.staging.query("INSERT INTO {p}coupons VALUES (1, %s)", f"{far.staging.url}/coupon")
    far.staging.query("INSERT INTO {p}coupons VALUES (2, REPEAT('large value ', 30000))")
    before = far.evidence()
    far.back_up()
    ending = promote_through(far, far.origin.cable, moment="staging", seconds=2)
    check_promoted(far, ending, version="2.0.0", before=before)
    rows = far.production.query("SELECT url FROM {p}coupons ORDER BY id")
    assert rows == ((f"{far.production.url}/coupon",), ("large value " * 30000,))
    assert far.traces_of_staging() == 0
