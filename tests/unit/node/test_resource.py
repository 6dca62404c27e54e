"""How names are matched and classified on the node."""

from __future__ import annotations

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import (
    Patterns,
    make_protection,
    split_key,
)
from hypothesis import given
from hypothesis import strategies as st

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


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("a_c", "abc", False),
        ("a?c", "abc", False),
        ("a%", "abc", False),
        ("[ab]", "a", False),
        ("a.c", "abc", False),
        ("a*", "a", True),
        ("*a", "ba", True),
        ("*", "", True),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("a*b*c", "a-b-c", True),
        ("a*b*c", "acb", False),
        ("*ab*ab*", "abab", True),
        ("*ab*ab*", "aba", False),
        ("a*", "Ab", False),
    ],
)
def test_only_the_asterisk_is_special(pattern: str, name: str, *, matches: bool) -> None:
    assert Patterns([pattern]).match(name) is matches


@pytest.mark.timeout(60)
def test_a_pattern_of_many_asterisks_is_no_burden() -> None:
    patterns = Patterns(["*a" * 500 + "b", "*a" * 30 + "*c"])
    assert not patterns.match("a" * 5_000)
    assert not patterns.cover("a/" * 2_500)


def matches_by_pieces(pattern: str, name: str) -> bool:
    """Match by looking for one piece after the other: the same rule, written another way."""
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == name
    *middle, last = rest
    if not name.startswith(first) or len(name) < len(first) + len(last) or not name.endswith(last):
        return False
    position, end = len(first), len(name) - len(last)
    for piece in middle:
        found = name.find(piece, position, end)
        if found < 0:
            return False
        position = found + len(piece)
    return True


words = st.text(alphabet="ab/*.\n", max_size=8)


@given(patterns=st.lists(words, max_size=3), name=words)
def test_every_pattern_matches_as_by_pieces(patterns: list[str], name: str) -> None:
    ours, parts = Patterns(patterns), name.split("/")
    ancestry = ["/".join(parts[: depth + 1]) for depth in range(len(parts))]
    assert ours.match(name) == any(matches_by_pieces(pattern, name) for pattern in patterns)
    assert ours.cover(name) == any(
        matches_by_pieces(pattern, step) for pattern in patterns for step in ancestry
    )
