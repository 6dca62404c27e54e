"""Option rows that production keeps: nothing written on either side of the exchange is lost, whatever the order."""

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import connect
from ansible_collections.pressluft.wordpress.plugins.module_utils.exchange import (
    Exchange,
    exchange_tables,
    make_database_name,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.option_merge import (
    OptionRows,
    carry_kept_rows,
    copy_kept_rows,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.stack.mariadb import Login, MariaDB

TABLE = (
    "CREATE TABLE {0}.wp_options (option_id BIGINT AUTO_INCREMENT PRIMARY KEY, option_name VARCHAR(191) NOT NULL"
    " UNIQUE, option_value LONGTEXT NOT NULL, autoload VARCHAR(20) NOT NULL DEFAULT 'yes')"
    " COLLATE utf8mb4_unicode_520_ci"
)
NAMES = ["a", "b", "c"]
NAMED = "planned"
Writes = list[tuple[str, str | None]]

# Few names and values, so that writes meet each other.
WRITES = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(["1", "2", "A", "a", None])), max_size=4)


@dataclass
class Options:
    """An options table with its successor, and the exchange of both."""

    conn: Any
    live: str
    incoming: str
    retired: str

    @property
    def rows(self) -> OptionRows:
        return OptionRows(self.live, self.incoming, self.retired, "wp_options", (NAMED,))

    def run(self, *statements: str) -> None:
        with self.conn.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def begin(self) -> None:
        """Both tables as staging leaves them: the successor has the plan's row."""
        for database in (self.live, self.incoming, self.retired):
            self.run(f"DROP DATABASE IF EXISTS {database}", f"CREATE DATABASE {database}")
        for database in (self.live, self.incoming):
            self.run(TABLE.format(database))
        self.run(
            f"INSERT INTO {self.live}.wp_options (option_name, option_value) VALUES ('{NAMED}', 'old'), ('a', '0')",
            f"INSERT INTO {self.incoming}.wp_options (option_name, option_value) VALUES ('{NAMED}', 'new')",
        )

    def write(self, writes: Writes) -> None:
        """Write as visitors do, to whatever is live."""
        with self.conn.cursor() as cursor:
            for name, value in writes:
                if value is None:
                    cursor.execute(f"DELETE FROM {self.live}.wp_options WHERE option_name = %s", (name,))
                else:
                    cursor.execute(
                        f"INSERT INTO {self.live}.wp_options (option_name, option_value) VALUES (%s, %s)"
                        " ON DUPLICATE KEY UPDATE option_value = VALUES(option_value)",
                        (name, value),
                    )

    def exchange(self) -> None:
        table = ("wp_options",)
        exchange_tables(self.conn, Exchange(self.live, self.incoming, self.retired, table, table))

    def read(self) -> dict[str, str]:
        with self.conn.cursor() as cursor:
            cursor.execute(f"SELECT option_name, option_value FROM {self.live}.wp_options")
            return dict(cursor.fetchall())


@pytest.fixture(scope="module")
def options(mariadb: MariaDB) -> Iterator[Options]:
    name = f"opt_{os.urandom(4).hex()}"
    with closing(connect(str(mariadb.client_file))) as conn:
        made = Options(conn, name, f"{name}_in", f"{name}_out")
        yield made
        for database in (made.live, made.incoming, made.retired):
            made.run(f"DROP DATABASE IF EXISTS {database}")


def apply(content: dict[str, str], writes: Writes) -> dict[str, str]:
    """What a plain table would hold after these writes."""
    content = dict(content)
    for name, value in writes:
        if value is None:
            content.pop(name, None)
        else:
            content[name] = value
    return content


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(writes=st.tuples(WRITES, WRITES, WRITES, WRITES))
def test_every_write_counts_and_the_last_one_wins(
    options: Options, writes: tuple[Writes, Writes, Writes, Writes]
) -> None:
    early, late, after, afterwards = writes
    options.begin()
    options.write(early)
    copy_kept_rows(options.conn, options.rows)
    copied = apply({"a": "0"}, early)
    options.write(late)
    options.exchange()
    options.write(after)
    carry_kept_rows(options.conn, options.rows)
    options.write(afterwards)
    expected = {}
    old, new = apply(copied, late), apply(copied, after)
    for name in {*old, *new}:
        # A row that visitors changed in the new table stays; else what the old one had at last.
        value = new.get(name) if new.get(name) != copied.get(name) else old.get(name)
        if value is not None:
            expected[name] = value
    assert options.read() == {**apply(expected, afterwards), NAMED: "new"}


def test_carrying_twice_is_carrying_once(options: Options) -> None:
    options.begin()
    copy_kept_rows(options.conn, options.rows)
    options.write([("a", "late")])
    options.exchange()
    assert carry_kept_rows(options.conn, options.rows) == 1
    options.write([("a", "0")])  # back to what the first copy was: a second carrying must not touch it
    assert carry_kept_rows(options.conn, options.rows) == 0
    assert options.read()["a"] == "0"


def test_copying_again_before_the_exchange_takes_the_newer_rows(options: Options) -> None:
    options.begin()
    copy_kept_rows(options.conn, options.rows)
    options.write([("a", "newer"), ("b", "added")])
    copy_kept_rows(options.conn, options.rows)
    options.exchange()
    assert options.read() == {"a": "newer", "b": "added", NAMED: "new"}


def test_numbers_taken_in_the_successor_do_not_keep_a_row_out(options: Options) -> None:
    options.begin()
    options.run(f"UPDATE {options.incoming}.wp_options SET option_id = 3")
    options.write([("b", "1")])  # gets number 3 as well
    copy_kept_rows(options.conn, options.rows)
    options.exchange()
    assert options.read() == {"a": "0", "b": "1", NAMED: "new"}


def test_a_table_whose_names_are_not_unique_is_refused(options: Options) -> None:
    options.begin()
    options.run(f"ALTER TABLE {options.live}.wp_options DROP INDEX option_name")
    with pytest.raises(NodeError) as refused:
        copy_kept_rows(options.conn, options.rows)
    assert refused.value.code == "SCHEMA_UNSUPPORTED"


@pytest.mark.parametrize("length", [1, 40, 50, 64])
def test_a_jobs_database_has_a_name_the_server_takes(database: Login, mariadb: MariaDB, length: int) -> None:
    names = {
        make_database_name("d" * (length - 1) + end, purpose, "1a2b3c4d-0000-4000-8000-000000000000")
        for end in ("x", "y")
        for purpose in ("", "old_", "back_")
    }
    assert len(names) == 6
    with mariadb.connect() as cursor:
        for name in names:
            cursor.execute(f"CREATE DATABASE {name}")
            cursor.execute(f"DROP DATABASE {name}")
