"""Rows arrive to the byte, whatever the column's type; the judge is mariadb-dump, which shares no code."""

import difflib
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pymysql
import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.row_copy import adapt_definition, copy_table

from reconciler.stack.mariadb import MariaDB

SOURCE, TARGET = "copy_source", "copy_target"
RELAXED = "NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES"


@dataclass
class Pair:
    """Two databases on one server, a reader, a writer and an administrator."""

    mariadb: MariaDB
    reader: Any
    writer: Any
    admin: Any

    def sql(self, *statements: str, mode: str = RELAXED) -> None:
        with self.admin.cursor() as cursor:
            cursor.execute("SET sql_mode = %s, check_constraint_checks = 0", (mode,))
            for statement in statements:
                cursor.execute(statement)

    def fetch(self, query: str) -> Any:
        with self.admin.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall()

    def open_snapshot(self) -> None:
        with self.reader.cursor() as cursor:
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")

    def copy(self, table: str, target: str | None = None) -> Any:
        return copy_table(self.reader, self.writer, SOURCE, table, TARGET, target or table)

    def dump(self, database: str, table: str) -> list[str]:
        command = ["mariadb-dump", f"--defaults-file={self.mariadb.client_file}", "--skip-extended-insert"]
        command += ["--hex-blob", "--skip-comments", "--max-allowed-packet=512M", "--order-by-primary"]
        command += ["--default-character-set=binary", database, table]
        return subprocess.run(command, check=True, capture_output=True).stdout.decode("latin-1").splitlines()

    def assert_equal(self, table: str) -> None:
        ours, theirs = self.dump(SOURCE, table), self.dump(TARGET, table)
        assert ours == theirs, "\n".join(line[:300] for line in difflib.unified_diff(ours, theirs, n=0))


@contextmanager
def _connect(mariadb: MariaDB) -> Iterator[Any]:
    login = mariadb.admin
    connection = pymysql.connect(
        unix_socket=str(login.socket), user=login.user, password=login.password, charset="utf8mb4"
    )
    with connection:
        yield connection


@pytest.fixture
def pair(mariadb: MariaDB) -> Iterator[Pair]:
    with _connect(mariadb) as reader, _connect(mariadb) as writer, _connect(mariadb) as admin:
        admin.autocommit(True)
        pair = Pair(mariadb, reader, writer, admin)
        for name in (SOURCE, TARGET):
            pair.sql(f"DROP DATABASE IF EXISTS {name}", f"CREATE DATABASE {name}")
        pair.sql(f"USE {SOURCE}")
        yield pair
        reader.rollback()
        writer.rollback()
        for name in (SOURCE, TARGET):
            pair.sql(f"DROP DATABASE {name}")


