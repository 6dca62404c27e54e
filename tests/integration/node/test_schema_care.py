"""Tables that are not alike on both sides, servers that are not, and logins that may too little: each is carried
faithfully or refused by name before anything live is touched (spec.md §2, §6)."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.dump import load_dump
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.stream_rows import create_table

from reconciler.stack.mariadb import Login, MariaDB
from tests.integration.node.plain_site import Promotion, make_promotion
from tests.integration.node.test_rollback import run_rollback
from tests.integration.node.test_stage import refuse


@pytest.fixture
def promotion(mariadb: MariaDB, admin: Any, database: Login, tmp_path: Path) -> Iterator[Promotion]:
    with make_promotion(mariadb, admin, database.user, tmp_path) as made:
        yield made


TIES = [
    pytest.param(
        ["CREATE TABLE P.sold (slide INT, CONSTRAINT tie FOREIGN KEY (slide) REFERENCES P.slides (id))"],
        ["tie", "wp_slides", "wp_sold"],
        id="a table that stays refers to one that is replaced",
    ),
    pytest.param(
        ["CREATE TABLE O.sold (slide INT, CONSTRAINT tie FOREIGN KEY (slide) REFERENCES P.slides (id))"],
        ["tie", "wp_slides", "sold"],
        id="a table of another database refers to one that is replaced",
    ),
    pytest.param(
        ["CREATE TABLE S.sold (slide INT, CONSTRAINT tie FOREIGN KEY (slide) REFERENCES S.slides (id))"],
        ["tie", "stg_slides", "stg_sold"],
        id="the same on the source, whose table is protected",
    ),
]


@pytest.mark.parametrize(("write", "named"), TIES)
def test_a_foreign_key_over_the_line_is_refused_by_name(
    promotion: Promotion, mariadb: MariaDB, write: list[str], named: list[str]
) -> None:
    other = f"{promotion.production.database}_o"
    mariadb.create_database(other)
    promotion.pair.take_baseline()
    promotion.pair.sql("UPDATE S.slides SET width = 3")
    promotion.pair.sql(*[statement.replace("O.", f"{other}.") for statement in write])
    observation = promotion.check()
    try:
        refused = refuse(promotion, "SCHEMA_UNSUPPORTED", observation, tables=["slides"])
    finally:
        mariadb.drop_database(other)
    assert [word for word in named if word not in refused] == []


@pytest.mark.parametrize(
    ("write", "named"),
    [
        pytest.param("CREATE SEQUENCE S.fresh", ["stg_fresh", "sequence"], id="a sequence"),
        pytest.param(
            "CREATE TABLE S.fresh (a INT PRIMARY KEY) WITH SYSTEM VERSIONING",
            ["stg_fresh", "system versioned"],
            id="a table that keeps its history",
        ),
        pytest.param("CREATE TABLE S.fresh (a INT) ENGINE=Aria", ["stg_fresh", "Aria"], id="Aria"),
        pytest.param("CREATE TABLE S.fresh (a INT) ENGINE=MEMORY", ["stg_fresh", "MEMORY"], id="in memory"),
    ],
)
def test_what_is_no_plain_table_is_refused_by_name(
    promotion: Promotion, write: str, named: list[str]
) -> None:
    promotion.pair.take_baseline()
    promotion.pair.sql(write)
    observation = promotion.check()
    refused = refuse(promotion, "SCHEMA_UNSUPPORTED", observation, tables=["fresh"])
    assert [word for word in named if word not in refused] == []


def test_a_table_that_production_keeps_in_myisam_is_not_replaced(promotion: Promotion) -> None:
    promotion.pair.sql("ALTER TABLE P.slides ENGINE=MyISAM")
    promotion.pair.take_baseline()
    promotion.pair.sql("UPDATE S.slides SET width = 3")
    assert "wp_slides is stored in MyISAM" in refuse(promotion, "SCHEMA_UNSUPPORTED")


def test_a_view_over_a_replaced_table_shows_the_new_rows_and_after_a_rollback_the_old(
    promotion: Promotion,
) -> None:
    database = promotion.production.database
    promotion.admin.execute(f"CREATE VIEW {database}.widths AS SELECT width FROM {database}.wp_slides")
    promotion.pair.take_baseline()
    promotion.pair.sql("UPDATE S.slides SET width = 3")
    promotion.stage()
    promotion.cut_over()
    promotion.admin.execute(f"SELECT width FROM {database}.widths")
    assert promotion.admin.fetchall() == ((3,),)
    run_rollback(promotion)
    promotion.admin.execute(f"SELECT width FROM {database}.widths")
    assert promotion.admin.fetchall() == ((10,),)


def find_collation(promotion: Promotion, table: str) -> str:
    """The collation of one of production's tables."""
    promotion.admin.execute(
        "SELECT TABLE_COLLATION FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s",
        (promotion.production.database, table),
    )
    return str(promotion.admin.fetchone()[0])


