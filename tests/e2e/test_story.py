"""The main job on real WordPress, over SSH. The tests of this file are one story, in order.

Locally the same modules run without a connection: see test_faults, test_kill, test_adopt and test_restore.
"""

from __future__ import annotations

import subprocess

import pytest

from schemas.state import DriftStatus, EnvironmentStatus, ErrorCode, JobStatus
from tests.e2e.world import SHOP, TAGLINE, World

pytestmark = pytest.mark.e2e


def read_option(world: World, name: str) -> str:
    ((value,),) = world.production.query("SELECT option_value FROM {p}options WHERE option_name = %s", name)
    return str(value)


def find_post(world: World) -> int:
    published = "post_type = 'post' AND post_status = 'publish'"
    ((post,),) = world.production.query(f"SELECT MIN(ID) FROM {{p}}posts WHERE {published}")
    return int(str(post))


def test_a_full_refresh_makes_staging_a_copy_that_serves(world: World) -> None:
    job = world.refresh("full")
    assert (job.status, job.error_message) == (JobStatus.SUCCEEDED, None)
    page = world.staging.fetch("/")
    assert page.status == 200
    assert world.production.url not in page.body


def test_without_a_backup_nothing_is_promoted(world: World) -> None:
    world.edit_theme("2.0.0")
    assert world.promote().error_code is ErrorCode.BACKUP_GATE_UNMET
    assert ">2.0.0<" not in world.production.fetch("/").body


def test_a_promotion_brings_up_what_changed_and_touches_nothing_else(world: World) -> None:
    settings = f'a:1:{{s:6:"banner";s:{len(world.staging.url)}:"{world.staging.url}";}}'
    world.staging.query("UPDATE {p}options SET option_value = %s WHERE option_name = %s", settings, SHOP)
    world.staging.query("CREATE TABLE {p}coupons (id INT PRIMARY KEY, url VARCHAR(200)) ENGINE=InnoDB")
    world.staging.query("INSERT INTO {p}coupons VALUES (1, %s)", f"{world.staging.url}/coupon")
    world.production.query(TAGLINE, "production's own")
    before = world.evidence()
    assert world.back_up().status is JobStatus.SUCCEEDED
    job = world.promote()
    assert (job.status, job.error_message) == (JobStatus.SUCCEEDED, None)
    page = world.production.fetch("/").body
    assert ">2.0.0<" in page
    assert world.production.query("SELECT url FROM {p}coupons") == ((f"{world.production.url}/coupon",),)
    assert world.production.url in read_option(world, SHOP)
    assert read_option(world, "blogdescription") == "production's own"
    assert world.evidence() == before
    assert world.traces_of_staging() == 0


def test_a_comment_on_production_is_drift_and_blocks(world: World) -> None:
    world.edit_theme("2.1.0")
    world.production.post_comment(find_post(world), "Nice theme")
    world.back_up()
    job = world.promote()
    assert job.error_code is ErrorCode.DRIFT_GATE_UNMET
    assert "comments" in str(job.error_message)
    entry = world.service.find_named("acme", "staging")
    assert entry.record is not None
    assert entry.record.drift_status is DriftStatus.DRIFTED


def test_a_refresh_is_the_way_out_of_drift(world: World) -> None:
    before = world.evidence()
    assert world.refresh().status is JobStatus.SUCCEEDED
    assert world.staging.query("SELECT COUNT(*) FROM {p}comments WHERE comment_content = 'Nice theme'") == (
        (1,),
    )
    assert ">2.1.0<" in world.staging.fetch("/").body
    world.back_up()
    job = world.promote()
    assert (job.status, job.error_message) == (JobStatus.SUCCEEDED, None)
    assert ">2.1.0<" in world.production.fetch("/").body
    assert world.evidence() == before


def test_a_broken_theme_is_rolled_back_by_itself(world: World) -> None:
    before = world.evidence()
    world.break_theme()
    world.back_up()
    job = world.promote()
    assert (job.status, job.error_code) == (JobStatus.FAILED, ErrorCode.HEALTH_CHECK_FAILED)
    page = world.production.fetch("/")
    assert (page.status, ">2.1.0<" in page.body) == (200, True)
    assert world.evidence() == before
    entry = world.service.find_named("acme", "production")
    assert entry.record is not None
    assert entry.record.status is EnvironmentStatus.ACTIVE


def test_a_manual_rollback_goes_back_to_the_release_before(world: World) -> None:
    before = world.evidence()
    world.back_up()
    job = world.roll_back()
    assert (job.status, job.error_message) == (JobStatus.SUCCEEDED, None)
    assert ">2.0.0<" in world.production.fetch("/").body
    assert world.evidence() == before


def test_the_fleet_repo_is_sound_and_every_status_commit_is_signed(world: World) -> None:
    subprocess.run(["git", "-C", world.settings.repo, "fsck", "--strict"], check=True, capture_output=True)
    unsigned = [e.subject for e in world.service.repo.read_log("status", path="status") if not e.signed_by_us]  # type: ignore[arg-type]
    assert unsigned == []
