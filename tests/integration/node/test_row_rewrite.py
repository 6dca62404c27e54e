"""Rewriting touches the rows that hold an address, and in them nothing but the texts that change."""

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

import pymysql
import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.rewrite import (
    Rewriter,
    make_url_replacements,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.row_rewrite import (
    RewriteReport,
    rewrite_table,
)

from reconciler.stack.mariadb import MariaDB

DATABASE = "rewrite_rows"
OLD, NEW = "https://old.test", "https://staging.new.test"


class Table:
    """One database with table `t` and a connection that rewrites it."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    def sql(self, *statements: str) -> None:
        with self.connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
        self.connection.commit()

    def fetch(self, query: str) -> Any:
        with self.connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall()

    def rewrite(self, *, skip_columns: Sequence[str] = ("guid", "user_pass")) -> RewriteReport:
        rewriter = Rewriter(make_url_replacements(OLD, NEW, "/srv/old", "/srv/new"))
        return rewrite_table(
            self.connection, DATABASE, "t", rewriter, needles=rewriter.cores, skip_columns=skip_columns
        )


@pytest.fixture
def table(mariadb: MariaDB) -> Iterator[Table]:
    with mariadb.connect() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {DATABASE}")
        cursor.execute(f"CREATE DATABASE {DATABASE}")
    login = mariadb.admin
    connection = pymysql.connect(
        unix_socket=str(login.socket), user=login.user, password=login.password, charset="utf8mb4"
    )
    with connection:
        table = Table(connection)
        table.sql(f"USE {DATABASE}")
        yield table
        connection.rollback()
        table.sql(f"DROP DATABASE {DATABASE}")


def test_serialized_and_plain_texts_change_and_other_rows_do_not(table: Table) -> None:
    table.sql(
        "CREATE TABLE t (id INT PRIMARY KEY, guid VARCHAR(99), v LONGTEXT, seen TIMESTAMP(6)"
        " DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6))",
        f"""INSERT INTO t (id, guid, v, seen) VALUES
            (1, '{OLD}/?p=1', 'see {OLD}/a', '2020-01-01'),
            (2, 'x', 'a:1:{{i:0;s:16:"{OLD}";}}', '2020-01-01'),
            (3, '{OLD}', 'nothing of old.testing.com', '2020-01-01'),
            (4, 'x', NULL, '2020-01-01')""",
    )
    report = table.rewrite()
    assert (report.rows_changed, report.values_changed, report.left_alone) == (2, 2, [])
    assert table.fetch("SELECT id, guid, v FROM t ORDER BY id") == (
        (1, f"{OLD}/?p=1", f"see {NEW}/a"),
        (2, "x", f'a:1:{{i:0;s:24:"{NEW}";}}'),
        (3, OLD, "nothing of old.testing.com"),
        (4, "x", None),
    )
    assert table.fetch("SELECT DISTINCT CAST(seen AS DATE) FROM t") == ((date(2020, 1, 1),),)


def test_a_second_run_changes_nothing(table: Table) -> None:
    table.sql(
        "CREATE TABLE t (id INT PRIMARY KEY, v TEXT)",
        f"INSERT INTO t VALUES (1, '{OLD}/a //old.test /srv/old/x')",
    )
    table.rewrite()
    once = table.fetch("SELECT v FROM t")
    assert once == ((f"{NEW}/a //staging.new.test /srv/new/x",),)
    assert table.rewrite().rows_changed == 0
    assert table.fetch("SELECT v FROM t") == once


def test_bytes_that_are_no_utf8_survive_on_both_sides_of_an_address(table: Table) -> None:
    table.sql("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(200) CHARACTER SET latin1)")
    with table.connection.cursor() as cursor:
        cursor.execute("INSERT INTO t VALUES (1, %s)", (b"\xff\xe9 https://old.test/ \x80\x9d\x00",))
    table.connection.commit()
    assert table.rewrite().rows_changed == 1
    assert table.fetch("SELECT CAST(v AS BINARY) FROM t") == (
        (b"\xff\xe9 https://staging.new.test/ \x80\x9d\x00",),
    )


@pytest.mark.parametrize(
    "key",
    [
        pytest.param("a VARCHAR(90) CHARACTER SET utf8mb4, b INT, PRIMARY KEY (a, b)", id="text-and-number"),
        pytest.param("a VARBINARY(90), b INT, PRIMARY KEY (a, b)", id="binary-and-number"),
        pytest.param("a FLOAT, b DOUBLE, PRIMARY KEY (a, b)", id="floats"),
        pytest.param("a ENUM('1', '2.5'), b BIT(9), PRIMARY KEY (a, b)", id="enum-and-bit"),
        pytest.param("a VARCHAR(90), b INT", id="no-key"),
        pytest.param("a FLOAT, b BLOB", id="no-key-float-and-blob"),
    ],
)
def test_a_row_is_found_again_by_any_key_or_none(table: Table, key: str) -> None:
    column_list = key.partition(", PRIMARY")[0]
    primary = key[len(column_list) :]
    table.sql(
        f"CREATE TABLE t ({column_list}, v TEXT, w LONGTEXT{primary})",
        f"INSERT INTO t VALUES ('1', 1, '{OLD}/1', CONCAT('{OLD} ', REPEAT('x', 70000))),"
        f" ('2.5', 2, '{OLD}/2', NULL)",
    )
    report = table.rewrite()
    assert (report.rows_changed, report.values_changed, report.left_alone) == (2, 3, [])
    assert table.fetch("SELECT v, LEFT(w, 25), LENGTH(w) FROM t ORDER BY v") == (
        (f"{NEW}/1", f"{NEW} ", 70025),
        (f"{NEW}/2", None, None),
    )


def test_equal_rows_without_a_key_all_change(table: Table) -> None:
    table.sql("CREATE TABLE t (v TEXT)", f"INSERT INTO t VALUES ('{OLD}'), ('{OLD}'), ('{OLD}')")
    assert table.rewrite().rows_changed == 3
    assert table.fetch("SELECT v, COUNT(*) FROM t GROUP BY v") == ((NEW, 3),)


def test_the_primary_key_is_never_rewritten(table: Table) -> None:
    table.sql(
        "CREATE TABLE t (url VARCHAR(99) PRIMARY KEY, v TEXT)", f"INSERT INTO t VALUES ('{OLD}', '{OLD}')"
    )
    table.rewrite()
    assert table.fetch("SELECT url, v FROM t") == ((OLD, NEW),)


def test_what_does_not_fit_stays_is_reported_and_keeps_no_other_value_back(table: Table) -> None:
    table.sql(
        "CREATE TABLE t (id INT PRIMARY KEY, short VARCHAR(20), u VARCHAR(99) UNIQUE, v TEXT)",
        f"INSERT INTO t VALUES (1, '{OLD}', '{OLD}', '{OLD}'), (2, 'x', '{NEW}', 'y')",
    )
    report = table.rewrite()
    assert table.fetch("SELECT short, u, v FROM t WHERE id = 1") == ((OLD, OLD, NEW),)
    assert report.left_alone == [
        {"table": "t", "column": "short", "key": "1", "reason": "the new text is too long for the column"},
        {"table": "t", "column": "u", "key": "1", "reason": "another row has the new text"},
    ]


def test_malformed_and_wide_texts_are_left_alone_and_reported(table: Table) -> None:
    table.sql(
        "CREATE TABLE t (id INT PRIMARY KEY, v TEXT, w VARCHAR(99) CHARACTER SET utf16)",
        f"""INSERT INTO t VALUES (7, 'a:1:{{i:0;s:99:"{OLD}";}}', '{OLD}')""",
    )
    before = table.fetch("SELECT * FROM t")
    report = table.rewrite()
    assert table.fetch("SELECT * FROM t") == before
    assert [(entry["column"], entry["key"]) for entry in report.left_alone] == [("w", ""), ("v", "7")]


def test_a_text_of_12_megabytes_changes_within_a_packet_limit_of_16(table: Table) -> None:
    table.sql(
        "CREATE TABLE t (id INT PRIMARY KEY, v LONGTEXT)",
        f"INSERT INTO t VALUES (1, CONCAT('{OLD}/', REPEAT('x ', 6000000), '{OLD}'))",
    )
    assert table.rewrite().rows_changed == 1
    expected = f"SHA2(CONCAT('{NEW}/', REPEAT('x ', 6000000), '{NEW}'), 256)"
    assert table.fetch(f"SELECT SHA2(v, 256) = {expected} FROM t") == ((1,),)


def test_a_text_that_outgrows_the_packet_limit_is_refused_and_stays(table: Table) -> None:
    table.sql(
        "CREATE TABLE t (id INT PRIMARY KEY, v LONGTEXT)",
        f"INSERT INTO t VALUES (1, REPEAT('{OLD} ', 900000))",
    )
    with pytest.raises(NodeError, match="too large"):
        table.rewrite()
    assert table.fetch(f"SELECT SHA2(v, 256) = SHA2(REPEAT('{OLD} ', 900000), 256) FROM t") == ((1,),)


def test_thousands_of_rows_change_in_several_transactions(table: Table) -> None:
    table.sql(
        "CREATE TABLE t (id INT PRIMARY KEY, v TEXT)",
        f"INSERT INTO t SELECT seq, IF(seq MOD 2, '{OLD}', 'x') FROM seq_1_to_3000",
    )
    assert table.rewrite().rows_changed == 1500
    assert table.fetch("SELECT v, COUNT(*) FROM t GROUP BY v ORDER BY v") == ((NEW, 1500), ("x", 1500))
