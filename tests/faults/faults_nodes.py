"""The long story of two nodes, and every moment at which a cable may be cut: `make faults-nodes`.

The tests before the last are one story, in order. The short version is tests/e2e/test_two_nodes.py.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from reconciler.stack.account import make_folder
from schemas.intent import DriftCheck
from schemas.state import DriftStatus, ErrorCode, JobStatus
from tests.e2e.cut_link import MOMENTS, check_promoted, list_leftovers, promote_through
from tests.e2e.far_world import FarWorld, make_far_world
from tests.e2e.world import SHOP, TAGLINE
from tests.faults.cable_report import CableReport

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]
PLUGIN_FILES = 200
FILE_BYTES = 100_000
SHORT, LONG = 5.0, 75.0
"""TCP gets over the first; after the second ssh has given up, and so have both nodes."""
WAYS = [(end, seconds) for seconds in (SHORT, LONG) for end in ("target", "source")]
REPEATED = 500
PATIENCE = 60.0


@pytest.fixture(scope="module")
def far(session_folder: Path) -> Iterator[FarWorld]:
    """The three hosts."""
    with make_far_world(session_folder / "faults") as world:
        yield world


def read_option(world: FarWorld, name: str) -> str:
    ((value,),) = world.production.query("SELECT option_value FROM {p}options WHERE option_name = %s", name)
    return str(value)


def find_post(world: FarWorld) -> int:
    published = "post_type = 'post' AND post_status = 'publish'"
    ((post,),) = world.production.query(f"SELECT MIN(ID) FROM {{p}}posts WHERE {published}")
    return int(str(post))


def read_drift(world: FarWorld) -> DriftStatus | None:
    entry = world.service.find_named("acme", "staging")
    return entry.record.drift_status if entry.record else None


def write_plugin(world: FarWorld, *, files: range, text: str) -> None:
    """Put incompressible files into a plugin of staging's."""
    folder = make_folder(world.staging.current / "wp-content" / "plugins" / "large")
    for number in files:
        noise = random.Random(f"{text} {number}").randbytes(FILE_BYTES)
        (folder / f"part-{number}.bin").write_bytes(noise)


def test_a_full_refresh_makes_staging_a_copy_on_its_own_node(far: FarWorld) -> None:
    job = far.refresh("full")
    assert (job.status, job.error_message or "") == (JobStatus.SUCCEEDED, "")
    page = far.show_staging()
    assert page.status == 200
    assert far.production.url not in page.body
    assert list_leftovers(far.origin) == list_leftovers(far.target) == []


def test_a_check_right_after_it_finds_no_drift(far: FarWorld) -> None:
    assert far.act(DriftCheck, {"environment": "staging"}).status is JobStatus.SUCCEEDED
    assert read_drift(far) is DriftStatus.CLEAN


def test_a_promotion_brings_up_what_changed_and_touches_nothing_else(far: FarWorld) -> None:
    far.edit_theme("2.0.0")
    settings = f'a:1:{{s:6:"banner";s:{len(far.staging.url)}:"{far.staging.url}";}}'
    far.staging.query("UPDATE {p}options SET option_value = %s WHERE option_name = %s", settings, SHOP)
    far.staging.query("CREATE TABLE {p}coupons (id INT PRIMARY KEY, url LONGTEXT) ENGINE=InnoDB")
    far.staging.query("INSERT INTO {p}coupons VALUES (1, %s)", f"{far.staging.url}/coupon")
    far.staging.query("INSERT INTO {p}coupons VALUES (2, REPEAT('large value ', 30000))")
    far.production.query(TAGLINE, "production's own")
    write_plugin(far, files=range(PLUGIN_FILES), text="first")
    before = far.evidence()
    far.back_up()
    count = far.target.cable.count_bytes()
    job = far.promote()
    first = far.target.cable.count_bytes() - count
    assert (job.status, job.error_message or "") == (JobStatus.SUCCEEDED, "")
    assert ">2.0.0<" in far.show().body
    rows = far.production.query("SELECT url FROM {p}coupons ORDER BY id")
    assert rows == ((f"{far.production.url}/coupon",), ("large value " * 30000,))
    assert far.production.url in read_option(far, SHOP)
    assert read_option(far, "blogdescription") == "production's own"
    assert far.evidence() == before
    assert far.traces_of_staging() == 0
    assert list_leftovers(far.origin) == list_leftovers(far.target) == []
    (far.folder / "first.json").write_text(json.dumps(first))


