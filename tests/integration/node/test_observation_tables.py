"""How tables are found, read in one moment, chunked, and how a changed row is named."""

import math
import random
import struct
from contextlib import closing
from typing import Any

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.column import (
    make_field,
    read_columns,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import (
    DatabaseError,
    connect,
    find_tables,
    hold_snapshot,
    open_snapshot,
    run_query,
    server_identity,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.localise import ROWS_KEPT, find_changed_keys
from ansible_collections.pressluft.wordpress.plugins.module_utils.table_digest import digest_table
from ansible_collections.pressluft.wordpress.plugins.module_utils.table_measure import measure_tables

from reconciler.stack.mariadb import Login, MariaDB
from tests.integration.node.measuring import CI, TEXT_ROWS, make_site, measure, run


@pytest.mark.parametrize("key", ["id INT PRIMARY KEY", "id INT"])
def test_a_row_larger_than_the_servers_packets_hides_no_change(
    admin: Any, mariadb: MariaDB, database: Login, key: str
) -> None:
    columns = ", ".join(f"c{number} TEXT" for number in range(40))
    values = ", ".join(["REPEAT('x', 60000)"] * 40)
    run(admin, [f"CREATE TABLE wp_t ({key}, {columns}, d LONGTEXT)"])
    run(admin, [f"INSERT INTO wp_t VALUES (1, {values}, REPEAT('x', 2000000))"])
    admin.execute("SET GLOBAL max_allowed_packet = 1048576")
    try:
        with closing(connect(str(mariadb.client_file))) as small:
            first = measure(small, database)["t"]
            admin.execute("UPDATE wp_t SET d = CONCAT(REPEAT('x', 1999999), 'y')")
            second = measure(small, database)["t"]
            admin.execute("UPDATE wp_t SET c39 = 'z'")
            third = measure(small, database)["t"]
    finally:
        admin.execute("SET GLOBAL max_allowed_packet = DEFAULT")
    assert len({first.digest, second.digest, third.digest, None}) == 4


def test_a_table_outside_of_snapshots_is_read_in_one_statement(
    admin: Any, ours: Any, database: Login
) -> None:
    run(admin, [f"{TEXT_ROWS} ENGINE=MyISAM", "INSERT INTO wp_t VALUES (1,'x','y'),(2,'x','y')"])
    digest = digest_table(ours, database.user, "wp_t", chunk_rows=1)
    assert (digest.rows, digest.chunks) == (2, ())


def test_a_locked_table_is_unreadable_and_the_others_are_measured(
    admin: Any, ours: Any, database: Login
) -> None:
    run(admin, ["CREATE TABLE wp_a (id INT)", "CREATE TABLE wp_b (id INT)", "LOCK TABLES wp_a WRITE"])
    ours.query("SET SESSION lock_wait_timeout = 1")
    measures = measure(ours, database)
    admin.execute("UNLOCK TABLES")
    assert measures["a"].digest is None
    assert "Lock wait timeout" in measures["a"].unreadable
    assert measures["b"].digest is not None


def test_two_values_of_forty_megabytes_are_told_apart(admin: Any, mariadb: MariaDB, database: Login) -> None:
    admin.execute("SET GLOBAL max_allowed_packet = 134217728")
    try:
        with mariadb.connect(database.user) as cursor, closing(connect(str(mariadb.client_file))) as large:
            run(
                cursor,
                [
                    "CREATE TABLE wp_t (id INT PRIMARY KEY, v LONGTEXT, w LONGTEXT)",
                    "INSERT INTO wp_t VALUES (1, REPEAT('x', 40000000), REPEAT('y', 40000000))",
                ],
            )
            first = measure(large, database)["t"]
            cursor.execute("UPDATE wp_t SET v = w, w = REPEAT('x', 40000000)")
            second = measure(large, database)["t"]
    finally:
        admin.execute("SET GLOBAL max_allowed_packet = DEFAULT")
    assert None not in (first.digest, second.digest)
    assert first.digest != second.digest


@pytest.mark.parametrize(
    "key",
    [
        pytest.param("id INT NOT NULL", id="int"),
        pytest.param("id VARCHAR(30) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci", id="ci-string"),
        pytest.param("id VARBINARY(30)", id="bytes"),
        pytest.param("id DATETIME", id="datetime"),
        pytest.param("id CHAR(30) CHARACTER SET utf16", id="utf16"),
    ],
)
def test_every_chunk_counts_whatever_the_key(admin: Any, ours: Any, database: Login, key: str) -> None:
    value = "FROM_UNIXTIME(seq * 7919 MOD 1000003)" if "DATETIME" in key else "(seq * 7919) MOD 1000003"
    run(
        admin,
        [
            f"CREATE TABLE wp_t ({key}, part INT, v INT, PRIMARY KEY (id, part))",
            f"INSERT INTO wp_t SELECT {value}, seq MOD 2, seq FROM seq_1_to_500",
        ],
    )
    digests = {digest_table(ours, database.user, "wp_t", chunk_rows=37).digest}
    assert digest_table(ours, database.user, "wp_t", chunk_rows=37).rows == 500
    for row in (1, 37, 38, 250, 500):
        admin.execute("UPDATE wp_t SET v = v + 1000 WHERE v = %s", (row,))
        digests.add(digest_table(ours, database.user, "wp_t", chunk_rows=37).digest)
    assert len(digests) == 6


def test_a_table_has_the_same_digest_under_another_name_prefix_and_database(
    admin: Any, ours: Any, mariadb: MariaDB, database: Login
) -> None:
    other = mariadb.create_database(database.user + "_b")
    try:
        for place, prefix in ((database.user, "wp_"), (other.user, "stg_")):
            run(
                admin,
                [
                    f"USE {place}",
                    f"CREATE TABLE {prefix}a (id INT AUTO_INCREMENT PRIMARY KEY, v TEXT) {CI}",
                    f"CREATE TABLE {prefix}b (id INT PRIMARY KEY, a INT, FOREIGN KEY (a) REFERENCES {prefix}a (id))",
                    f"CREATE VIEW {prefix}v AS SELECT v FROM {prefix}a",
                    f"CREATE TRIGGER {prefix}t AFTER INSERT ON {prefix}b FOR EACH ROW UPDATE {prefix}a SET v = 'x'",
                    f"INSERT INTO {prefix}a VALUES (1, 'one')",
                ],
            )
        theirs = make_site(other.user, "stg_")
        assert measure_tables(ours, theirs) == measure(ours, database)
    finally:
        mariadb.drop_database(other.user)


def test_a_snapshot_holds_the_moment_it_was_opened(admin: Any, ours: Any, database: Login) -> None:
    run(admin, [TEXT_ROWS, "INSERT INTO wp_t VALUES (1,'x','y')"])
    open_snapshot(ours)
    first = measure(ours, database)
    admin.execute("INSERT INTO wp_t VALUES (2,'x','y')")
    assert measure(ours, database) == first
    ours.rollback()
    assert measure(ours, database) != first


def test_a_table_without_an_open_snapshot_still_is_of_one_moment(
    admin: Any, ours: Any, database: Login
) -> None:
    admin.execute(TEXT_ROWS)
    with hold_snapshot(ours):
        assert digest_table(ours, database.user, "wp_t").rows == 0
        admin.execute("INSERT INTO wp_t VALUES (1,'x','y')")
        assert digest_table(ours, database.user, "wp_t").rows == 0
    assert digest_table(ours, database.user, "wp_t").rows == 1


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        pytest.param(ROWS_KEPT, ["10", "11", "100001", "100002", "12"], id="row-by-row"),
        pytest.param(0, ["1..8193", "100001", "100002"], id="by-chunk"),
    ],
)
def test_changed_rows_are_named_by_their_keys(
    admin: Any, ours: Any, database: Login, *, kept: int, expected: list[str]
) -> None:
    run(
        admin,
        [
            "CREATE TABLE wp_t (id INT PRIMARY KEY, v INT)",
            "INSERT INTO wp_t SELECT seq, seq FROM seq_1_to_18000",
            "DELETE FROM wp_t WHERE id = 12",
        ],
    )
    evidence = measure(ours, database, rows_kept=kept)["t"].evidence
    run(
        admin,
        [
            "UPDATE wp_t SET v = 0 WHERE id = 10",
            "DELETE FROM wp_t WHERE id = 11",
            "INSERT INTO wp_t VALUES (12, 1), (100001, 1), (100002, 1)",
        ],
    )
    found = find_changed_keys(ours, database.user, "wp_t", evidence=evidence)
    assert sorted(found) == sorted(expected)


