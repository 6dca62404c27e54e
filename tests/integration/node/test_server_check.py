"""A server whose RENAME TABLE does not survive a crash is refused before anything is staged, copied or restored."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError

from reconciler.stack.mariadb import Login, MariaDB
from tests.integration.node.plain_site import change_staging, make_promotion
from tests.integration.node.refreshed_pair import make_refreshing
from tests.integration.node.restored_site import make_restoring
from tests.integration.node.test_stage import refuse
from tests.servers import ignore

OLD = "10.5.29-MariaDB"


class OldMariaDB(MariaDB):
    """A server that says it is older than it is."""

    def _write_files(self) -> None:
        super()._write_files()
        with (self._folder / "my.cnf").open("a") as config:
            config.write(f"version = {OLD}\n")


@pytest.fixture(scope="module")
def mariadb(session_folder: Path) -> Iterator[MariaDB]:
    with OldMariaDB(session_folder / "old", report=ignore) as server:
        yield server


def test_nothing_is_staged_on_an_old_server(
    mariadb: MariaDB, admin: Any, database: Login, tmp_path: Path
) -> None:
    with make_promotion(mariadb, admin, database.user, tmp_path) as promotion:
        change_staging(promotion)
        assert OLD in refuse(promotion, "SCHEMA_UNSUPPORTED", promotion.check())


def test_nothing_is_copied_on_an_old_server(
    mariadb: MariaDB, admin: Any, database: Login, tmp_path: Path
) -> None:
    with make_refreshing(mariadb, admin, database.user, tmp_path) as refreshing:
        with pytest.raises(NodeError, match=OLD) as refused:
            refreshing.run("full")
        assert (refused.value.code, refused.value.retry) == ("SCHEMA_UNSUPPORTED", False)
        assert refreshing.own_databases() == set()


def test_nothing_is_restored_on_an_old_server(mariadb: MariaDB, database: Login, tmp_path: Path) -> None:
    with make_restoring(mariadb, database.user, tmp_path) as made:
        snapshot = made.back_up()
        restoring = made.anew()
        before = restoring.take_photo()
        with pytest.raises(NodeError, match=OLD) as refused:
            restoring.restore(snapshot)
        assert refused.value.code == "SCHEMA_UNSUPPORTED"
        assert restoring.take_photo() == before
        assert restoring.find_leftovers() == set()
