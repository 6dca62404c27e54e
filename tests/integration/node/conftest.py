"""What tests of the node's measuring share: two connections to one empty database."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import connect

from reconciler.stack.mariadb import Login, MariaDB


@pytest.fixture
def admin(mariadb: MariaDB, database: Login) -> Iterator[Any]:
    """A cursor of the administrator in the test's database, permissive as WordPress's own sessions are."""
    with mariadb.connect(database.user) as cursor:
        cursor.execute("SET sql_mode = '', time_zone = '+00:00'")
        yield cursor
        cursor.execute("SET GLOBAL time_zone = 'SYSTEM'")


@pytest.fixture
def ours(mariadb: MariaDB) -> Iterator[Any]:
    """A connection as the node's modules open it."""
    with closing(connect(str(mariadb.client_file))) as connection:
        yield connection
