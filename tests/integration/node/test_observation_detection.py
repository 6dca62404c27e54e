"""What changes a table's digest, and what does not: each case tries to slip a change past the drift check."""

from contextlib import closing
from typing import Any

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import connect
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import Measure

from reconciler.stack.mariadb import Login, MariaDB
from tests.integration.node.measuring import measure, run
from tests.integration.node.table_changes import CHANGES, SAME


@pytest.mark.parametrize(("before", "change"), CHANGES)
def test_a_change_changes_the_digest(
    admin: Any, ours: Any, database: Login, *, before: list[str], change: list[str]
) -> None:
    run(admin, before)
    first = measure(ours, database)["t"]
    assert first.digest is not None, first
    run(admin, change)
    second = measure(ours, database).get("t", Measure(None))
    assert not second.unreadable
    assert second.digest != first.digest


@pytest.mark.parametrize(("before", "change"), SAME)
def test_what_is_no_change_leaves_the_digest(
    admin: Any, mariadb: MariaDB, database: Login, *, before: list[str], change: list[str]
) -> None:
    run(admin, before)
    with closing(connect(str(mariadb.client_file))) as connection:
        first = measure(connection, database)
    run(admin, change)
    # A new connection, since the server's settings may have changed under the old one.
    with closing(connect(str(mariadb.client_file))) as connection:
        assert measure(connection, database) == first
