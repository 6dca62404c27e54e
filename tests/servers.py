"""Session fixtures: real servers, private to one pytest worker, started when first asked for.

    mariadb         a running `reconciler.stack.mariadb.MariaDB`. Use
                        mariadb.admin           Login(user, password, socket, port); TCP on 127.0.0.1
                        mariadb.client_file     `[client]` file (0600) of the administrator, with the socket
                        mariadb.connect(db)     context manager, yields a pymysql cursor in autocommit mode
                        mariadb.create_database(name), mariadb.drop_database(name), mariadb.load_sql(db, sql)
    database        one empty database on it: Login whose `user` is also its name; dropped after the test
    server_folder   a folder that the unprivileged servers can enter (pytest's tmp_path they cannot, as root);
                    a fresh one per test

Each worker of pytest-xdist has servers of its own, so tests need no grouping. A server that a test stops or
kills must be started again by that test. What is missing on the machine is installed, never skipped.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.stack.mariadb import Login, MariaDB

_PREFIX = f"pressluft-test-{os.geteuid()}-"


@pytest.fixture(scope="session")
def session_folder() -> Iterator[Path]:
    """This worker's folder for servers; removed at the end, or by the next session if that never comes."""
    parent = Path(tempfile.gettempdir())
    _remove_abandoned(parent)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    folder.chmod(0o711)
    with (folder / "owner.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder
    shutil.rmtree(folder)


def _remove_abandoned(parent: Path) -> None:
    """Remove folders of sessions that were killed: nobody holds their lock any more."""
    for folder in parent.glob(f"{_PREFIX}*"):
        try:
            with (folder / "owner.lock").open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue


@pytest.fixture(scope="session")
def mariadb(session_folder: Path) -> Iterator[MariaDB]:
    """One MariaDB server for the whole session."""
    with MariaDB(session_folder / "mariadb", report=lambda _line: None) as server:
        yield server


@pytest.fixture
def database(mariadb: MariaDB) -> Iterator[Login]:
    """One empty database with its own user, for one test."""
    name = f"test_{os.urandom(4).hex()}"
    yield mariadb.create_database(name)
    mariadb.drop_database(name)


@pytest.fixture
def server_folder(session_folder: Path) -> Iterator[Path]:
    """A fresh folder for one test, which unprivileged servers can enter."""
    folder = Path(tempfile.mkdtemp(dir=session_folder))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)
