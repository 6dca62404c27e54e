"""The proof that a table was not changed, attacked: whatever is done to a table or its file, no change is missed."""

import os
import shutil
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils import survey, tablespace
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import (
    connect,
    find_tables,
    run_query,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import Environment
from ansible_collections.pressluft.wordpress.plugins.module_utils.file_clock import FileClock, FileStamp
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import Measure, make_protection
from ansible_collections.pressluft.wordpress.plugins.module_utils.survey import Surveyor, survey_sides
from ansible_collections.pressluft.wordpress.plugins.module_utils.table_measure import measure_tables
from ansible_collections.pressluft.wordpress.plugins.module_utils.tablespace import Tablespaces

from reconciler.stack.mariadb import Login, MariaDB
from tests.integration.node.measuring import make_site, run

TABLES = """
CREATE TABLE wp_options (option_id INT PRIMARY KEY, option_name VARCHAR(191), option_value TEXT, autoload VARCHAR(20));
CREATE TABLE wp_t (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(50), w TEXT);
CREATE TABLE wp_u (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(50), w TEXT);
CREATE TABLE wp_kid (id INT PRIMARY KEY, t INT, FOREIGN KEY (t) REFERENCES wp_t (id) ON DELETE CASCADE);
INSERT INTO wp_t (v, w) SELECT seq, REPEAT('x', 100) FROM seq_1_to_300;
INSERT INTO wp_u (v, w) SELECT seq + 1, REPEAT('x', 100) FROM seq_1_to_300;
INSERT INTO wp_kid VALUES (1, 300)
"""


REMEMBERED_UPDATES = tablespace._read_updates


class Watched:
    """A site whose tables were digested and stamped; `check` looks again as a drift check does."""

    def __init__(self, mariadb: MariaDB, database: str, state: Path) -> None:
        self.mariadb, self.database, self.state = mariadb, database, state
        self.clock = FileClock()

    @property
    def site(self) -> Environment:
        return make_site(self.database)

    @property
    def files(self) -> Path:
        return self.mariadb.datadir / self.database

    def check(self) -> dict[str, Measure]:
        """What the drift check says of each table."""
        surveyor = Surveyor(self.site, make_protection({}), state_dir=str(self.state), clock=self.clock)
        [side] = survey_sides([surveyor], defaults_file=str(self.mariadb.client_file))
        return {name: side.get("table", name) for name in side.names("table")}

    def read(self) -> dict[str, Measure]:
        """What the tables hold, by reading every row."""
        with closing(connect(str(self.mariadb.client_file))) as connection:
            return measure_tables(connection, self.site)

    def find_proofs(self) -> set[str]:
        """Check, see that every digest is the true one, and return the names of the tables that were not read."""
        found, read = self.check(), self.read()
        for name, measure in found.items():
            assert measure.digest == read[name].digest, name
            assert not measure.unreadable
        return {name for name, measure in found.items() if measure.proof == "tablespace"}


@pytest.fixture(autouse=True)
def no_hints(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server does not remember when a table was written to, as after a restart: only the files can tell.

    And a busy disk, on which no proof is had in time, is not what these tests are about.
    """
    monkeypatch.setattr(tablespace, "_FLUSH_SECONDS", 30)
    monkeypatch.setattr(tablespace, "_read_updates", lambda *_of: {})


@pytest.fixture
def watched(mariadb: MariaDB, database: Login, tmp_path: Path) -> Watched:
    with mariadb.connect(database.user) as cursor:
        run(cursor, TABLES.strip().split(";\n"))
        wait_for_purge(cursor)
    watched = Watched(mariadb, database.user, tmp_path)
    assert watched.find_proofs() == set()
    assert watched.find_proofs() == {"t", "u", "kid"}
    return watched


def wait_for_purge(cursor: Any) -> None:
    """Let the server tidy up after what was written: until then it goes on changing the files."""
    cursor.execute("SET GLOBAL innodb_max_purge_lag_wait = 0")


def test_a_change_is_seen_and_the_other_tables_are_not_read_for_it(watched: Watched, admin: Any) -> None:
    admin.execute("UPDATE wp_t SET v = 'y' WHERE id = 7")
    assert watched.find_proofs() == {"u", "kid"}


def test_what_was_read_again_is_proved_from_then_on(watched: Watched, admin: Any) -> None:
    admin.execute("UPDATE wp_t SET v = 'y' WHERE id = 7")
    wait_for_purge(admin)
    watched.check()
    assert watched.find_proofs() == {"t", "u", "kid"}


SQL_CHANGES = [
    pytest.param(["UPDATE wp_t SET v = 'y' WHERE id = 300"], id="update"),
    pytest.param(["UPDATE wp_t SET v = 'y'", "UPDATE wp_t SET v = id"], id="changed-and-changed-back"),
    pytest.param(["DELETE FROM wp_t WHERE id = 5"], id="delete"),
    pytest.param(["DELETE FROM wp_t WHERE id = 300"], id="cascade"),
    pytest.param(["TRUNCATE wp_u"], id="truncate"),
    pytest.param(["ALTER TABLE wp_t ADD c INT DEFAULT 5"], id="instant-column"),
    pytest.param(["ALTER TABLE wp_t ALTER v SET DEFAULT 'z'"], id="default-only"),
    pytest.param(["ALTER TABLE wp_t COMMENT 'x'"], id="comment-only"),
    pytest.param(["ALTER TABLE wp_t CHANGE v vv VARCHAR(50)"], id="column-renamed"),
    pytest.param(["ALTER TABLE wp_t MODIFY v VARCHAR(60) COLLATE utf8mb4_bin"], id="collation"),
    pytest.param(["ALTER TABLE wp_t FORCE"], id="rebuilt"),
    pytest.param(["ALTER TABLE wp_u ENGINE MyISAM"], id="to-myisam"),
    pytest.param(["ALTER TABLE wp_u PARTITION BY HASH (id) PARTITIONS 2"], id="partitioned"),
    pytest.param(["CREATE TRIGGER tr BEFORE INSERT ON wp_t FOR EACH ROW SET NEW.v = 'x'"], id="trigger"),
    pytest.param(
        ["RENAME TABLE wp_t TO x, wp_u TO wp_t, x TO wp_u"], id="two-tables-swapped"
    ),
    pytest.param(
        ["CREATE TABLE x LIKE wp_u", "INSERT INTO x SELECT * FROM wp_u", "DROP TABLE wp_u", "RENAME TABLE x TO wp_u"],
        id="replaced-by-its-copy",
    ),
    pytest.param(
        ["CREATE TABLE x LIKE wp_u", "INSERT INTO x SELECT id, 'z', w FROM wp_u", "DROP TABLE wp_u",
         "RENAME TABLE x TO wp_u"],
        id="replaced-by-another",
    ),
    pytest.param(["DROP TABLE wp_u"], id="dropped"),
    pytest.param(["DROP TABLE wp_u", "CREATE VIEW wp_u AS SELECT * FROM wp_t"], id="view"),
    pytest.param(["START TRANSACTION", "UPDATE wp_t SET v = 'q'", "ROLLBACK"], id="rolled-back"),
]  # fmt: skip


@pytest.mark.parametrize("change", SQL_CHANGES)
def test_whatever_sql_does_the_digest_is_the_true_one(
    watched: Watched, admin: Any, change: list[str]
) -> None:
    run(admin, change)
    watched.find_proofs()
    watched.find_proofs()


def test_maintenance_that_leaves_the_file_leaves_the_proof(watched: Watched, admin: Any) -> None:
    for statement in ("ANALYZE TABLE wp_t", "CHECK TABLE wp_t", "FLUSH TABLES", "SELECT COUNT(*) FROM wp_t"):
        admin.execute(statement)
        admin.fetchall()
    assert watched.find_proofs() == {"t", "u", "kid"}


def copy_file_over(watched: Watched, admin: Any, *, keep_times: bool) -> None:
    """Export u, change it, and bring the exported file back by DISCARD and IMPORT TABLESPACE."""
    file = watched.files / "wp_t.ibd"
    before = file.stat()
    admin.execute("FLUSH TABLES wp_u FOR EXPORT")
    shutil.copy(watched.files / "wp_u.ibd", watched.state / "kept.ibd")
    admin.execute("UNLOCK TABLES")
    admin.execute("ALTER TABLE wp_kid DROP FOREIGN KEY wp_kid_ibfk_1")
    admin.execute("ALTER TABLE wp_t DISCARD TABLESPACE")
    shutil.copy(watched.state / "kept.ibd", file)
    shutil.chown(file, "mysql", "mysql")
    admin.execute("ALTER TABLE wp_t IMPORT TABLESPACE")
    if keep_times:
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("keep_times", [False, True])
def test_an_imported_file_is_another_one_even_with_its_times_forged(
    watched: Watched, admin: Any, *, keep_times: bool
) -> None:
    copy_file_over(watched, admin, keep_times=keep_times)
    assert "t" not in watched.find_proofs()


def test_a_file_changed_in_place_with_its_time_restored_is_another_one(watched: Watched) -> None:
    file = watched.files / "wp_t.ibd"
    before = file.stat()
    with file.open("r+b") as stream:
        first = stream.read(1)
        stream.seek(0)
        stream.write(first)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_mtime_ns == before.st_mtime_ns
    assert watched.find_proofs() == {"u", "kid"}


def test_a_proof_outlives_a_restart(watched: Watched, mariadb: MariaDB) -> None:
    mariadb.stop()
    mariadb.start()
    assert watched.find_proofs() == {"t", "u", "kid"}


@pytest.mark.parametrize("end", [MariaDB.stop, MariaDB.kill], ids=["restart", "kill-9"])
def test_a_change_right_before_the_servers_end_is_seen(
    watched: Watched, mariadb: MariaDB, end: Callable[[MariaDB], None]
) -> None:
    with mariadb.connect(watched.database) as cursor:
        cursor.execute("UPDATE wp_u SET v = 'last words' WHERE id = 9")
    end(mariadb)
    mariadb.start()
    assert "u" not in watched.find_proofs()


def test_what_an_older_file_brings_back_is_read(watched: Watched, mariadb: MariaDB) -> None:
    file, kept = watched.files / "wp_u.ibd", watched.state / "older.ibd"
    with mariadb.connect(watched.database) as cursor:
        cursor.execute("FLUSH TABLES wp_u FOR EXPORT")
        shutil.copy2(file, kept)
        cursor.execute("UNLOCK TABLES")
        cursor.execute("UPDATE wp_u SET v = 'newer'")
        wait_for_purge(cursor)
    watched.check()
    assert "u" in watched.find_proofs()
    mariadb.stop()
    before = file.stat()
    shutil.copyfile(kept, file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    mariadb.start()
    assert "u" not in watched.find_proofs()


def test_a_prepared_transaction_whose_client_is_gone_hides_nothing(
    mariadb: MariaDB, admin: Any, database: Login, tmp_path: Path
) -> None:
    run(admin, TABLES.strip().split(";\n"))
    with mariadb.connect(database.user) as other:
        for statement in ("XA START 'a'", "UPDATE wp_u SET v = 'late'", "XA END 'a'", "XA PREPARE 'a'"):
            other.execute(statement)
    watched = Watched(mariadb, database.user, tmp_path)
    try:
        watched.check()
        watched.check()
    finally:
        admin.execute("XA COMMIT 'a'")
    assert "u" not in watched.find_proofs()


def test_a_cascade_in_an_open_transaction_hides_nothing(watched: Watched, mariadb: MariaDB) -> None:
    with mariadb.connect(watched.database) as other:
        other.execute("START TRANSACTION")
        other.execute("DELETE FROM wp_t WHERE id = 300")
        watched.check()
        watched.check()
        other.execute("COMMIT")
    watched.find_proofs()


def test_a_table_in_use_is_read_and_never_waited_for(watched: Watched, mariadb: MariaDB) -> None:
    with mariadb.connect(watched.database) as other:
        other.execute("START TRANSACTION")
        other.execute("INSERT INTO wp_u (v) VALUES ('uncommitted')")
        began = time.monotonic()
        assert watched.find_proofs() == {"t", "kid"}
        assert time.monotonic() - began < 30


def test_a_table_that_was_just_written_to_is_not_locked(
    watched: Watched, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tablespace, "_read_updates", REMEMBERED_UPDATES)
    statements: list[str] = []

    def run_and_note(connection: Any, sql: str, *args: Any) -> Any:
        statements.append(sql)
        return run_query(connection, sql, *args)

    monkeypatch.setattr(tablespace, "run_query", run_and_note)
    admin.execute("DO SLEEP(1.1)")  # the server remembers writes by the second: let this one be a later one
    admin.execute("UPDATE wp_u SET v = 'now'")
    watched.check()
    locked = " ".join(sql for sql in statements if "FOR EXPORT" in sql)
    assert "wp_t" in locked
    assert "wp_u" not in locked


def test_a_large_table_that_was_just_written_to_is_not_locked_to_share_it(
    watched: Watched, admin: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tablespace, "_read_updates", REMEMBERED_UPDATES)
    monkeypatch.setattr(survey, "_LARGE", 0)
    monkeypatch.setattr(tablespace, "QUIET_SECONDS", 3600)
    before = count_locks(admin)
    admin.execute("CREATE TABLE wp_quiet (id INT PRIMARY KEY)")
    Watched(watched.mariadb, watched.database, tmp_path / "new").check()
    assert count_locks(admin) - before == len({"quiet"})


def count_locks(cursor: Any) -> int:
    """How many times tables were locked so far."""
    cursor.execute("SHOW GLOBAL STATUS LIKE 'Com_lock_tables'")
    return int(cursor.fetchone()[1])


class CoarseClock(FileClock):
    """A kernel whose clock ticks every 200 ms."""

    tick = 200_000_000

    def read_now(self) -> int:
        return super().read_now() // self.tick * self.tick

    def read_stamp(self, path: str) -> FileStamp | None:
        stamp = super().read_stamp(path)
        if stamp is None:
            return None
        mtime, ctime = (moment // self.tick * self.tick for moment in (stamp.mtime, stamp.ctime))
        return stamp._replace(mtime=mtime, ctime=ctime)


def test_two_changes_within_a_tick_of_a_coarse_clock_are_told_apart(watched: Watched, admin: Any) -> None:
    watched.clock = CoarseClock()
    for number in range(8):
        admin.execute(f"UPDATE wp_u SET v = 'a{number}' WHERE id = 1")
        watched.check()
        admin.execute(f"UPDATE wp_u SET v = 'b{number}' WHERE id = 1")
        watched.find_proofs()
    wait_for_purge(admin)
    ends = time.monotonic() + 120
    while "u" not in watched.find_proofs():  # what tidies up may hold the table for a moment yet
        assert time.monotonic() < ends


class ClockSetBack(FileClock):
    """The machine's clock an hour ago."""

    def read_now(self) -> int:
        return super().read_now() - 3_600_000_000_000


def test_a_clock_that_was_set_back_proves_nothing(watched: Watched) -> None:
    watched.clock = ClockSetBack()
    assert watched.find_proofs() == set()


def test_another_boot_of_the_machine_proves_nothing(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tablespace, "read_boot_id", lambda: "another")
    assert watched.find_proofs() == set()


def test_a_file_system_that_is_not_local_proves_nothing(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tablespace, "is_local", lambda _device: False)
    assert watched.find_proofs() == set()


def test_the_folder_of_another_server_proves_nothing(
    watched: Watched, server_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(watched.files, server_folder / "copy")
    monkeypatch.setattr(tablespace, "_find_folder", lambda *_of: str(server_folder / "copy"))
    watched.check()
    assert watched.find_proofs() == set()


def test_what_another_server_was_seen_to_hold_is_not_believed_of_this_one(
    watched: Watched, server_folder: Path
) -> None:
    with MariaDB(server_folder / "other", report=lambda _line: None) as other:
        other.create_database(watched.database)
        with other.connect(watched.database) as cursor:
            run(cursor, TABLES.strip().split(";\n"))
            cursor.execute("UPDATE wp_t SET v = 'other'")
        elsewhere = Watched(other, watched.database, watched.state)
        assert elsewhere.find_proofs() == set()


def test_a_memory_that_was_edited_is_not_believed(watched: Watched) -> None:
    [memory] = watched.state.glob("*/tablespaces.json")
    memory.write_bytes(memory.read_bytes().replace(b"sha256:", b"sha256:f", 1))
    assert watched.find_proofs() == set()


def test_a_table_outside_of_the_data_directory_is_read(
    mariadb: MariaDB, admin: Any, database: Login, tmp_path: Path
) -> None:
    run(admin, TABLES.strip().split(";\n"))
    admin.execute("SET GLOBAL innodb_file_per_table = 0")
    try:
        admin.execute("CREATE TABLE wp_shared (id INT PRIMARY KEY)")
    finally:
        admin.execute("SET GLOBAL innodb_file_per_table = 1")
    admin.execute("CREATE TABLE wp_parts (id INT PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS 2")
    wait_for_purge(admin)
    watched = Watched(mariadb, database.user, tmp_path)
    watched.check()
    assert watched.find_proofs() == {"t", "u", "kid"}


def test_an_account_that_may_not_lock_reads(
    watched: Watched, database: Login, mariadb: MariaDB, tmp_path: Path
) -> None:
    login = tmp_path / "weak.cnf"
    login.write_text(
        f"[client]\nuser={database.user}\npassword={database.password}\nsocket={database.socket}\n"
    )
    surveyor = Surveyor(watched.site, make_protection({}), state_dir=str(watched.state))
    [side] = survey_sides([surveyor], defaults_file=str(login))
    assert {side.get("table", name).proof for name in ("t", "u", "kid")} == {""}
    assert {side.get("table", name).unreadable for name in ("t", "u", "kid")} == {""}


def test_no_lock_and_no_file_is_left_behind(watched: Watched, mariadb: MariaDB, admin: Any) -> None:
    watched.check()
    assert not list(watched.files.glob("*.cfg"))
    with mariadb.connect(watched.database) as other:
        other.execute("SET lock_wait_timeout = 1")
        other.execute("UPDATE wp_t SET v = 'free' WHERE id = 1")


def test_a_stamp_is_only_taken_once_a_further_change_would_show(
    watched: Watched, ours: Any, admin: Any
) -> None:
    admin.execute("UPDATE wp_t SET v = 'fresh'")
    spaces = Tablespaces(ours, watched.database)
    info = find_tables(ours, watched.database, "wp_")["t"]
    stamp = spaces.take_stamp(info)
    assert stamp is not None
    clock = FileClock()
    assert clock.read_now() - stamp.file.ctime >= 2 * clock.tick
