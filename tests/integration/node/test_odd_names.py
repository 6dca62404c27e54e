"""Databases, prefixes, tables and options with names at the edges of what a server takes."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError

from reconciler.stack.mariadb import Login, MariaDB
from tests.integration.node.plain_site import BROKEN, THEME, Promotion, make_promotion
from tests.integration.node.test_rollback import run_rollback


@pytest.fixture
def promotion(mariadb: MariaDB, admin: Any, database: Login, tmp_path: Path) -> Iterator[Promotion]:
    with make_promotion(mariadb, admin, database.user, tmp_path) as made:
        yield made


def list_tables(promotion: Promotion, database: str) -> list[str]:
    promotion.admin.execute(f"SHOW TABLES FROM `{database}`")
    return [name for (name,) in promotion.admin.fetchall()]


@pytest.fixture(params=["shop-live.{0} `x`", "shop_{0}_" + "x" * 40])
def named(promotion: Promotion, request: pytest.FixtureRequest) -> Iterator[Promotion]:
    """The same two sites in databases of such names."""
    label = promotion.production.database[-8:]
    made = []
    for side in ("production", "staging"):
        old = getattr(promotion.pair, side)
        new = request.param.format(label + side[0])
        quoted = f"`{new.replace('`', '``')}`"
        promotion.admin.execute(f"CREATE DATABASE {quoted}")
        for table in list_tables(promotion, old.database):
            promotion.admin.execute(f"RENAME TABLE `{old.database}`.`{table}` TO {quoted}.`{table}`")
        setattr(promotion.pair, side, dataclasses.replace(old, database=new))
        made.append(quoted)
    promotion.production = dataclasses.replace(
        promotion.production, database=promotion.pair.production.database, health_urls=()
    )
    promotion.pair.take_baseline()
    promotion.admin.execute(f"INSERT INTO {made[1]}.stg_slides (image, width) VALUES ('b', 20)")
    promotion.admin.execute(
        f"UPDATE {made[1]}.stg_options SET option_value = 'B' WHERE option_name = 'blogname'"
    )
    yield promotion
    promotion.admin.execute("SHOW DATABASES")
    for (name,) in promotion.admin.fetchall():
        if label in name and (
            name in [one[1:-1].replace("``", "`") for one in made] or "__pressluft" in name
        ):
            promotion.admin.execute(f"DROP DATABASE `{name.replace('`', '``')}`")


def read_slides(promotion: Promotion) -> int:
    quoted = promotion.production.database.replace("`", "``")
    promotion.admin.execute(f"SELECT COUNT(*) FROM `{quoted}`.wp_slides")
    return int(promotion.admin.fetchone()[0])


def own_databases(promotion: Promotion) -> set[str]:
    promotion.admin.execute("SHOW DATABASES")
    label = promotion.pair.production.database[:20]
    return {
        name for (name,) in promotion.admin.fetchall() if "__pressluft" in name and name.startswith(label)
    }


def test_a_database_of_any_name_is_promoted_to_and_rolled_back(named: Promotion) -> None:
    named.stage()
    assert max(map(len, own_databases(named))) <= 64
    named.cut_over()
    assert (read_slides(named), len(own_databases(named))) == (2, 1)
    run_rollback(named)
    assert (read_slides(named), own_databases(named)) == (1, set())


def test_hundreds_of_tables_go_up_and_back_in_one_rename(promotion: Promotion) -> None:
    promotion.pair.take_baseline()
    for number in range(300):
        promotion.pair.sql(f"CREATE TABLE S.many_{number:03} (id INT PRIMARY KEY, v INT AS (id + 1) STORED)")
    promotion.pair.sql("INSERT INTO S.many_007 (id) VALUES (41)")
    before = promotion.tables()
    promotion.stage()
    promotion.cut_over()
    assert promotion.rows("many_007") == [(41, 42)]
    assert len(promotion.tables()) == len(before) + 300
    run_rollback(promotion)
    assert (promotion.tables(), promotion.own_databases()) == (before, set())


def test_a_table_whose_name_does_not_fit_with_productions_prefix_is_refused_by_name(
    promotion: Promotion,
) -> None:
    promotion.production = dataclasses.replace(promotion.production, table_prefix="production_wp_")
    promotion.pair.production = promotion.production
    for table in list_tables(promotion, promotion.production.database):
        name = table.replace("wp_", "production_wp_")
        place = promotion.production.database
        promotion.admin.execute(f"RENAME TABLE `{place}`.`{table}` TO `{place}`.`{name}`")
    promotion.pair.take_baseline()
    promotion.pair.sql(f"CREATE TABLE S.{'x' * 58} (id INT PRIMARY KEY)")
    with pytest.raises(NodeError, match=r"x{58}") as refused:
        promotion.stage()
    assert (refused.value.code, refused.value.retry) == ("SCHEMA_UNSUPPORTED", False)
    assert (promotion.own_databases(), promotion.releases()) == (set(), {"first"})


def test_a_table_that_differs_from_productions_only_in_case_is_another_table(promotion: Promotion) -> None:
    promotion.pair.take_baseline()
    promotion.pair.sql("CREATE TABLE S.Posts (id INT PRIMARY KEY)", "INSERT INTO S.Posts VALUES (1)")
    before = promotion.rows("posts")
    promotion.stage()
    promotion.cut_over()
    assert (promotion.rows("posts"), promotion.rows("Posts")) == (before, [(1,)])


@pytest.mark.parametrize("name", ["x_slides", "_slides", "2_slides"])
def test_tables_of_a_neighbouring_prefix_are_not_touched(promotion: Promotion, name: str) -> None:
    """`wpx_slides`, `wp__slides` and `wp_2_slides` are not `wp_slides`."""
    database, other = promotion.production.database, promotion.pair.staging.database
    neighbour = f"wp{name}" if name.startswith("x") else f"wp_{name}"
    theirs = neighbour.replace("wp", "stg", 1)
    promotion.pair.take_baseline()
    for place in (f"{database}.{neighbour}", f"{other}.{theirs}"):
        promotion.admin.execute(f"CREATE TABLE {place} (id INT PRIMARY KEY)")
    promotion.admin.execute(f"INSERT INTO {database}.{neighbour} VALUES (1)")
    promotion.admin.execute(f"INSERT INTO {other}.{theirs} VALUES (2)")
    promotion.pair.sql("UPDATE S.slides SET width = 11")
    observation = promotion.check()
    plan = promotion.plan(observation)
    plan["tables"] = [table for table in plan["tables"] if table == "slides"]
    promotion.stage(observation, **plan)
    promotion.cut_over()
    promotion.admin.execute(f"SELECT id FROM {database}.{neighbour}")
    assert promotion.admin.fetchall() == ((1,),)
    assert promotion.rows("slides", "width") == [(11,)]


def test_a_table_that_production_got_after_staging_is_not_replaced(promotion: Promotion) -> None:
    promotion.pair.take_baseline()
    promotion.pair.sql("CREATE TABLE S.fresh (id INT PRIMARY KEY)")
    promotion.stage()
    promotion.pair.sql("CREATE TABLE P.fresh (id INT PRIMARY KEY)", "INSERT INTO P.fresh VALUES (7)")
    with pytest.raises(NodeError, match="fresh") as blocked:
        promotion.cut_over()
    assert blocked.value.code == "OVERWRITE_BLOCKED"
    assert promotion.rows("fresh") == [(7,)]


def test_a_table_that_production_got_in_the_last_moment_is_not_replaced(promotion: Promotion) -> None:
    promotion.pair.take_baseline()
    promotion.pair.sql("CREATE TABLE S.fresh (id INT PRIMARY KEY)")
    promotion.stage()

    def write(step: str) -> None:
        if step == "prepared":
            promotion.pair.sql("CREATE TABLE P.fresh (id INT PRIMARY KEY)", "INSERT INTO P.fresh VALUES (7)")

    promotion.run_program(on_step=write)
    with pytest.raises(NodeError):
        promotion.cut_over()
    assert promotion.rows("fresh") == [(7,)]
    assert promotion.read_state()["status"] == "active"
    assert (promotion.own_databases(), promotion.release()) == (set(), "first")


def test_numbers_given_while_the_new_tables_were_live_are_not_given_again_after_a_rollback(
    promotion: Promotion,
) -> None:
    promotion.pair.take_baseline()
    promotion.pair.sql("UPDATE S.slides SET width = 11")
    promotion.pair.path("staging", THEME).write_text(BROKEN)
    promotion.stage()

    def write(step: str) -> None:
        if step == "switched":
            promotion.pair.sql(*["INSERT INTO P.slides (image) VALUES ('x')"] * 20)

    promotion.run_program(on_step=write)
    assert promotion.release() == "first"
    promotion.pair.sql("INSERT INTO P.slides (image) VALUES ('after')")
    assert promotion.rows("slides", "id")[-1][0] > 21