ALL_BYTES = "".join(f"{byte:02x}" for byte in range(256))
COLUMNS = [
    pytest.param("VARCHAR(300) CHARACTER SET latin1", f"x'{ALL_BYTES}'", id="latin1-every-byte"),
    pytest.param("VARCHAR(300) CHARACTER SET cp1250", f"x'{ALL_BYTES}'", id="cp1250-every-byte"),
    pytest.param("VARCHAR(99) CHARACTER SET ucs2", "x'00610000d83d'", id="ucs2"),
    pytest.param("VARCHAR(99) CHARACTER SET utf16", "x'd83dde00'", id="utf16"),
    pytest.param("VARCHAR(99) CHARACTER SET utf32", "x'0001f600'", id="utf32"),
    pytest.param("VARCHAR(99) CHARACTER SET sjis", "x'835c'", id="sjis-with-a-backslash-byte"),
    pytest.param("VARCHAR(99) CHARACTER SET gbk", "x'bf5c27'", id="gbk-with-a-backslash-byte"),
    pytest.param("VARCHAR(99)", "'\\0\\n\\r\\Z\\\\''\"\u20ac\U0001f600 '", id="specials-and-trailing-space"),
    pytest.param("VARCHAR(99)", "''", id="empty-string"),
    pytest.param("CHAR(9)", "'a  '", id="char"),
    pytest.param("LONGTEXT", "REPEAT('x', 65536)", id="text-at-the-limit-of-small"),
    pytest.param("LONGTEXT", "REPEAT('\u20ac', 65537)", id="text-above-the-limit"),
    pytest.param("BINARY(8)", "x'00ff00'", id="binary-padded"),
    pytest.param("VARBINARY(300)", f"x'{ALL_BYTES}'", id="varbinary"),
    pytest.param("BIT(64)", "18446744073709551615", id="bit-64"),
    pytest.param("BIT(1)", "0", id="bit-0"),
    pytest.param("ENUM('a','','c')", "0", id="enum-error-value"),
    pytest.param("ENUM('a','','c')", "2", id="enum-empty-member"),
    pytest.param("ENUM('1','0')", "'0'", id="enum-of-digits"),
    pytest.param(
        "SET({})".format(",".join(f"'m{n}'" for n in range(64))), "18446744073709551615", id="set-of-64"
    ),
    pytest.param("FLOAT", "1.1", id="float"),
    pytest.param("FLOAT", "16777217.0", id="float-beyond-24-bits"),
    pytest.param("FLOAT", "'1e-45'", id="float-denormal"),
    pytest.param("FLOAT", "3.4028234e38", id="float-max"),
    pytest.param("FLOAT(9,3)", "123456.789", id="float-with-decimals"),
    pytest.param("DOUBLE", "1.7976931348623157e308", id="double-max"),
    pytest.param("DOUBLE", "'4.9e-324'", id="double-denormal"),
    pytest.param("DOUBLE", "0.1e0 + 0.2e0", id="double-17-digits"),
    pytest.param("DOUBLE(20,4)", "-1234567890.1234", id="double-with-decimals"),
    pytest.param(
        "DECIMAL(65,30)", "-99999999999999999999999999999999999.123456789012345678901234567891", id="decimal"
    ),
    pytest.param("BIGINT UNSIGNED", "18446744073709551615", id="bigint-unsigned"),
    pytest.param("BIGINT", "-9223372036854775808", id="bigint-min"),
    pytest.param("INT(5) ZEROFILL", "7", id="zerofill"),
    pytest.param("DATE", "'0000-00-00'", id="zero-date"),
    pytest.param("DATETIME(6)", "'2021-02-31 00:00:00.000001'", id="day-that-is-not"),
    pytest.param("DATETIME", "'2021-00-00 00:00:00'", id="zero-in-date"),
    pytest.param("TIME(6)", "'-838:59:59.999999'", id="time-min"),
    pytest.param("YEAR", "0", id="year-0"),
    pytest.param("TIMESTAMP(6) NULL", "FROM_UNIXTIME(1)", id="timestamp-first"),
    pytest.param("TIMESTAMP NULL", "0", id="timestamp-zero"),
    pytest.param("JSON", '\'{"a": [1.10, "\\\\u20ac"]}\'', id="json"),
    pytest.param("JSON", "'{broken'", id="json-that-its-check-forbids"),
    pytest.param("GEOMETRY", "ST_GeomFromText('POINT(1 2)', 4326)", id="geometry-with-srid"),
    pytest.param("POLYGON", "ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0))')", id="polygon"),
    pytest.param("INET6", "'::ffff:1.2.3.4'", id="inet6"),
    pytest.param("UUID", "'123e4567-e89b-12d3-a456-426655440000'", id="uuid"),
    pytest.param("INT", "NULL", id="null"),
]


@pytest.mark.parametrize(("kind", "value"), COLUMNS)
def test_a_value_arrives_to_the_byte(pair: Pair, kind: str, value: str) -> None:
    pair.sql(
        f"CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, c {kind})",
        f"INSERT IGNORE INTO t VALUES (1, {value})",
        "INSERT INTO t VALUES (2, NULL)",
    )
    assert pair.copy("t").rows == 2
    pair.assert_equal("t")


def test_negative_zero_stays_negative(pair: Pair) -> None:
    pair.sql("CREATE TABLE t (d DOUBLE, f FLOAT)", "INSERT INTO t VALUES ('-0', '-0'), (0, 0)")
    pair.copy("t")
    query = "SELECT ATAN2(0, d), ATAN2(0, f) FROM {0}.t"
    assert pair.fetch(query.format(TARGET)) == pair.fetch(query.format(SOURCE))


