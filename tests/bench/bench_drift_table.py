"""How fast tables are checked, beside what else checks tables. Run by `make bench-drift`.

PRESSLUFT_BENCH_ROWS (1,000,000 rows of postmeta, a tenth of posts) and PRESSLUFT_BENCH_ROUNDS (7) make it smaller.
"""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import connect
from ansible_collections.pressluft.wordpress.plugins.module_utils.localise import find_changed_keys
from ansible_collections.pressluft.wordpress.plugins.module_utils.measure import Side
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import make_protection
from ansible_collections.pressluft.wordpress.plugins.module_utils.survey import Surveyor, survey_sides
from ansible_collections.pressluft.wordpress.plugins.module_utils.table_digest import digest_table
from ansible_collections.pressluft.wordpress.plugins.module_utils.table_measure import measure_tables

from reconciler.stack.mariadb import MariaDB
from tests.bench.rival import make_cpu_clock, race, report, run_shell
from tests.integration.node.measuring import make_site

ROWS = int(os.environ.get("PRESSLUFT_BENCH_ROWS", "1000000"))
ROUNDS = int(os.environ.get("PRESSLUFT_BENCH_ROUNDS", "7"))
SHOP, SMALL = "bench_shop", "bench_small"
BIG_TABLES = ("postmeta", "posts")
COLLATE = "CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci"
TABLES = f"""
CREATE TABLE wp_options (option_id INT PRIMARY KEY, option_name VARCHAR(191), option_value TEXT, autoload VARCHAR(20));
CREATE TABLE wp_postmeta (meta_id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, post_id BIGINT UNSIGNED NOT NULL,
    meta_key VARCHAR(255), meta_value LONGTEXT, KEY (post_id), KEY (meta_key(191))) {COLLATE};
CREATE TABLE wp_posts (ID BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, post_author BIGINT UNSIGNED NOT NULL,
    post_date DATETIME NOT NULL, post_content LONGTEXT NOT NULL, post_title TEXT NOT NULL,
    post_status VARCHAR(20) NOT NULL, post_name VARCHAR(200) NOT NULL, guid VARCHAR(255) NOT NULL,
    post_type VARCHAR(20) NOT NULL, KEY (post_name(191)), KEY (post_type, post_status, post_date, ID)) {COLLATE};
INSERT INTO wp_postmeta (post_id, meta_key, meta_value) SELECT seq DIV 10, ELT(1 + seq MOD 10, '_edit_last',
    '_thumbnail_id', '_price', '_sku', '_stock', '_regular_price', '_wp_page_template', 'total_sales', '_tax_status',
    '_product_attributes'), IF(seq MOD 10 = 9, CONCAT('a:1:{{s:5:"color";s:40:"', SHA1(seq), '";}}'), seq MOD 100003)
    FROM seq_1_to_{ROWS};
INSERT INTO wp_posts (post_author, post_date, post_content, post_title, post_status, post_name, guid, post_type)
    SELECT seq MOD 7, '2024-01-01', REPEAT(CONCAT('<p>', SHA1(seq), ' lorem ipsum dolor sit amet</p>'), 12),
    CONCAT('Post ', seq), 'publish', CONCAT('post-', seq), CONCAT('https://shop.test/?p=', seq), 'post'
    FROM seq_1_to_{ROWS // 10}
"""


@pytest.fixture(scope="module")
def server(mariadb: MariaDB) -> Iterator[MariaDB]:
    """A server with a shop of the size asked for, and one of forty small tables."""
    with mariadb.connect() as cursor:
        cursor.execute("SET GLOBAL innodb_buffer_pool_size = 1073741824")
        for name in (SHOP, SMALL):
            mariadb.create_database(name)
        cursor.execute(f"USE {SHOP}")
        for statement in TABLES.strip().split(";\n"):
            cursor.execute(statement)
        cursor.execute(f"USE {SMALL}")
        cursor.execute(TABLES.strip().split(";\n")[0])
        for number in range(40):
            cursor.execute(f"CREATE TABLE wp_t{number} (id INT PRIMARY KEY, v TEXT)")
            cursor.execute(f"INSERT INTO wp_t{number} SELECT seq, SHA1(seq) FROM seq_1_to_500")
        cursor.execute("SET GLOBAL innodb_max_purge_lag_wait = 0")
    yield mariadb
    for name in (SHOP, SMALL):
        mariadb.drop_database(name)


def check(server: MariaDB, database: str, state: Path) -> Side:
    """A drift check's look at the tables of one side; what it remembers is in `state`."""
    surveyor = Surveyor(make_site(database), make_protection({}), state_dir=str(state))
    [side] = survey_sides([surveyor], defaults_file=str(server.client_file))
    return side