def test_a_second_promotion_sends_only_what_changed(far: FarWorld) -> None:
    write_plugin(far, files=range(PLUGIN_FILES // 100), text="second")
    far.back_up()
    count = far.target.cable.count_bytes()
    job = far.promote()
    second = far.target.cable.count_bytes() - count
    first = json.loads((far.folder / "first.json").read_text())
    assert (job.status, job.error_message or "") == (JobStatus.SUCCEEDED, "")
    ours, theirs = (
        (site.current / "wp-content/plugins/large/part-0.bin").read_bytes()
        for site in (far.production, far.staging)
    )
    assert ours == theirs
    # Both hold what Ansible and the agent's code take, about 1.5 MB.
    assert second < first / 5
    print(f"bytes over production's cable: first promotion {first}, second {second}")  # noqa: T201


def test_a_comment_on_production_is_drift_and_blocks(far: FarWorld) -> None:
    far.edit_theme("2.1.0")
    post = find_post(far)
    far.target.host.do(lambda: far.production.post_comment(post, "Nice theme"))
    (far.production.uploads / "new.txt").write_text("new")
    far.back_up()
    job = far.promote()
    assert job.error_code is ErrorCode.DRIFT_GATE_UNMET
    assert "comments" in str(job.error_message)
    assert read_drift(far) is DriftStatus.DRIFTED
    (record,) = far.service.list_drift_checks(job.source_environment_id)[:1]
    samples = {item.name: list(item.samples) for item in record.resources if item.samples}
    assert samples["comments"]
    assert samples["wp-content/uploads"] == ["wp-content/uploads/new.txt"]


def test_a_promotion_that_refreshes_first_gets_out_of_drift(far: FarWorld) -> None:
    before = far.evidence()
    far.back_up()
    job = far.promote(refresh="protected")
    assert (job.status, job.error_message or "") == (JobStatus.SUCCEEDED, "")
    assert ">2.1.0<" in far.show().body
    assert far.evidence() == before
    comments = far.staging.query("SELECT COUNT(*) FROM {p}comments WHERE comment_content = 'Nice theme'")
    assert comments == ((1,),)
    assert (far.staging.uploads / "new.txt").read_text() == "new"
    assert list_leftovers(far.origin) == list_leftovers(far.target) == []


def test_a_manual_rollback_goes_back_to_the_release_before(far: FarWorld) -> None:
    before = far.evidence()
    far.back_up()
    job = far.roll_back()
    assert (job.status, job.error_message or "") == (JobStatus.SUCCEEDED, "")
    assert ">2.0.0<" in far.show().body
    assert far.evidence() == before
    assert far.act(DriftCheck, {"environment": "staging"}).status is JobStatus.SUCCEEDED
    assert read_drift(far) is DriftStatus.CLEAN


def test_neither_node_can_reach_the_other_or_holds_a_key(far: FarWorld) -> None:
    for node, other in ((far.target, far.origin), (far.origin, far.target)):
        reached = node.host.do(lambda other=other: other.cable.can_be_reached())
        assert not reached


@dataclass(frozen=True)
class Served:
    """What production serves: the theme's version, which is code, and that in a promoted table, which is data."""

    code: str
    data: str


def read_served(world: FarWorld) -> Served:
    version = world.show().body.partition('theme-version">')[2].partition("<")[0]
    with world.target.stack.mariadb.connect(world.production.database_name) as cursor:
        cursor.execute("SHOW TABLES LIKE %s", (f"{world.production.table_prefix}large",))
        if not cursor.fetchall():
            return Served(version, "")
        cursor.execute(f"SELECT DISTINCT text FROM {world.production.table_prefix}large")
        return Served(
            version, " ".join(sorted(text[: len(text) // REPEATED] for (text,) in cursor.fetchall()))
        )


def name_served(world: FarWorld, *, old: Served, new: Served) -> str:
    """Say which of the two is served. The node ends a cut-over that is under way by itself, which takes seconds."""
    deadline = time.monotonic() + PATIENCE
    while True:
        served = read_served(world)
        if served in {old, new}:
            return "old" if served == old else "new"
        if time.monotonic() > deadline:
            return f"neither old nor new: {served}"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def report() -> CableReport:
    return CableReport("promotion, cut when", tuple(name_column(*way) for way in WAYS))


def name_column(end: str, seconds: float) -> str:
    return f"{end}'s cable, {seconds:.0f} s"


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("way", WAYS, ids=[f"{end}-{seconds:.0f}s" for end, seconds in WAYS])
def test_a_promotion_is_seen_through_whenever_a_cable_is_cut(
    far: FarWorld, report: CableReport, moment: str, way: tuple[str, float]
) -> None:
    end, seconds = way
    version = f"7.{MOMENTS.index(moment)}.{int(seconds)}{len(end)}"
    far.edit_theme(version)
    far.staging.query("CREATE OR REPLACE TABLE {p}large (id INT PRIMARY KEY, text LONGTEXT) ENGINE=InnoDB")
    far.staging.query(
        f"INSERT INTO {{p}}large SELECT seq, REPEAT('{version}', {REPEATED}) FROM seq_1_to_3000"
    )
    old, before = read_served(far), far.evidence()
    assert far.back_up().status is JobStatus.SUCCEEDED
    ending = promote_through(
        far,
        (far.target if end == "target" else far.origin).cable,
        moment=moment,
        seconds=seconds,
        look=lambda: name_served(far, old=old, new=Served(version, version)),
    )
    assert ending.seen in {"old", "new"}
    check_promoted(far, ending, version=version, before=before)
    report.add(moment, name_column(end, seconds), ending)
