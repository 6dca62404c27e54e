import pytest

from schemas.document import read_document
from schemas.fleet import Environment
from schemas.preset import (
    COMMERCE_TABLES,
    Protection,
    classify_file,
    classify_option,
    classify_table,
    is_volatile_file,
    is_volatile_option,
    matches_pattern,
    resolve_protection,
    strip_prefix,
)
from schemas.state import Preset, ResourceClass
from tests.unit.schemas.documents import ENVIRONMENT, ENVIRONMENT_PATH, PRODUCTION, PRODUCTION_PATH


def make_environment(
    preset: Preset, *, tables: tuple[str, ...] = (), paths: tuple[str, ...] = ()
) -> Environment:
    environment = read_document(PRODUCTION, path=PRODUCTION_PATH)
    assert isinstance(environment, Environment)
    protect = environment.spec.protect.model_copy(update={"tables": tables, "paths": paths})
    spec = environment.spec.model_copy(update={"promotion_preset": preset, "protect": protect})
    return environment.model_copy(update={"spec": spec})


CONTENT = make_environment(Preset.CONTENT_PROTECT)
COMMERCE = make_environment(Preset.COMMERCE_PROTECT)
CONTENT_ONLY = resolve_protection(CONTENT, CONTENT)
WITH_COMMERCE = resolve_protection(CONTENT, COMMERCE)


@pytest.mark.parametrize(
    ("name", "under_content", "under_commerce"),
    [
        ("posts", "protected", "protected"),
        ("commentmeta", "protected", "protected"),
        ("wc_orders", "preserved", "protected"),
        ("woocommerce_payment_tokenmeta", "preserved", "protected"),
        ("users", "preserved", "preserved"),
        ("actionscheduler_actions", "preserved", "preserved"),
        ("gf_entry", "preserved", "preserved"),
        ("gf_entry_meta", "preserved", "preserved"),
        ("wpforms_entries", "preserved", "preserved"),
        ("options", "mergeable", "mergeable"),
        ("Posts", "mergeable", "mergeable"),
        ("2_posts", "mergeable", "mergeable"),
        ("postsx", "mergeable", "mergeable"),
        ("wc_ordersX", "mergeable", "mergeable"),
        ("gf_form", "mergeable", "mergeable"),
    ],
)
def test_a_table_is_classified_by_the_preset(name: str, under_content: str, under_commerce: str) -> None:
    assert classify_table(name, CONTENT_ONLY) == under_content
    assert classify_table(name, WITH_COMMERCE) == under_commerce


@pytest.mark.parametrize(
    "protection",
    [
        pytest.param(resolve_protection(CONTENT, COMMERCE), id="target"),
        pytest.param(resolve_protection(COMMERCE, CONTENT), id="source"),
        pytest.param(resolve_protection(COMMERCE, COMMERCE), id="both"),
    ],
)
def test_either_side_s_preset_protects(protection: Protection) -> None:
    assert set(COMMERCE_TABLES) <= set(protection.protected_tables)
    assert not set(COMMERCE_TABLES) & set(protection.preserved_tables)
    assert protection.digest() == WITH_COMMERCE.digest()


def test_either_side_s_protect_only_adds() -> None:
    source = make_environment(Preset.CONTENT_PROTECT, tables=("booking_*", "users"))
    target = make_environment(Preset.CONTENT_PROTECT, paths=("wp-content/booking-files",))
    protection = resolve_protection(source, target)
    assert set(CONTENT_ONLY.protected_tables) < set(protection.protected_tables)
    assert classify_table("booking_slots", protection) is ResourceClass.PROTECTED
    assert classify_table("users", protection) is ResourceClass.PROTECTED
    assert classify_file("wp-content/booking-files/1.pdf", protection) is ResourceClass.PROTECTED
    assert classify_file("wp-content/uploads/2026/a.jpg", protection) is ResourceClass.PROTECTED
    assert protection.digest() != CONTENT_ONLY.digest()


def test_the_digest_does_not_depend_on_the_order() -> None:
    one = make_environment(Preset.CONTENT_PROTECT, tables=("a", "b"))
    other = make_environment(Preset.CONTENT_PROTECT, tables=("b", "a", "a"))
    assert resolve_protection(one, CONTENT).digest() == resolve_protection(CONTENT, other).digest()


def test_a_document_s_protect_reaches_the_protection() -> None:
    source, target = (
        read_document(ENVIRONMENT, path=ENVIRONMENT_PATH),
        read_document(PRODUCTION, path=PRODUCTION_PATH),
    )
    assert isinstance(source, Environment)
    assert isinstance(target, Environment)
    protection = resolve_protection(source, target)
    assert classify_table("booking_slots", protection) is ResourceClass.PROTECTED
    assert classify_table("wc_orders", protection) is ResourceClass.PROTECTED


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("siteurl", "preserved"),
        ("mailserver_url", "preserved"),
        ("wp_user_roles", "preserved"),
        ("woocommerce_db_version", "preserved"),
        ("acme_license_key", "preserved"),
        ("_transient_timeout_x", "preserved"),
        ("blogname", "mergeable"),
        ("Siteurl", "mergeable"),
        ("home_page", "mergeable"),
    ],
)
def test_an_option_is_classified(name: str, expected: str) -> None:
    assert classify_option(name, CONTENT_ONLY) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("wp-content/uploads", "protected"),
        ("wp-content/uploads/2026/01/a.jpg", "protected"),
        ("wp-content/uploads-old/a.jpg", "mergeable"),
        ("wp-config.php", "preserved"),
        ("wp-config.php.bak", "mergeable"),
        (".env", "preserved"),
        ("sub/.env", "mergeable"),
        ("wp-content/themes/acme/style.css", "mergeable"),
    ],
)
def test_a_file_is_classified(path: str, expected: str) -> None:
    assert classify_file(path, CONTENT_ONLY) == expected


def test_volatile_names_are_known() -> None:
    assert is_volatile_option("_transient_x", CONTENT_ONLY)
    assert is_volatile_option("product_cat_children", CONTENT_ONLY)
    assert not is_volatile_option("blogname", CONTENT_ONLY)
    assert is_volatile_file("wp-content/cache/page/index.html", CONTENT_ONLY)
    assert is_volatile_file("wp-content/plugins/x/error_log", CONTENT_ONLY)
    assert not is_volatile_file("wp-content/plugins/x/cache.php", CONTENT_ONLY)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("wp_posts", "posts"),
        ("wpx_posts", None),
        ("WP_posts", None),
        ("wp_2_posts", "2_posts"),
        ("wp_", None),
    ],
)
def test_a_prefix_is_a_prefix_and_no_pattern(table: str, expected: str | None) -> None:
    assert strip_prefix(table, prefix="wp_") == expected


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
def test_only_the_asterisk_is_special(pattern: str, name: str, matches: bool) -> None:
    assert matches_pattern(pattern, name) is matches


def test_a_pattern_of_many_asterisks_is_no_burden() -> None:
    assert not matches_pattern("*a" * 500 + "b", "a" * 5_000)
