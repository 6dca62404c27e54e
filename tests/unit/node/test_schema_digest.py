"""How two definitions are told apart in words."""

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.schema_digest import compare_schemas

TABLE = "CREATE TABLE `\0posts` (\n  `ID` bigint(20) NOT NULL,\n  PRIMARY KEY (`ID`)\n) ENGINE=InnoDB"


def test_equal_definitions_have_no_difference() -> None:
    assert compare_schemas(TABLE, TABLE) == ""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        pytest.param(
            "bigint(20)",
            "int(11)",
            "only on production: `ID` bigint(20) NOT NULL; only on the source: `ID` int(11) NOT NULL",
            id="type",
        ),
        pytest.param(
            "InnoDB",
            "MyISAM",
            "only on production: ) ENGINE=InnoDB; only on the source: ) ENGINE=MyISAM",
            id="engine",
        ),
        pytest.param(
            "  PRIMARY",
            "  `new` int(11),\n  PRIMARY",
            "only on the source: `new` int(11)",
            id="column",
        ),
    ],
)
def test_a_difference_names_the_lines_and_the_side(old: str, new: str, said: str) -> None:
    assert compare_schemas(TABLE, TABLE.replace(old, new)) == said


def test_a_long_difference_is_cut_and_counted() -> None:
    columns = "".join(f"  `c{number}` int(11),\n" for number in range(10))
    said = compare_schemas(TABLE, TABLE.replace("  PRIMARY", f"{columns}  PRIMARY"))
    assert said.endswith("`c5` int(11); and 4 more")


def test_a_difference_shows_no_mark_of_our_own() -> None:
    assert "\0" not in compare_schemas(TABLE, "CREATE VIEW `\0posts` AS select 1")
