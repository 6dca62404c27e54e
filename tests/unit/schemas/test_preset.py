import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils import resource

from schemas.document import read_document
from schemas.fleet import Environment
from schemas.preset import COMMERCE_TABLES, Protection, resolve_protection
from schemas.state import Preset
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


def tell(protection: Protection) -> resource.Protection:
    """Tell a node of a protection, as a run's variables do."""
    return resource.make_protection(protection.model_dump(mode="json"))


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
    assert tell(CONTENT_ONLY).classify_table(name) == under_content
    assert tell(WITH_COMMERCE).classify_table(name) == under_commerce


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
    assert tell(protection).classify_table("booking_slots") == "protected"
    assert tell(protection).classify_table("users") == "protected"
    assert not tell(protection).is_code("wp-content/booking-files/1.pdf")
    assert not tell(protection).is_code("wp-content/uploads/2026/a.jpg")
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
    assert tell(protection).classify_table("booking_slots") == "protected"
    assert tell(protection).classify_table("wc_orders") == "protected"


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
    assert tell(CONTENT_ONLY).classify_option(name) == expected


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
    assert tell(CONTENT_ONLY).is_code(path) is (expected == "mergeable")


def test_volatile_names_are_known() -> None:
    node = tell(CONTENT_ONLY)
    assert node.is_volatile_option("_transient_x")
    assert node.is_volatile_option("product_cat_children")
    assert not node.is_volatile_option("blogname")
    assert not node.is_code("wp-content/cache/page/index.html")
    assert not node.is_code("wp-content/plugins/x/error_log")
    assert node.is_code("wp-content/plugins/x/cache.php")
