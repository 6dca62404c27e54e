"""What a promotion may touch, as data: presets, their union, and how a name is classified (spec.md §2).

Names are without the environment's table prefix. In a pattern `*` stands for any run of characters and
nothing else is special; names are compared here, case-sensitively, never by SQL LIKE. A path also covers all
that is below it.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from schemas.fleet import Environment
from schemas.model import Model
from schemas.state import Preset

CONTENT_TABLES: Final = (
    "posts",
    "postmeta",
    "terms",
    "term_taxonomy",
    "term_relationships",
    "comments",
    "commentmeta",
)
COMMERCE_TABLES: Final = (
    "woocommerce_orders",
    "woocommerce_order_items",
    "woocommerce_order_itemmeta",
    "wc_customer_lookup",
    "wc_order_stats",
    # WooCommerce keeps orders in these today (HPOS).
    "wc_orders",
    "wc_orders_meta",
    "wc_order_addresses",
    "wc_order_operational_data",
    "wc_order_product_lookup",
    "wc_order_tax_lookup",
    "wc_order_coupon_lookup",
    "woocommerce_payment_tokens",
    "woocommerce_payment_tokenmeta",
    "woocommerce_downloadable_product_permissions",
    "wc_download_log",
    "wc_product_meta_lookup",
)
UPLOADS: Final = "wp-content/uploads"
PRESERVED_TABLES: Final = (
    "users",
    "usermeta",
    "termmeta",
    "links",
    "actionscheduler_*",
    "woocommerce_sessions",
    "wc_reserved_stock",
    "wc_rate_limits",
    "woocommerce_log",
    "wc_webhooks",
    "woocommerce_api_keys",
    "wc_order_fulfillment*",
    "wc_stock_notification*",
    # Form entries
    "gf_entry*",
    "gf_draft_submissions",
    "wpforms_entr*",
    "e_submissions*",
    "fluentform_submissions",
    "fluentform_entry_details",
    "frm_items",
    "frm_item_metas",
)
PRESERVED_OPTIONS: Final = (
    "siteurl",
    "home",
    "blog_public",
    "admin_email",
    "upload_path",
    "upload_url_path",
    "mailserver_*",
    "cron",
    "*user_roles",
    "*db_version",
    "_transient_*",
    "_site_transient_*",
    "*_license*",
    "jetpack_options",
    "wc_subscriptions_siteurl",
)
PRESERVED_FILES: Final = (
    "wp-config.php",
    ".env",
    "wp-content/object-cache.php",
    "wp-content/advanced-cache.php",
    "robots.txt",
)
VOLATILE_OPTIONS: Final = (
    "_transient_*",
    "_site_transient_*",
    "_wp_session_*",
    "_wc_session_*",
    "_edit_lock",
    "*.lock",
    "action_scheduler_lock_*",
    "doing_cron",
    "recently_edited",
    "recently_activated",
    "recovery_keys",
    "*_children",  # WordPress's cache of a taxonomy's hierarchy, made of the protected terms
    "*_counter",
    "*_hits",
)
VOLATILE_FILES: Final = (
    "wp-content/cache",
    "wp-content/et-cache",
    "wp-content/litespeed",
    "wp-content/sessions",
    "wp-content/upgrade",
    "wp-content/upgrade-temp-backup",
    "wp-content/wflogs",
    ".maintenance",
    "wp-content/mu-plugins/pressluft-quiet.php",  # Pressluft's own, on copies: never promoted
    "error_log",
    "*/error_log",
    "*.log",
)


class PresetData(Model):
    """What one preset protects and preserves."""

    protected_tables: tuple[str, ...]
    protected_paths: tuple[str, ...]
    preserved_tables: tuple[str, ...]


PRESETS: Final[Mapping[Preset, PresetData]] = MappingProxyType(
    {
        Preset.CONTENT_PROTECT: PresetData(
            protected_tables=CONTENT_TABLES,
            protected_paths=(UPLOADS,),
            preserved_tables=PRESERVED_TABLES + COMMERCE_TABLES,
        ),
        Preset.COMMERCE_PROTECT: PresetData(
            protected_tables=CONTENT_TABLES + COMMERCE_TABLES,
            protected_paths=(UPLOADS,),
            preserved_tables=PRESERVED_TABLES,
        ),
    }
)


class Protection(Model):
    """What is protected, preserved and volatile between two environments, as patterns without prefix."""

    protected_tables: tuple[str, ...]
    """Compared by the drift gate and never overwritten."""
    protected_paths: tuple[str, ...]
    """Compared by the drift gate and never overwritten, with all that is below."""
    preserved_tables: tuple[str, ...]
    """Never overwritten, reported, not gated."""
    preserved_options: tuple[str, ...]
    """Rows of `options` that are never overwritten."""
    preserved_files: tuple[str, ...]
    """Files that are never overwritten."""
    volatile_options: tuple[str, ...]
    """Rows that change with every visit and never make a conflict."""
    volatile_files: tuple[str, ...]
    """Files that change with every visit and never make a conflict."""

    def digest(self) -> str:
        """Make the SHA-256, in hex, of the patterns in canonical JSON; their order does not matter."""
        patterns = {field: sorted(set(value)) for field, value in self.model_dump().items()}
        return hashlib.sha256(
            json.dumps(patterns, sort_keys=True, separators=(",", ":")).encode()
        ).hexdigest()


def resolve_protection(source_env: Environment, target_env: Environment) -> Protection:
    """Unite what both environments protect: their presets and what `protect` adds."""
    specs = (source_env.spec, target_env.spec)
    presets = [PRESETS[spec.promotion_preset] for spec in specs]
    protected_tables = make_union(
        *(preset.protected_tables for preset in presets), *(spec.protect.tables for spec in specs)
    )
    preserved_tables = make_union(*(preset.preserved_tables for preset in presets))
    return Protection(
        protected_tables=protected_tables,
        protected_paths=make_union(
            *(preset.protected_paths for preset in presets), *(spec.protect.paths for spec in specs)
        ),
        preserved_tables=tuple(name for name in preserved_tables if name not in protected_tables),
        preserved_options=PRESERVED_OPTIONS,
        preserved_files=PRESERVED_FILES,
        volatile_options=VOLATILE_OPTIONS,
        volatile_files=VOLATILE_FILES,
    )


def make_union(*groups: Iterable[str]) -> tuple[str, ...]:
    """Unite groups of patterns, each once, in the order of first mention."""
    return tuple(dict.fromkeys(name for group in groups for name in group))