def test_the_instant_of_a_timestamp_survives_a_doubled_hour(pair: Pair) -> None:
    # 02:30 in Berlin on 2024-10-27 happened twice: only UTC tells the two apart.
    pair.sql("SET time_zone = '+00:00'", "CREATE TABLE t (at TIMESTAMP NULL)")
    pair.sql("INSERT INTO t VALUES ('2024-10-27 00:30:00'), ('2024-10-27 01:30:00')")
    for connection in (pair.reader, pair.writer):
        with connection.cursor() as cursor:
            cursor.execute("SET time_zone = '+05:00'")
    pair.copy("t")
    pair.assert_equal("t")
    with pair.reader.cursor() as cursor:
        cursor.execute("SELECT @@time_zone")
        assert cursor.fetchone() == ("+05:00",)


def test_the_reader_copies_its_snapshot_and_not_what_came_later(pair: Pair) -> None:
    pair.sql("CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    pair.open_snapshot()
    pair.sql("INSERT INTO t VALUES (2)", "DELETE FROM t WHERE id = 1")
    assert pair.copy("t").rows == 1
    assert pair.fetch(f"SELECT id FROM {TARGET}.t") == ((1,),)


def test_zero_in_an_auto_increment_column_and_the_counter_survive(pair: Pair) -> None:
    pair.sql(
        "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY) AUTO_INCREMENT = 500",
        "INSERT INTO t VALUES (0), (7)",
    )
    pair.copy("t")
    pair.assert_equal("t")
    assert "AUTO_INCREMENT=500" in pair.fetch(f"SHOW CREATE TABLE {TARGET}.t")[0][1]


def test_generated_and_invisible_columns_survive(pair: Pair) -> None:
    pair.sql(
        "CREATE TABLE t (a INT, b INT AS (a * 2) VIRTUAL, c INT AS (a * 3) PERSISTENT, d INT INVISIBLE,"
        " e DATETIME DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP)",
        "INSERT INTO t (a, d, e) VALUES (5, 6, '2020-01-01 00:00:00')",
    )
    pair.copy("t")
    query = "SELECT a, b, c, d, e FROM {0}.t"
    assert pair.fetch(query.format(TARGET)) == pair.fetch(query.format(SOURCE))
    pair.assert_equal("t")


@pytest.mark.parametrize("filling", ["RANDOM_BYTES(1024)", "REPEAT(x'00', 1024)"])
def test_a_blob_of_40_megabytes_survives_a_packet_limit_of_64(pair: Pair, filling: str) -> None:
    pair.sql("SET GLOBAL max_allowed_packet = 64 * 1024 * 1024")
    try:
        with _connect(pair.mariadb) as reader, _connect(pair.mariadb) as writer:
            pair.sql("CREATE TABLE t (id INT PRIMARY KEY, b LONGBLOB, s LONGTEXT)")
            with writer.cursor() as cursor:
                cursor.execute(
                    f"INSERT INTO {SOURCE}.t VALUES (1, REPEAT({filling}, 40960), 'x'), (2, 'y', 'z')"
                )
            writer.commit()
            copied = copy_table(reader, writer, SOURCE, "t", TARGET, "t")
    finally:
        pair.sql("SET GLOBAL max_allowed_packet = 16 * 1024 * 1024")
    assert copied.rows == 2
    query = "SELECT id, LENGTH(b), SHA2(b, 256), s FROM {0}.t"
    assert pair.fetch(query.format(TARGET)) == pair.fetch(query.format(SOURCE))


def test_many_rows_without_a_primary_key_arrive_in_several_batches(pair: Pair) -> None:
    pair.sql(
        "CREATE TABLE t (n INT, v VARCHAR(200))",
        "INSERT INTO t SELECT seq, REPEAT(seq, 10) FROM seq_1_to_30000",
    )
    copied = pair.copy("t")
    assert (copied.rows, copied.bytes > 2 << 20) == (30000, True)
    query = "SELECT COUNT(*), SUM(CRC32(CONCAT(n, v))) FROM {0}.t"
    assert pair.fetch(query.format(TARGET)) == pair.fetch(query.format(SOURCE))


def test_foreign_keys_lead_into_the_target_database(pair: Pair) -> None:
    pair.sql(
        "CREATE TABLE wp_parent (id INT PRIMARY KEY)",
        "CREATE TABLE wp_child (id INT PRIMARY KEY, up INT, own INT,"
        " CONSTRAINT to_parent FOREIGN KEY (up) REFERENCES wp_parent (id) ON DELETE CASCADE,"
        " CONSTRAINT to_self FOREIGN KEY (own) REFERENCES wp_child (id))",
        "INSERT INTO wp_parent VALUES (1)",
        "INSERT INTO wp_child VALUES (1, 1, 1)",
    )
    names = {"wp_parent": "x_parent", "wp_child": "x_child"}
    copy_table(pair.reader, pair.writer, SOURCE, "wp_child", TARGET, "x_child", renamed=names)
    copy_table(pair.reader, pair.writer, SOURCE, "wp_parent", TARGET, "x_parent", renamed=names)
    found = pair.fetch(
        "SELECT CONSTRAINT_NAME, UNIQUE_CONSTRAINT_SCHEMA, REFERENCED_TABLE_NAME, DELETE_RULE "
        f"FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = '{TARGET}' ORDER BY 1"
    )
    assert found == (
        ("to_parent", TARGET, "x_parent", "CASCADE"),
        ("to_self", TARGET, "x_child", "RESTRICT"),
    )


def test_odd_names_of_tables_and_columns_survive(pair: Pair) -> None:
    pair.sql("CREATE TABLE `o'dd ``näme` (`c``o'l%s ü` INT)", "INSERT INTO `o'dd ``näme` VALUES (1)")
    assert pair.copy("o'dd `näme").rows == 1
    pair.assert_equal("o'dd `näme")


@pytest.mark.parametrize(
    ("statements", "reason"),
    [
        pytest.param(["CREATE TABLE t (a INT) ENGINE=MyISAM"], "not stored in InnoDB", id="myisam"),
        pytest.param(["CREATE VIEW t AS SELECT 1 AS a"], "no plain table", id="view"),
        pytest.param(["CREATE TABLE t (a INT) WITH SYSTEM VERSIONING"], "SYSTEM VERSIONING", id="versioned"),
        pytest.param(
            ["CREATE TABLE t (a INT)", "CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.a = 1"],
            "has the trigger tr",
            id="trigger",
        ),
        pytest.param(
            [
                f"CREATE TABLE {TARGET}.p (id INT PRIMARY KEY)",
                f"CREATE TABLE t (a INT, FOREIGN KEY (a) REFERENCES {TARGET}.p (id))",
            ],
            "foreign key into another database",
            id="foreign-key-elsewhere",
        ),
    ],
)
def test_what_cannot_be_copied_exactly_is_refused_by_name(
    pair: Pair, statements: list[str], reason: str
) -> None:
    pair.sql(*statements)
    with pytest.raises(NodeError, match=reason) as caught:
        pair.copy("t")
    assert caught.value.code == "SCHEMA_UNSUPPORTED"
    assert "table t " in caught.value.message


def test_a_value_that_would_be_changed_on_the_way_is_refused(pair: Pair) -> None:
    # No statement puts broken UTF-8 into a utf8mb4 column; a restored tablespace of old days does.
    pair.sql(
        "CREATE TABLE raw (id INT PRIMARY KEY, c VARBINARY(40)) ROW_FORMAT=DYNAMIC",
        "INSERT INTO raw VALUES (1, x'61ff62')",
        "CREATE TABLE t (id INT PRIMARY KEY, c VARCHAR(10) CHARACTER SET utf8mb4) ROW_FORMAT=DYNAMIC",
        "ALTER TABLE t DISCARD TABLESPACE",
        "FLUSH TABLES raw FOR EXPORT",
    )
    folder = pair.mariadb.datadir / SOURCE
    subprocess.run(["cp", "-p", folder / "raw.ibd", folder / "t.ibd"], check=True)
    pair.sql("UNLOCK TABLES", "ALTER TABLE t IMPORT TABLESPACE")
    assert pair.fetch("SELECT HEX(c) FROM t") == (("61FF62",),)
    with pytest.raises(NodeError, match="not stored as it is") as caught:
        pair.copy("t")
    assert caught.value.code == "SCHEMA_UNSUPPORTED"


def test_a_definition_is_adapted_only_where_names_are_meant() -> None:
    definition = "CREATE TABLE `a` (\n  `x` int COMMENT 'CREATE TABLE `a`'\n) ENGINE=InnoDB COMMENT='`a`'"
    adapted = adapt_definition(definition, "a", "b", renamed={})
    assert adapted == definition.replace("CREATE TABLE `a` (", "CREATE TABLE `b` (", 1)