def test_a_first_row_is_named_in_a_table_that_was_empty(admin: Any, ours: Any, database: Login) -> None:
    admin.execute(TEXT_ROWS)
    evidence = measure(ours, database, rows_kept=ROWS_KEPT)["t"].evidence
    admin.execute("INSERT INTO wp_t VALUES (7,'x','y')")
    assert find_changed_keys(ours, database.user, "wp_t", evidence=evidence) == ["7"]


def test_only_the_sites_own_tables_are_found(admin: Any, ours: Any, database: Login) -> None:
    own = ["wp_options", "wp_posts", "wp_my_options"]
    whole = [f"wp_shop_{name}" for name in ("options", "posts", "postmeta", "comments", "terms", "orders")]
    for name in [*own, *whole, "wp_2_posts", "wpx_posts", "WP_posts", "wp_", "wp"]:
        admin.execute(f"CREATE TABLE `{name}` (id INT)")
    found = find_tables(ours, database.user, "wp_")
    assert sorted(info.name for info in found.values()) == sorted(own)


def test_a_query_that_fails_says_what_the_server_said(ours: Any) -> None:
    with pytest.raises(DatabaseError, match="1146"):
        run_query(ours, "SELECT 1 FROM mysql.no_such_table")


def test_the_servers_identity_outlives_a_connection(ours: Any, mariadb: MariaDB) -> None:
    with closing(connect(str(mariadb.client_file))) as other:
        assert server_identity(other) == server_identity(ours)


