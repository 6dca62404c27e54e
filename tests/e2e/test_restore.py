"""Backup, wipe, restore of a real site to S3-compatible storage and back. The tests of this file are one story."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import connect
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import Environment
from ansible_collections.pressluft.wordpress.plugins.module_utils.table_measure import measure_tables

from reconciler.demo.evidence import run_shell
from schemas.intent import Restore
from schemas.state import BackupStatus, ErrorCode, JobStatus, JobType, StorageType
from schemas.status import BackupRecord
from tests.e2e.world import World
from tests.s3 import S3Storage

pytestmark = pytest.mark.e2e

FILES = (
    'cd "$1" && find . -path ./current -prune -o -path ./releases -prune -o -printf "%y %m %U %G %l %p\\n" | sort; '
    'cd "$1" && find ./shared -type f -print0 | sort -z | xargs -0 sha256sum'
)
OPTIONS = (
    "SELECT option_id, option_name, option_value, autoload FROM {p}options"
    " WHERE option_name NOT LIKE '%%transient%%' AND option_name <> 'cron' ORDER BY option_id"
)
CODE = (
    'cd "$1"/current/ && find . -printf "%y %m %U %G %l %p\\n" | sort; '
    "find . -type f -print0 | sort -z | xargs -0 sha256sum"
)


@pytest.fixture(scope="module")
def connection() -> str:
    """How the node is reached."""
    return "local"


@pytest.fixture(scope="module")
def storage(world: World) -> Iterator[S3Storage]:
    """The storage that the node's configuration names from now on; the repository in it is still to be made."""
    with S3Storage(world.folder / "s3") as served:
        config = Path(world.settings.node_config_dir)
        served.write_keys(config / "restic.env")
        text = (config / "node.ini").read_text()
        text = re.sub(r"(?m)^repository = .*$", f"repository = {served.repository}\ninitialise = yes", text)
        text = re.sub(r"(?m)^environment_file =.*$", f"environment_file = {config}/restic.env", text)
        (config / "node.ini").write_text(text)
        yield served


def take_photo(world: World) -> Mapping[str, object]:
    """Every table's digest, and kind, mode, owner, link and content of every file of the site.

    Of the options the rows but for transients and cron's: the first visit, which is the health check's, writes those.
    (That the options that were loaded are those that were stored, all of them, the restore itself proves.)
    """
    site = world.production
    environment = Environment(
        id="", name="", type="production", url="", root="", database=site.database_name,
        table_prefix=site.table_prefix, php_cli="", fpm_service="", cache_path="", health_urls=(), body_contains="",
        stable_for=0,
    )  # fmt: skip
    with closing(connect(str(site.stack.mariadb.client_file))) as conn:
        tables = {name: measure.digest for name, measure in measure_tables(conn, environment).items()}
    tables["options"] = str(site.query(OPTIONS))
    files = {name: run_shell(script, str(site.root)) for name, script in (("root", FILES), ("code", CODE))}
    return {"tables": tables, **files}


def find_backup(world: World) -> BackupRecord:
    """The first backup of production."""
    production = world.service.find_named("acme", "production").environment.metadata.id
    return min(world.service.list_backups(production), key=lambda backup: backup.created_at)


def wipe(world: World) -> None:
    """Leave neither a table nor a file."""
    site = world.production
    for (name,) in site.query("SHOW TABLES"):
        site.query(f"DROP TABLE `{name}`")
    for path in site.root.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


PHOTOS: dict[str, Mapping[str, object]] = {}


def test_a_backup_goes_to_the_storage_by_keys_from_a_file(world: World, storage: S3Storage) -> None:
    world.production.query("CREATE TABLE {p}places (id INT PRIMARY KEY, lat FLOAT, lng FLOAT) ENGINE=InnoDB")
    world.production.query(
        "INSERT INTO {p}places VALUES (1, 52.520008, 13.404954), (2, -33.868820, 151.209290)"
    )
    job = world.back_up()
    assert (job.status, job.error_message) == (JobStatus.SUCCEEDED, None)
    backup = find_backup(world)
    assert (backup.status, backup.storage_type) == (BackupStatus.COMPLETED, StorageType.S3)
    assert backup.storage_path == storage.repository
    PHOTOS["before"] = take_photo(world)


def test_a_wiped_site_is_restored_byte_by_byte(world: World) -> None:
    wipe(world)
    assert world.production.fetch("/").status != 200
    job = world.act(Restore, {"environment": "production", "backup_id": find_backup(world).id})
    assert (job.status, job.error_message) == (JobStatus.SUCCEEDED, None)
    after = take_photo(world)
    assert after["tables"] == PHOTOS["before"]["tables"]
    assert after["root"] == PHOTOS["before"]["root"]
    assert after["code"] == PHOTOS["before"]["code"]
    assert world.production.fetch("/").status == 200
    assert sorted(path.name for path in (world.production.root / "releases").iterdir()) == [str(job.id)]


def test_no_key_is_in_git_or_in_what_the_node_and_the_daemon_keep(world: World, storage: S3Storage) -> None:
    history = run_shell('git -C "$1" log --patch --all', world.settings.repo)
    assert str(find_backup(world).checksum) in history
    assert storage.secret not in history
    for folder in (world.settings.node_state_dir, str(world.settings.state_dir)):
        assert run_shell('grep -rlF -- "$2" "$1" || true', folder, storage.secret) == ""


def test_expired_backups_are_forgotten_by_the_daemon_itself(world: World) -> None:
    first, policy = find_backup(world), world.folder / "policy"
    run_shell('git clone -q "$1" "$2"', world.settings.repo, str(policy))
    fleet = policy / "pressluft.yaml"
    fleet.write_text(
        re.sub(r"(?m)^spec:.*$", "spec: {retention: 1s}", fleet.read_text().split("spec:")[0] + "spec:")
    )
    identity = "git -c user.name=Olive -c user.email=olive@example.test"
    run_shell(f'cd "$1" && {identity} commit -qam "Keep backups for a second" && git push -q', str(policy))
    jobs = [world.back_up(), world.back_up()]
    world.run_daemon()
    cleanups = [job for job in world.service.list_jobs() if job.job_type is JobType.BACKUP_CLEANUP]
    assert {job.status for job in cleanups} == {JobStatus.SUCCEEDED}, [job.error_message for job in cleanups]
    production = world.service.find_named("acme", "production").environment.metadata.id
    statuses = {backup.job_id: backup.status for backup in world.service.list_backups(production)}
    assert [statuses[job.id] for job in jobs] == [BackupStatus.EXPIRED, BackupStatus.COMPLETED]
    assert statuses[first.job_id] is BackupStatus.COMPLETED


def test_wrong_keys_are_refused_and_nothing_is_changed(world: World, storage: S3Storage) -> None:
    keys = Path(world.settings.node_config_dir) / "restic.env"
    storage.write_keys(keys, secret="wrong")
    job = world.act(Restore, {"environment": "production", "backup_id": find_backup(world).id})
    assert (job.status, job.error_code) == (JobStatus.FAILED, ErrorCode.BACKUP_INVALID)
    assert "refused the credentials" in str(job.error_message)
    assert "wrong" not in str(job.error_message)
    assert take_photo(world) == PHOTOS["before"]
