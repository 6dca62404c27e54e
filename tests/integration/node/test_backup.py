"""A backup counts once it was read back, and stands behind a promotion only while it is really there."""

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils import backup as backup_module
from ansible_collections.pressluft.wordpress.plugins.module_utils.backup import (
    create_backup,
    open_storage,
    read_backups,
    verify_backup,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import connect
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import (
    EnvironmentState,
    Job,
    make_environment,
    open_environment,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_config import read_node_config
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import make_protection

from reconciler.stack.mariadb import Login, MariaDB
from tests.integration.node.storage import find_pack

PROTECTION = {
    "protected_paths": ["wp-content/uploads"],
    "preserved_files": ["wp-config.php"],
    "volatile_files": ["wp-content/upgrade", "*.log"],
}
PASSWORD = "secret of the test\n"


@dataclass
class Node:
    """A node with one environment, a restic repository, and what a test asks of them."""

    folder: Path
    mariadb: MariaDB
    database: Login
    environment: Any

    @property
    def root(self) -> Path:
        return self.folder / "site"

    @property
    def config(self) -> Any:
        return read_node_config(str(self.folder / "config"))

    def open_storage(self) -> Any:
        return open_storage(str(self.folder / "state"), str(self.folder / "config"), self.config)

    def restic(self, *arguments: str) -> bytes:
        environment = dict(os.environ, RESTIC_REPOSITORY=str(self.folder / "repository"))
        environment["RESTIC_PASSWORD_FILE"] = str(self.folder / "config" / "restic.password")
        environment["RESTIC_CACHE_DIR"] = str(self.folder / "cache")
        return subprocess.run(["restic", *arguments], env=environment, check=True, capture_output=True).stdout

    def create(self, scope: str = "full") -> Any:
        job = Job(str(uuid.uuid4()), 1, "backup_create", "backup")
        with (
            closing(connect(self.config.mysql_defaults_file)) as conn,
            open_environment(str(self.folder / "state"), self.environment, job=job, conn=conn) as state,
        ):
            return self.create_in(state, scope)

    def create_in(self, state: EnvironmentState, scope: str) -> Any:
        return create_backup(
            state,
            self.open_storage(),
            scope=scope,
            retention_until=None,
            defaults_file=self.config.mysql_defaults_file,
            protection=make_protection(PROTECTION),
        )

    def verify(self, snapshot_id: str | None = None, last_change_at: str | None = None) -> Any:
        folder = str(self.folder / "state" / self.environment.id)
        return verify_backup(
            folder, self.open_storage, snapshot_id=snapshot_id, last_change_at=last_change_at
        )

    @property
    def dump_folder(self) -> Path:
        return self.folder / "state" / self.environment.id / "dump"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty repository: making one takes seconds, copying it does not."""
    folder = tmp_path_factory.mktemp("restic")
    (folder / "password").write_text(PASSWORD)
    environment = dict(os.environ, RESTIC_PASSWORD_FILE=str(folder / "password"))
    subprocess.run(["restic", "init", "-q", "-r", str(folder / "repository")], env=environment, check=True)
    return folder / "repository"


@pytest.fixture
def node(mariadb: MariaDB, database: Login, tmp_path: Path, repository: Path) -> Node:
    config = tmp_path / "config"
    config.mkdir(mode=0o700)
    shutil.copy(mariadb.client_file, config / "mysql.cnf")
    (config / "restic.password").write_text(PASSWORD)
    shutil.copytree(repository, tmp_path / "repository")
    (config / "restic.password").chmod(0o600)
    (config / "node.ini").write_text(
        f"[mysql]\ndefaults_file = {config}/mysql.cnf\n[restic]\nrepository = {tmp_path}/repository\n"
        f"password_file = {config}/restic.password\n"
    )
    _make_site(tmp_path / "site")
    mariadb.load_sql(
        database.user,
        "CREATE TABLE wp_options (option_id INT PRIMARY KEY, v LONGTEXT); INSERT INTO wp_options VALUES (1, 'x');"
        "CREATE TABLE wp_blob (b BLOB); INSERT INTO wp_blob VALUES (x'00ff0a');"
        "CREATE TABLE other_secret (b INT)",
    )
    environment = make_environment(
        {
            "id": str(uuid.uuid4()),
            "name": "production",
            "type": "production",
            "url": "http://127.0.0.1",
            "root": str(tmp_path / "site"),
            "database": {"name": database.user, "table_prefix": "wp_"},
        }
    )
    return Node(tmp_path, mariadb, database, environment)


def _make_site(root: Path) -> None:
    for name in ("releases/new/wp-content/cache", "releases/old", "shared/wp-content/uploads/2026"):
        (root / name).mkdir(parents=True)
    (root / "current").symlink_to("releases/new")
    (root / "releases/new/index.php").write_text("<?php\n")
    (root / "releases/new/wp-content/uploads").symlink_to("../../../shared/wp-content/uploads")
    (root / "releases/new/wp-content/cache/page.html").write_text("cached")
    (root / "releases/old/index.php").write_text("<?php // old\n")
    (root / "shared/wp-content/uploads/2026/näme [1] *.jpg").write_bytes(os.urandom(100_000))
    os.mkfifo(root / "shared/pipe")


def _find_files(node: Node, snapshot_id: str) -> set[str]:
    lines = node.restic("ls", "--json", snapshot_id).splitlines()
    nodes = [json.loads(line) for line in lines]
    return {one["path"] for one in nodes if one.get("type") == "file"}


def test_a_full_backup_restores_to_the_byte_and_leaves_no_dump_behind(node: Node) -> None:
    made = node.create()
    assert made["scope"] == "full"
    assert made["began_at"] < made["ended_at"] < made["read_back_at"]
    assert not node.dump_folder.exists()
    node.restic("restore", made["snapshot_id"], "--target", str(node.folder / "back"))
    restored = Path(f"{node.folder}/back{node.root}")
    name = "shared/wp-content/uploads/2026/näme [1] *.jpg"
    assert (restored / name).read_bytes() == (node.root / name).read_bytes()
    assert (restored / "current").readlink() == Path("releases/new")
    dump = Path(f"{node.folder}/back{node.dump_folder}/database.sql").read_text()
    assert "x'00FF0A'" in dump
    assert "other_secret" not in dump


def test_caches_and_releases_that_are_not_served_are_left_out(node: Node) -> None:
    stored = _find_files(node, node.create(scope="files")["snapshot_id"])
    assert f"{node.root}/releases/new/index.php" in stored
    assert not [
        path for path in stored if "/cache/" in path or "/releases/old/" in path or "database" in path
    ]


def test_uploads_and_a_configuration_outside_of_the_root_are_stored_too(node: Node) -> None:
    storage, config = node.folder / "storage", node.folder / "wp-config.php"
    (node.root / "shared/wp-content/uploads").rename(storage)
    config.write_text("<?php // outside")
    release = node.root / "releases/new"
    (release / "wp-content/uploads").unlink()
    (release / "wp-content/uploads").symlink_to(storage)
    (release / "wp-config.php").symlink_to(config)
    stored = _find_files(node, node.create()["snapshot_id"])
    assert {str(storage / "2026/näme [1] *.jpg"), str(config)} <= stored


def test_no_upload_can_take_its_folder_out_of_the_backup(node: Node) -> None:
    tag = node.root / "shared/wp-content/uploads/CACHEDIR.TAG"
    tag.write_text("Signature: 8a477f597d28d172789f06886806bc55\n")
    stored = _find_files(node, node.create(scope="files")["snapshot_id"])
    assert str(node.root / "shared/wp-content/uploads/2026/näme [1] *.jpg") in stored


def _forge(node: Node, **changes: Any) -> None:
    """Change the node's own note of its newest backup."""
    path = node.folder / "state" / node.environment.id / "backups.json"
    *others, last = json.loads(path.read_text())
    path.write_text(json.dumps([*others, {**last, **changes}]))


def test_a_note_that_calls_a_backup_of_the_database_full_is_not_believed(node: Node) -> None:
    node.create(scope="db")
    _forge(node, scope="full")
    assert "no full backup of this environment" in node.verify()["reason"]


def test_a_note_of_another_environments_snapshot_is_not_believed(node: Node) -> None:
    node.create()
    theirs = node.environment
    node.environment = dataclasses.replace(theirs, id=str(uuid.uuid4()))
    own = node.folder / "state" / node.environment.id
    own.mkdir()
    shutil.copy(node.folder / "state" / theirs.id / "backups.json", own)
    answer = node.verify()
    assert not answer["valid"]
    assert "no full backup of this environment" in answer["reason"]


def test_a_note_that_makes_a_backup_younger_than_its_snapshot_is_not_believed(node: Node) -> None:
    node.create()
    now = datetime.now(UTC) + timedelta(seconds=5)
    _forge(node, began_at=now.isoformat(), ended_at=now.isoformat())
    answer = node.verify(last_change_at=datetime.now(UTC).isoformat())
    assert not answer["valid"]
    assert "before the backup it is said to be" in answer["reason"]


def test_no_password_is_on_a_command_line_while_a_backup_runs(node: Node) -> None:
    stop, seen = threading.Event(), set()

    def watch() -> None:
        while not stop.is_set():
            for process in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    seen.add(" ".join(process.cmdline()))

    password = next(
        line.partition("=")[2].strip()
        for line in Path(node.mariadb.client_file).read_text().splitlines()
        if line.startswith("password")
    )
    thread = threading.Thread(target=watch)
    thread.start()
    node.create()
    stop.set()
    thread.join()
    assert any("restic" in line for line in seen)
    assert not [line for line in seen if PASSWORD.strip() in line or password in line]


def test_the_newest_full_backup_is_valid_and_a_named_one_too(node: Node) -> None:
    first, second = node.create(), node.create()
    node.create(scope="db")
    assert node.verify()["snapshot_id"] == second["snapshot_id"]
    answer = node.verify(first["snapshot_id"])
    assert (answer["valid"], answer["reason"], answer["began_at"]) == (True, "", first["began_at"])


def test_a_backup_from_before_the_last_change_is_not_valid(node: Node) -> None:
    made = node.create()
    answer = node.verify(last_change_at=made["began_at"])
    assert not answer["valid"]
    assert "before the last change" in answer["reason"]
    assert node.verify(last_change_at="2020-01-01T00:00:00Z")["valid"]


def test_a_backup_of_the_database_alone_is_not_valid(node: Node) -> None:
    made = node.create(scope="db")
    assert node.verify()["reason"] == "there is no completed full backup"
    assert not node.verify(made["snapshot_id"])["valid"]


def test_a_snapshot_that_was_forgotten_is_not_valid(node: Node) -> None:
    made = node.create()
    node.restic("forget", made["snapshot_id"])
    answer = node.verify()
    assert not answer["valid"]
    assert "no longer in the storage" in answer["reason"]


@pytest.mark.parametrize(
    ("holds", "said"),
    [
        pytest.param("data", "Fatal: repository contains errors", id="of contents"),
        pytest.param("tree", "no such file or directory", id="of folders, for which restic would look long"),
    ],
)
def test_a_lost_pack_makes_the_backup_not_valid(node: Node, holds: str, said: str) -> None:
    node.create()
    password = node.folder / "config/restic.password"
    find_pack(node.folder / "repository", password=password, holds=holds).unlink()
    answer = node.verify()
    assert not answer["valid"]
    assert "restic check failed" in answer["reason"]
    assert said in answer["reason"]


def test_a_storage_that_is_gone_makes_the_backup_not_valid_instead_of_failing(node: Node) -> None:
    node.create()
    shutil.rmtree(node.folder / "repository")
    answer = node.verify()
    assert not answer["valid"]
    assert "no restic repository" in answer["reason"]


def test_a_record_that_the_node_did_not_make_is_not_valid(node: Node) -> None:
    made = node.create()
    backups = node.folder / "state" / node.environment.id / "backups.json"
    backups.write_text("[]")
    assert not node.verify(made["snapshot_id"])["valid"]


def test_a_pack_damaged_while_it_was_stored_fails_the_backup(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_back = backup_module._read_back

    def damage(restic: Any, snapshot_id: str, **rest: Any) -> None:
        packs = [path for path in (node.folder / "repository" / "data").rglob("*") if path.is_file()]
        pack = max(packs, key=lambda path: path.stat().st_size)
        pack.chmod(0o600)
        content = bytearray(pack.read_bytes())
        content[len(content) // 3] ^= 1
        pack.write_bytes(content)
        read_back(restic, snapshot_id, **rest)

    monkeypatch.setattr(backup_module, "_read_back", damage)
    with pytest.raises(NodeError) as caught:
        node.create()
    assert caught.value.code == "BACKUP_INVALID"
    assert not read_backups(str(node.folder / "state" / node.environment.id))
    assert not node.verify()["valid"]


def test_a_dump_that_breaks_off_fails_the_backup_and_stores_nothing(node: Node) -> None:
    caught: list[NodeError] = []

    def run() -> None:
        try:
            node.create()
        except NodeError as error:
            caught.append(error)

    with node.mariadb.connect(node.database.user) as cursor, node.mariadb.connect() as admin:
        cursor.execute("LOCK TABLES wp_options WRITE, wp_blob WRITE")  # the dump waits for these
        thread = threading.Thread(target=run)
        thread.start()
        admin.execute(f"KILL CONNECTION {_wait_for_dump(admin)}")
        thread.join(60)
    assert caught[0].code == "BACKUP_INVALID"
    assert json.loads(node.restic("snapshots", "--json")) == []
    assert not node.dump_folder.exists()


def _wait_for_dump(admin: Any) -> int:
    """The server's id of the session that waits for a locked table."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        admin.execute("SHOW PROCESSLIST")
        for number, *_, state, _query, _progress in admin.fetchall():
            if "metadata lock" in str(state):
                return int(number)
        time.sleep(0.02)
    raise AssertionError("no dump was started")


def test_a_killed_node_process_leaves_no_plain_dump(node: Node, tmp_path: Path) -> None:
    folder = tmp_path / "held"
    program = (
        "import os, signal, types\n"
        "from ansible_collections.pressluft.wordpress.plugins.module_utils.database import connect\n"
        "from ansible_collections.pressluft.wordpress.plugins.module_utils.dump import hold_dump\n"
        f"site = types.SimpleNamespace(database={node.database.user!r}, table_prefix='wp_')\n"
        f"conn = connect({node.config.mysql_defaults_file!r})\n"
        f"with hold_dump({str(folder)!r}, conn, site) as dump:\n"
        "    assert os.path.exists(dump.path)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=dict(os.environ, PYTHONPATH=_collections()),
        capture_output=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    deadline = time.monotonic() + 10
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not folder.exists()


def _collections() -> str:
    return str(Path(__file__).parents[3] / "ansible" / "collections")


def test_without_a_repository_the_refusal_says_how_to_make_one(node: Node) -> None:
    shutil.rmtree(node.folder / "repository")
    with pytest.raises(NodeError, match="no restic repository") as caught:
        node.create()
    assert (caught.value.code, "restic -r" in caught.value.remedy) == ("BACKUP_INVALID", True)
    assert not (node.folder / "repository").exists()


def test_a_repository_is_made_where_the_owner_allowed_it(node: Node) -> None:
    shutil.rmtree(node.folder / "repository")
    with (node.folder / "config" / "node.ini").open("a") as ini:
        ini.write("initialise = yes\n")
    assert node.verify(node.create()["snapshot_id"])["valid"]


def test_a_wrong_password_is_refused_without_a_second_repository(node: Node) -> None:
    (node.folder / "config" / "restic.password").write_text("another\n")
    with pytest.raises(NodeError, match="wrong password") as caught:
        node.create()
    assert caught.value.code == "BACKUP_INVALID"


def test_an_unfinished_snapshot_of_the_same_job_is_forgotten(node: Node) -> None:
    job = Job(str(uuid.uuid4()), 1, "backup_create", "backup")
    restic = node.open_storage()
    restic.run(["backup", "--tag", f"job:{job.id},environment:{node.environment.id}", str(node.root)])
    with (
        closing(connect(node.config.mysql_defaults_file)) as conn,
        open_environment(str(node.folder / "state"), node.environment, job=job, conn=conn) as state,
    ):
        made = node.create_in(state, "full")
    snapshots = json.loads(node.restic("snapshots", "--json"))
    assert [one["id"] for one in snapshots] == [made["snapshot_id"]]


def test_the_same_jobs_backup_of_another_environment_is_kept(node: Node) -> None:
    job = Job(str(uuid.uuid4()), 1, "env_promote", "backup")
    restic = node.open_storage()
    restic.run(["backup", "--tag", f"job:{job.id},environment:{uuid.uuid4()}", str(node.root)])
    with (
        closing(connect(node.config.mysql_defaults_file)) as conn,
        open_environment(str(node.folder / "state"), node.environment, job=job, conn=conn) as state,
    ):
        node.create_in(state, "full")
    assert len(json.loads(node.restic("snapshots", "--json"))) == 2
