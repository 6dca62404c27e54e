"""A dump that is loaded again makes the very same tables: the digests that drift is told by are the judge."""

import json
import struct
from collections.abc import Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils import dump as dump_module
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import connect, find_tables
from ansible_collections.pressluft.wordpress.plugins.module_utils.dump import (
    END,
    MEASURED_BY,
    hold_dump,
    load_dump,
    read_index,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.table_measure import (
    measure_tables,
    read_table,
)

from reconciler.stack.mariadb import Login, MariaDB
from tests.integration.node.test_row_copy import COLUMNS

FLOATS = 2000
ROWS = "sha256:b44e7b75deb4fb222454884a01f418fea634f888d054536dd06c3d4632936215"


class Dumping:
    """A database that is dumped, and an empty one beside it to load into."""

    def __init__(self, mariadb: MariaDB, admin: Any, database: str, folder: Path) -> None:
        self.admin, self._mariadb, self._folder = admin, mariadb, folder
        self.source, self.target = (
            SimpleNamespace(database=name, table_prefix="wp_", table=lambda name: f"wp_{name}")
            for name in (database, f"{database}_t")
        )

    def dump(self) -> tuple[bytes, dict[str, str], list[str]]:
        folder = self._folder / "dump"
        with (
            closing(connect(str(self._mariadb.client_file))) as conn,
            hold_dump(str(folder), conn, self.source) as dump,
        ):
            tables, others = read_index((folder / "tables.json").read_bytes())
            assert tables == dump.tables
            return Path(dump.path).read_bytes(), tables, others

    def load(self, content: bytes) -> dict[str, str | None]:
        with closing(connect(str(self._mariadb.client_file))) as conn:
            load_dump(BytesIO(content), conn, self.target.database)
            return self.measure(self.target)

    def measure(self, side: Any) -> dict[str, str | None]:
        with closing(connect(str(self._mariadb.client_file))) as conn:
            return {name: measure.digest for name, measure in measure_tables(conn, side).items()}


@pytest.fixture
def dumping(mariadb: MariaDB, admin: Any, database: Login, tmp_path: Path) -> Iterator[Dumping]:
    mariadb.create_database(f"{database.user}_t")
    yield Dumping(mariadb, admin, database.user, tmp_path)
    mariadb.drop_database(f"{database.user}_t")


def test_every_type_of_column_comes_back_to_the_bit(dumping: Dumping) -> None:
    dumping.admin.execute(
        "SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES', check_constraint_checks = 0"
    )
    for number, case in enumerate(COLUMNS):
        kind, value = case.values
        dumping.admin.execute(f"CREATE TABLE wp_t{number} (id INT AUTO_INCREMENT PRIMARY KEY, v {kind})")
        dumping.admin.execute(f"INSERT IGNORE INTO wp_t{number} (v) VALUES ({value})")
        dumping.admin.execute(f"INSERT INTO wp_t{number} (v) VALUES (NULL)")
    content, tables, others = dumping.dump()
    assert len(tables) == len(COLUMNS)
    assert others == []
    assert dumping.load(content) == tables == dumping.measure(dumping.source)


def test_no_bit_of_a_float_is_lost(dumping: Dumping) -> None:
    random = Random(7)
    dumping.admin.execute(
        "CREATE TABLE wp_places (id INT PRIMARY KEY, lat FLOAT, lng FLOAT(10,6), far DOUBLE)"
    )
    for number in range(FLOATS):
        lat, far = random.uniform(-90, 90), random.gauss(0, 1) * 10 ** random.randint(-30, 30)
        dumping.admin.execute(
            "INSERT INTO wp_places VALUES (%s, %s, %s, %s)", (number, lat, random.uniform(-180, 180), far)
        )
    content, tables, _others = dumping.dump()
    assert dumping.load(content) == tables
    sides = []
    for side in (dumping.source, dumping.target):
        dumping.admin.execute(f"SELECT lat * 1e0, lng * 1e0, far FROM {side.database}.wp_places ORDER BY id")
        sides.append([struct.pack("3d", *row) for row in dumping.admin.fetchall()])
    assert sides[0] == sides[1]


def test_many_large_rows_and_a_table_without_a_key_come_back(dumping: Dumping) -> None:
    dumping.admin.execute("CREATE TABLE wp_big (b LONGBLOB, t TEXT)")
    dumping.admin.execute(
        "INSERT INTO wp_big SELECT REPEAT(CHAR(seq), seq * 300), CONCAT(';\n--', seq) FROM seq_1_to_600"
    )
    content, tables, _others = dumping.dump()
    assert dumping.load(content) == tables


def test_the_dump_is_of_one_moment(dumping: Dumping, monkeypatch: pytest.MonkeyPatch) -> None:
    dumping.admin.execute("CREATE TABLE wp_a (id INT PRIMARY KEY)")
    dumping.admin.execute("CREATE TABLE wp_b (id INT PRIMARY KEY)")
    make_inserts = dump_module._make_inserts

    def write_meanwhile(conn: Any, database: str, table: str) -> Iterator[bytes]:
        dumping.admin.execute("INSERT INTO wp_b SELECT COALESCE(MAX(id), 0) + 1 FROM wp_b")
        return iter(make_inserts(conn, database, table))

    before = dumping.measure(dumping.source)
    monkeypatch.setattr(dump_module, "_make_inserts", write_meanwhile)
    content, tables, _others = dumping.dump()
    assert dumping.load(content) == tables == before


def test_views_and_triggers_are_named_and_no_part_of_what_is_loaded(dumping: Dumping) -> None:
    dumping.admin.execute("CREATE TABLE wp_a (id INT PRIMARY KEY)")
    dumping.admin.execute("CREATE VIEW wp_v AS SELECT id FROM wp_a")
    dumping.admin.execute("CREATE TRIGGER twice BEFORE INSERT ON wp_a FOR EACH ROW SET NEW.id = NEW.id * 2")
    content, tables, others = dumping.dump()
    assert others == ["view wp_v", "trigger twice"]
    assert b"NEW.id * 2" in content
    assert dumping.load(content).keys() == tables.keys() == {"a"}


def test_the_file_can_be_loaded_by_hand(dumping: Dumping, mariadb: MariaDB) -> None:
    dumping.admin.execute("CREATE TABLE wp_a (id INT PRIMARY KEY, f FLOAT)")
    dumping.admin.execute("INSERT INTO wp_a VALUES (0, 1.1), (1, -0.0)")
    dumping.admin.execute("CREATE TRIGGER twice BEFORE INSERT ON wp_a FOR EACH ROW SET NEW.id = NEW.id * 2")
    content, tables, _others = dumping.dump()
    dumping.admin.execute("DROP TRIGGER twice")
    without_trigger = dumping.measure(dumping.source)
    mariadb.load_sql(dumping.target.database, content.decode())
    dumping.admin.execute(f"DROP TRIGGER {dumping.target.database}.twice")
    assert dumping.measure(dumping.target) == without_trigger != tables


def test_a_digest_is_made_as_it_was_when_older_backups_were_taken(dumping: Dumping, ours: Any) -> None:
    """If this fails because a digest is made another way now, raise `MEASURED_BY` and put the new one here."""
    dumping.admin.execute("CREATE TABLE wp_a (id INT PRIMARY KEY, f FLOAT, t TEXT)")
    dumping.admin.execute("INSERT INTO wp_a VALUES (1, 1.1, 'one'), (2, NULL, '')")
    info = find_tables(ours, dumping.source.database, "wp_")["a"]
    assert (MEASURED_BY, read_table(ours, dumping.source, info).rows) == (1, ROWS)


def test_digests_of_another_version_are_not_compared(dumping: Dumping) -> None:
    dumping.admin.execute("CREATE TABLE wp_a (id INT PRIMARY KEY)")
    tables = dumping.dump()[1]
    content = {"measured_by": MEASURED_BY, "tables": tables, "others": []}
    assert read_index(json.dumps(content).encode()) == (tables, [])
    assert read_index(json.dumps({**content, "measured_by": 0}).encode()) == ({"a": ""}, [])


@pytest.mark.parametrize("cut", [pytest.param(0, id="empty"), pytest.param(1, id="one line short")])
def test_a_dump_that_was_cut_short_is_refused(dumping: Dumping, cut: int) -> None:
    dumping.admin.execute("CREATE TABLE wp_a (id INT PRIMARY KEY)")
    content = dumping.dump()[0]
    whole = content[: content.index(b"-- Dump completed")] if cut else b""
    assert not whole or whole.endswith(END)
    with pytest.raises(NodeError, match="not complete"):
        dumping.load(whole)
