"""How names are matched and classified on the node: as the controller does."""

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import (
    Patterns,
    make_protection,
    split_key,
)
from hypothesis import given
from hypothesis import strategies as st

from schemas.preset import covers_any, matches_any

PROTECTION = make_protection(
    {
        "protected_tables": ["posts", "wc_*"],
        "preserved_tables": ["users", "wc_orders", "actionscheduler_*"],
        "preserved_options": ["siteurl", "*user_roles"],
        "protected_paths": ["wp-content/uploads"],
        "preserved_files": ["wp-config.php"],
        "volatile_files": ["*.log"],
    }
)


@pytest.mark.parametrize(
    ("name", "protection"),
    [
        ("posts", "protected"),
        ("wc_orders", "protected"),
        ("users", "preserved"),
        ("actionscheduler_logs", "preserved"),
        ("POSTS", "mergeable"),
        ("posts2", "mergeable"),
        ("my_posts", "mergeable"),
        ("posts\n", "mergeable"),
    ],
)
def test_tables_are_classified_by_whole_name_and_protected_wins(name: str, protection: str) -> None:
    assert PROTECTION.classify_table(name) == protection


def test_options_are_classified_by_whole_name() -> None:
    assert PROTECTION.classify_option("wp_user_roles") == "preserved"
    assert PROTECTION.classify_option("siteurl_old") == "mergeable"


@pytest.mark.parametrize(
    ("path", "is_code"),
    [
        ("wp-content/uploads", False),
        ("wp-content/uploads/2024/a.php", False),
        ("wp-content/uploads-old/a.php", True),
        ("wp-config.php", False),
        ("wp-config.php.bak", True),
        ("wp-content/plugins/a/b.log", False),
    ],
)
def test_a_path_covers_what_is_below_it_and_no_neighbour(path: str, *, is_code: bool) -> None:
    assert PROTECTION.is_code(path) is is_code


def test_a_kind_ends_at_the_first_colon() -> None:
    assert split_key("option:a:b") == ("option", "a:b")


words = st.text(alphabet="ab/*.\n", max_size=8)


@given(patterns=st.lists(words, max_size=3), name=words)
def test_node_and_controller_agree_on_every_pattern(patterns: list[str], name: str) -> None:
    ours = Patterns(patterns)
    assert ours.match(name) == matches_any(patterns, name)
    assert ours.cover(name) == covers_any(patterns, name)