def test_a_limit_for_visitors_statements_is_none_for_reading_a_large_table(
    admin: Any, mariadb: MariaDB
) -> None:
    admin.execute("SET GLOBAL max_statement_time = 5")
    try:
        with closing(connect(str(mariadb.client_file))) as reader:
            assert run_query(reader, "SELECT @@max_statement_time") == [(0.0,)]
    finally:
        admin.execute("SET GLOBAL max_statement_time = DEFAULT")


def test_a_missing_login_file_is_never_a_default_login() -> None:
    with pytest.raises(DatabaseError, match="does not exist"):
        connect("/nonexistent/mysql.cnf")


@pytest.mark.parametrize(("kind", "number", "bits"), [("DOUBLE", "<d", "<Q"), ("FLOAT", "<f", "<I")])
def test_neighbouring_numbers_never_look_the_same(
    admin: Any, ours: Any, database: Login, *, kind: str, number: str, bits: str
) -> None:
    dice = random.Random(20240229)
    values: set[float] = set()
    while len(values) < 1000:
        drawn = dice.getrandbits(8 * struct.calcsize(bits))
        pair = [struct.unpack(number, struct.pack(bits, drawn ^ last))[0] for last in (0, 1)]
        values |= {value for value in pair if math.isfinite(value)}
    admin.execute(f"CREATE TABLE wp_t (f {kind})")
    admin.execute("INSERT INTO wp_t VALUES " + ",".join(f"({value!r})" for value in values))
    columns = read_columns(ours, database.user, "wp_t")
    # DISTINCT puts the text into a temporary table, where a double is cut to the width it is declared with.
    count = f"SELECT COUNT(DISTINCT f), COUNT(DISTINCT {make_field(columns[0])}) FROM {database.user}.wp_t"
    assert run_query(ours, count) == [(len(values), len(values))]
