"""Room is asked for before anything is copied, on every file system that something will be copied to."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError

from reconciler.stack.mariadb import MariaDB
from tests.integration.node.plain_site import THEME, Promotion, change_staging, make_promotion
from tests.integration.node.refreshed_pair import make_refreshing
from tests.integration.node.test_stage import mount_small, refuse

LARGE = "CREATE TABLE {0}large (id INT PRIMARY KEY, text LONGTEXT) ENGINE=InnoDB"
FILL = "INSERT INTO {0}large SELECT seq, REPEAT('x', 8000) FROM seq_1_to_{1}"
ROOM, MEGABYTES = 176, 40
"""Of the small server's disk, and of a table that fits on it once, but not twice and the reserve."""


@pytest.fixture
def small_server(server_folder: Path) -> Iterator[MariaDB]:
    """A database server on a file system of its own."""
    folder = server_folder / "small"
    folder.mkdir(mode=0o755)
    with mount_small(folder, megabytes=ROOM):
        folder.chmod(0o755)
        with MariaDB(folder / "mariadb", report=lambda _line: None) as server:
            yield server


def test_tables_that_the_servers_disk_has_no_room_for_are_refused_beforehand(
    small_server: MariaDB, tmp_path: Path
) -> None:
    database = small_server.create_database("production").user
    rows = MEGABYTES * 128
    with small_server.connect(database) as admin:
        admin.execute("SET sql_mode = ''")
        with make_promotion(small_server, admin, database, tmp_path) as promotion:
            change_staging(promotion)
            small = promotion.stage()
            assert small["tables"] == 2, "what is small fits"
            promotion.pair.sql(LARGE.format("S."), FILL.format("S.", rows))
            following = promotion.next_job()
            with pytest.raises(NodeError, match="staging takes") as refused:
                following.stage()
            assert str(small_server.datadir) in refused.value.message
            assert len(promotion.own_databases()) == 1


def test_a_refresh_asks_for_room_for_tables_as_well(small_server: MariaDB, tmp_path: Path) -> None:
    database = small_server.create_database("production").user
    with (
        small_server.connect(database) as admin,
        make_refreshing(small_server, admin, database, tmp_path) as refreshing,
    ):
        admin.execute("SET sql_mode = ''")
        refreshing.pair.sql(LARGE.format("P."), FILL.format("P.", MEGABYTES * 128))
        with pytest.raises(NodeError, match="staging takes") as refused:
            refreshing.run("full")
        assert str(small_server.datadir) in refused.value.message
        assert refreshing.own_databases() == set()


@pytest.fixture
def promotion(small_server: MariaDB, tmp_path: Path) -> Iterator[Promotion]:
    database = small_server.create_database("production").user
    with (
        small_server.connect(database) as admin,
        make_promotion(small_server, admin, database, tmp_path) as made,
    ):
        admin.execute("SET sql_mode = ''")
        change_staging(made)
        yield made


def test_code_is_measured_against_the_disk_of_the_releases(promotion: Promotion) -> None:
    theme = promotion.pair.path("staging", THEME)
    theme.write_bytes(os.urandom(30 << 20))
    with mount_small(Path(promotion.production.root, "releases"), megabytes=64):
        assert "staging takes" in refuse(promotion, "ANSIBLE_HOST_FAILED")
        theme.write_bytes(os.urandom(1 << 20))
        assert promotion.stage()["components"] == 2


def test_uploads_are_measured_against_the_disk_that_they_lie_on(
    small_server: MariaDB, tmp_path: Path
) -> None:
    database = small_server.create_database("production").user
    with (
        small_server.connect(database) as admin,
        make_refreshing(small_server, admin, database, tmp_path) as refreshing,
    ):
        admin.execute("SET sql_mode = ''")
        upload = refreshing.pair.path("production", "wp-content/uploads/2024/large.bin")
        upload.write_bytes(os.urandom(30 << 20))
        uploads = Path(refreshing.source.root, "shared/wp-content/uploads")
        with mount_small(uploads, megabytes=64):
            with pytest.raises(NodeError, match="staging takes") as refused:
                refreshing.run("full")
            assert str(uploads) in refused.value.message
            upload.write_bytes(b"small")
            assert refreshing.run("full")["refresh"]["files"] > 0