def test_a_table_with_another_collation_is_taken_with_the_sources_and_comes_back_with_its_own(
    promotion: Promotion,
) -> None:
    promotion.pair.sql("ALTER TABLE P.slides CONVERT TO CHARACTER SET latin1 COLLATE latin1_german1_ci")
    promotion.pair.sql("UPDATE P.slides SET image = 'Stra\u00dfe'")
    promotion.pair.take_baseline()
    before = promotion.tables()
    promotion.pair.sql("INSERT INTO S.slides (image) VALUES ('\u65e5\u672c \U0001f600')")
    promotion.stage()
    promotion.cut_over()
    assert promotion.rows("slides", "image")[-1] == ("\u65e5\u672c \U0001f600",)
    assert find_collation(promotion, "wp_slides").startswith("utf8mb4")
    run_rollback(promotion)
    assert (promotion.tables(), find_collation(promotion, "wp_slides")) == (before, "latin1_german1_ci")


def test_options_in_another_collation_keep_productions(promotion: Promotion) -> None:
    promotion.pair.sql("ALTER TABLE S.options CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci")
    promotion.pair.take_baseline()
    promotion.pair.sql(
        "UPDATE S.options SET option_value = '\U0001f600 caf\u00e9' WHERE option_name = 'blogname'"
    )
    promotion.stage()
    promotion.cut_over()
    assert promotion.option("blogname") == "\U0001f600 caf\u00e9"
    assert find_collation(promotion, "wp_options") == "utf8mb4_unicode_520_ci"


def test_options_in_another_character_set_are_refused_by_name(promotion: Promotion) -> None:
    promotion.pair.sql("ALTER TABLE P.options CONVERT TO CHARACTER SET latin1")
    promotion.pair.take_baseline()
    promotion.pair.sql("UPDATE S.options SET option_value = 'caf\u00e9' WHERE option_name = 'blogname'")
    refused = refuse(promotion, "SCHEMA_UNSUPPORTED")
    assert "wp_options stores autoload as latin1, the source as utf8" in refused


@pytest.fixture(params=["ANSI,TRADITIONAL,NO_BACKSLASH_ESCAPES", ""])
def sql_mode(admin: Any, request: pytest.FixtureRequest) -> Iterator[str]:
    """The server's own mode, which a login of ours would start with."""
    admin.execute("SELECT @@GLOBAL.sql_mode")
    before = admin.fetchone()[0]
    admin.execute("SET GLOBAL sql_mode = %s", (request.param,))
    yield request.param
    admin.execute("SET GLOBAL sql_mode = %s", (before,))


@pytest.mark.usefixtures("sql_mode")
def test_the_servers_mode_changes_nothing_of_what_is_promoted_and_taken_back(promotion: Promotion) -> None:
    promotion.pair.take_baseline()
    promotion.pair.sql(
        "CREATE TABLE S.odd (id INT PRIMARY KEY AUTO_INCREMENT, d DATETIME NOT NULL, t TEXT, c CHAR(9))",
        "INSERT INTO S.odd SELECT 7, 0, CONCAT('a', CHAR(92), CHAR(34), CHAR(39)), 'x'",
    )
    before = promotion.tables()
    promotion.stage()
    promotion.cut_over()
    assert promotion.rows("odd", "id, CAST(d AS CHAR), t, c") == [(7, "0000-00-00 00:00:00", "a\\\"'", "x")]
    run_rollback(promotion)
    assert promotion.tables() == before


NEWER = "CREATE TABLE `t` (\n  `a` varchar(9) COLLATE utf8mb4_of_tomorrow_ci\n) ENGINE=InnoDB"


def test_a_table_of_a_newer_server_is_refused_by_name_on_its_way_from_another_node(
    ours: Any, database: Login
) -> None:
    with pytest.raises(NodeError, match=r"table t is defined .*utf8mb4_of_tomorrow_ci") as refused:
        create_table(ours, database.user, "t", definition=NEWER)
    assert (refused.value.code, refused.value.retry) == ("SCHEMA_UNSUPPORTED", False)


def test_a_backup_of_a_newer_server_is_refused_by_the_tables_name(ours: Any, database: Login) -> None:
    lines = io.BytesIO(f"SET NAMES utf8mb4;\n{NEWER};\n-- Dump completed\n".encode())
    with pytest.raises(NodeError, match=r"table t is defined .*utf8mb4_of_tomorrow_ci") as refused:
        load_dump(lines, ours, database.user)
    assert (refused.value.code, refused.value.retry) == ("SCHEMA_UNSUPPORTED", False)
