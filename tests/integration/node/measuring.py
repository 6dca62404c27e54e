"""Short words for tests that measure tables."""

from collections.abc import Iterable
from typing import Any

from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import (
    Environment,
    make_environment,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import Measure
from ansible_collections.pressluft.wordpress.plugins.module_utils.table_measure import measure_tables

from reconciler.stack.mariadb import Login

CI = "CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci"
TEXT_ROWS = f"CREATE TABLE wp_t (id INT PRIMARY KEY, a VARCHAR(50), b VARCHAR(50)) {CI}"


def make_site(database: str, prefix: str = "wp_") -> Environment:
    """An environment of which only the tables matter."""
    return make_environment(
        {
            "id": "site",
            "type": "production",
            "url": "https://shop.test",
            "root": "/srv/shop",
            "database": {"name": database, "table_prefix": prefix},
        }
    )


def measure(connection: Any, database: Login, **options: int) -> dict[str, Measure]:
    """Measure all tables of the prefix `wp_` in a database."""
    return measure_tables(connection, make_site(database.user), **options)


def run(cursor: Any, statements: Iterable[str]) -> None:
    """Run statements one after the other."""
    for statement in statements:
        cursor.execute(statement)
