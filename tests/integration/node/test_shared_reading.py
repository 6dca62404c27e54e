"""One table read by two connections: they see the same rows, or only one of them reads."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import (
    DatabaseError,
    connect,
    hold_same_snapshot,
    run_query,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.row_stream import hash_rows
from ansible_collections.pressluft.wordpress.plugins.module_utils.table_digest import digest_table

from reconciler.stack.mariadb import Login, MariaDB
from tests.integration.node.measuring import run

FAMILY = """
CREATE TABLE wp_t (id INT PRIMARY KEY, v BIGINT);
CREATE TABLE wp_kid (id INT PRIMARY KEY, t INT, FOREIGN KEY (t) REFERENCES wp_t (id) ON DELETE CASCADE);
INSERT INTO wp_t VALUES (1, 0), (2, 0);
INSERT INTO wp_kid VALUES (1, 2)
"""


@pytest.fixture
def pair(mariadb: MariaDB) -> Iterator[tuple[Any, Any, Any]]:
    """Two connections that are to read together, and their gate."""
    file = str(mariadb.client_file)
    with closing(connect(file)) as one, closing(connect(file)) as two, closing(connect(file)) as gate:
        yield one, two, gate


def hold(pair: tuple[Any, Any, Any], database: Login, table: str = "wp_t") -> Any:
    one, two, gate = pair
    return hold_same_snapshot([one, two], gate=gate, database=database.user, table=table)


def test_two_connections_find_what_one_finds(admin: Any, pair: tuple[Any, Any, Any], database: Login) -> None:
    admin.execute("CREATE TABLE wp_t (id BIGINT, part INT, v TEXT, PRIMARY KEY (id, part))")
    admin.execute(
        "INSERT INTO wp_t SELECT CAST(seq AS SIGNED) * 97 - 300000, seq MOD 3, SHA1(seq) FROM seq_1_to_20000"
    )
    alone = digest_table(pair[0], database.user, "wp_t", chunk_rows=100)
    with hold(pair, database) as same:
        assert digest_table(same[0], database.user, "wp_t", chunk_rows=100, beside=same[1:]) == alone
    assert alone.rows == sum(chunk.count for chunk in alone.chunks) == 20000


def test_connections_that_share_a_snapshot_see_the_same_rows_whatever_is_written(
    mariadb: MariaDB, admin: Any, pair: tuple[Any, Any, Any], database: Login
) -> None:
    run(admin, FAMILY.strip().split(";\n"))
    done = threading.Event()

    def write() -> None:
        with mariadb.connect(database.user) as cursor:
            while not done.is_set():
                cursor.execute("UPDATE wp_t SET v = v + 1")

    writers = [threading.Thread(target=write) for _writer in range(2)]
    for writer in writers:
        writer.start()
    shared, ends = 0, time.monotonic() + 120
    try:
        while shared < 200 and time.monotonic() < ends:
            with hold(pair, database) as same:
                seen = {tuple(run_query(one, f"SELECT * FROM {database.user}.wp_t")) for one in same}
                shared += len(same) == 2
            assert len(seen) == 1
    finally:
        done.set()
        for writer in writers:
            writer.join()
    assert shared == 200


OPEN_WRITES = [
    pytest.param(["START TRANSACTION", "UPDATE wp_t SET v = 5"], "wp_t", id="update"),
    pytest.param(["START TRANSACTION", "DELETE FROM wp_t WHERE id = 2"], "wp_kid", id="cascade"),
    pytest.param(["XA START 'a'", "UPDATE wp_t SET v = 5", "XA END 'a'", "XA PREPARE 'a'"], "wp_t", id="prepared"),
]  # fmt: skip


@pytest.mark.parametrize(("statements", "table"), OPEN_WRITES)
@pytest.mark.parametrize("client", ["connected", "gone"])
def test_a_table_in_use_is_read_by_one_connection(
    mariadb: MariaDB, admin: Any, pair: tuple[Any, Any, Any], database: Login, *,
    statements: list[str], table: str, client: str,
) -> None:  # fmt: skip
    run(admin, FAMILY.strip().split(";\n"))
    with mariadb.connect(database.user) as other:
        run(other, statements)
        if client == "connected":
            assert count_readers(pair, database, table) == 1
    expected = 1 if statements[0].startswith("XA") else 2  # other transactions end with their client
    try:
        wait_for_rollback(admin)
        assert count_readers(pair, database, table) == expected
    finally:
        if expected == 1:
            admin.execute("XA ROLLBACK 'a'")


def count_readers(pair: tuple[Any, Any, Any], database: Login, table: str) -> int:
    with hold(pair, database, table) as same:
        return len(same)


def wait_for_rollback(cursor: Any) -> None:
    """Wait until the server has ended what clients that are gone have left open."""
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        cursor.execute(
            "SELECT COUNT(*) FROM information_schema.INNODB_TRX JOIN information_schema.PROCESSLIST"
            " ON trx_mysql_thread_id = ID WHERE trx_rows_modified > 0"
        )
        if cursor.fetchone() == (0,):
            return
    raise AssertionError("transactions stay open")


def test_writers_wait_neither_while_it_is_read_nor_afterwards(
    mariadb: MariaDB, admin: Any, pair: tuple[Any, Any, Any], database: Login
) -> None:
    run(admin, FAMILY.strip().split(";\n"))
    with mariadb.connect(database.user) as other:
        other.execute("SET lock_wait_timeout = 1, innodb_lock_wait_timeout = 1")
        with hold(pair, database) as same:
            assert len(same) == 2
            other.execute("UPDATE wp_t SET v = 1")
            other.execute("ALTER TABLE wp_kid COMMENT 'x'")
            sums = [run_query(one, f"SELECT SUM(v) FROM {database.user}.wp_t") for one in same]
            assert sums == [[(0,)], [(0,)]]
        other.execute("ALTER TABLE wp_t COMMENT 'x'")


def test_an_answer_that_is_cut_off_is_no_digest(
    mariadb: MariaDB, admin: Any, ours: Any, database: Login
) -> None:
    admin.execute("CREATE TABLE wp_t (id INT PRIMARY KEY, v CHAR(200))")
    admin.execute("INSERT INTO wp_t SELECT seq, REPEAT('x', 200) FROM seq_1_to_50000")
    rows = hash_rows(ours, f"SELECT * FROM {database.user}.wp_t", chunk_rows=10)
    next(rows)
    admin.execute("KILL QUERY %s", (ours.thread_id(),))
    with pytest.raises(DatabaseError, match="interrupted"):
        list(rows)
    lost = hash_rows(ours, f"SELECT * FROM {database.user}.wp_t", chunk_rows=10)
    next(lost)
    admin.execute("KILL %s", (ours.thread_id(),))
    with pytest.raises(DatabaseError):
        list(lost)


def test_a_connection_is_free_again_after_an_answer_that_was_not_read_to_its_end(
    admin: Any, ours: Any, database: Login
) -> None:
    admin.execute("CREATE TABLE wp_t (id INT PRIMARY KEY, v CHAR(200))")
    admin.execute("INSERT INTO wp_t SELECT seq, REPEAT('x', 200) FROM seq_1_to_50000")
    with closing(hash_rows(ours, f"SELECT * FROM {database.user}.wp_t", chunk_rows=10)) as rows:
        next(rows)
    assert run_query(ours, "SELECT 'ä'") == [("ä",)]