def test_a_full_digest(server: MariaDB, tmp_path: Path) -> None:
    states = (tmp_path / str(number) for number in range(1000))
    login, names = f"--defaults-file={server.client_file}", " ".join(f"wp_{name}" for name in BIG_TABLES)
    checksum = (
        f"pt-table-checksum {login} --databases={SHOP} --tables={names.replace(' ', ',')} --quiet"
        " --recursion-method=none --no-check-binlog-format --no-check-replication-filters"
    )

    def digest_on_one_connection() -> None:
        with closing(connect(str(server.client_file))) as connection:
            measure_tables(connection, make_site(SHOP), BIG_TABLES)

    def run_sql(sql: str) -> None:
        with server.connect(SHOP) as cursor:
            cursor.execute(sql)
            cursor.fetchall()

    def check_anew() -> None:
        state = next(states)
        state.mkdir()
        check(server, SHOP, state)

    contenders = {
        "pressluft, one connection": digest_on_one_connection,
        "pressluft, two connections": check_anew,
        "pt-table-checksum": lambda: run_shell(checksum, accepted=(0, 8)),
        "CHECKSUM TABLE": lambda: run_sql(f"CHECKSUM TABLE {names.replace(' ', ', ')}"),
        "mariadb-dump | sha256sum": lambda: run_shell(f"mariadb-dump {login} {SHOP} {names} | sha256sum"),
        "count(*)": lambda: [run_sql(f"SELECT COUNT(*) FROM wp_{name}") for name in BIG_TABLES],
    }
    title = f"{ROWS} rows of postmeta, {ROWS // 10} posts"
    report(title, race(contenders, rounds=ROUNDS), against="pt-table-checksum")
    cpu = race(contenders, rounds=3, clock=make_cpu_clock(server.pid))
    report(f"{title}, time of the CPU", cpu, against="pt-table-checksum")


def test_an_unchanged_site_of_forty_tables(server: MariaDB, tmp_path: Path) -> None:
    check(server, SMALL, tmp_path)
    contenders = {
        "pressluft, unchanged (tablespace)": lambda: check(server, SMALL, tmp_path),
        "pt-table-checksum": lambda: run_shell(
            f"pt-table-checksum --defaults-file={server.client_file} --databases={SMALL} --quiet"
            " --recursion-method=none --no-check-binlog-format --no-check-replication-filters",
            accepted=(0, 8),
        ),
    }
    medians = race(contenders, rounds=ROUNDS)
    proofs = [check(server, SMALL, tmp_path).get("table", f"t{number}").proof for number in range(40)]
    title = f"40 tables, {proofs.count('tablespace')} proved by file"
    report(title, medians, against="pt-table-checksum")
    cpu = race(contenders, rounds=3, clock=make_cpu_clock(server.pid))
    report(f"{title}, time of the CPU", cpu, against="pt-table-checksum")


def test_one_changed_row_is_found(server: MariaDB) -> None:
    with closing(connect(str(server.client_file))) as connection:
        evidence = measure_tables(connection, make_site(SHOP), ["postmeta"], rows_kept=ROWS)[
            "postmeta"
        ].evidence
        with server.connect(SHOP) as cursor:
            cursor.execute(f"UPDATE wp_postmeta SET meta_value = 'changed' WHERE meta_id = {ROWS // 2}")
        found: list[list[str]] = []
        medians = race(
            {
                "digest": lambda: digest_table(connection, SHOP, "wp_postmeta"),
                "find the key": lambda: found.append(
                    find_changed_keys(connection, SHOP, "wp_postmeta", evidence=evidence or {})
                ),
            },
            rounds=ROUNDS,
        )
    report(f"one changed row in {ROWS}: {found[-1]}", medians, against="digest")


WRITER = """
CREATE OR REPLACE PROCEDURE write_for(seconds DOUBLE) BEGIN
    DECLARE began, stop_at, moment DATETIME(6) DEFAULT SYSDATE(6);
    DECLARE longest, taken, number BIGINT DEFAULT 0;
    SET stop_at = began + INTERVAL seconds SECOND;
    WHILE SYSDATE(6) < stop_at DO
        SET moment = SYSDATE(6);
        UPDATE wp_postmeta SET meta_value = number WHERE meta_id = 1 + number * 7919 MOD 100000;
        SET taken = TIMESTAMPDIFF(MICROSECOND, moment, SYSDATE(6));
        SET longest = GREATEST(longest, taken), number = number + 1;
    END WHILE;
    SELECT number, longest;
END
"""


@pytest.mark.parametrize("checks", [False, True], ids=["alone", "beside checks"])
def test_how_long_a_writer_waits(server: MariaDB, tmp_path: Path, *, checks: bool) -> None:
    seconds, results = 8.0, list[Any]()

    def write() -> None:
        with server.connect(SHOP) as cursor:
            cursor.execute("SET SESSION time_zone = '+00:00'")
            cursor.execute("CALL write_for(%s)", (seconds,))
            results.extend(cursor.fetchall())

    with server.connect(SHOP) as cursor:
        cursor.execute("SET sql_mode = ''")
        cursor.execute(WRITER)
    writer = threading.Thread(target=write)
    writer.start()
    ended, done = time.monotonic() + seconds, 0
    while checks and time.monotonic() < ended:
        check(server, SHOP, tmp_path)
        done += 1
    writer.join()
    [(number, longest)] = results
    sys.stdout.write(
        f"\n{number / seconds:.0f} updates a second, {done} checks: longest wait {longest / 1000:.1f} ms\n"
    )
