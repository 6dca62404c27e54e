"""Session fixtures: real servers, private to one pytest worker, started when first asked for.

    mariadb         a running `reconciler.stack.mariadb.MariaDB`. Use
                        mariadb.admin           Login(user, password, socket, port); TCP on 127.0.0.1
                        mariadb.client_file     `[client]` file (0600) of the administrator, with the socket
                        mariadb.connect(db)     context manager, yields a pymysql cursor in autocommit mode
                        mariadb.create_database(name), mariadb.drop_database(name), mariadb.load_sql(db, sql)
    database        one empty database on it: Login whose `user` is also its name; dropped after the test
    stack           a running `reconciler.stack.stack.Stack`: its own MariaDB (stack.mariadb, not the one above),
                    PHP-FPM (stack.php_fpm.reload(), .pid_file) and nginx (stack.nginx.read_error_log())
    wordpress_pair  makes a production site with content and an empty staging environment on that stack:
                        pair = wordpress_pair(posts=20, comments=30, uploads=5)
                        pair.production.fetch("/").body, pair.staging.root, pair.staging.database_name, ...
                    see reconciler/stack/site.py for what a Site can do; both are deleted after the test
    node_config     a fresh `config_dir` (node.ini, mysql.cnf, restic.password) for a node on the stack, with a
                    restic repository that is named but not initialised
    sshd            a running `reconciler.stack.sshd.Sshd`: host, port, user, client_key, known_hosts, ssh_options,
                    git_ssh_command, make_git_url(path)
    server_folder   a folder that the unprivileged servers can enter (pytest's tmp_path they cannot, as root);
                    a fresh one per test

Each worker of pytest-xdist has servers of its own, so tests need no grouping. A server that a test stops or
kills must be started again by that test. What is missing on the machine is installed, never skipped.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from reconciler.stack.mariadb import Login, MariaDB
from reconciler.stack.node_config import write_node_config
from reconciler.stack.packages import install_packages
from reconciler.stack.site import Site, create_empty_site, create_site, seed_content
from reconciler.stack.sshd import Sshd
from reconciler.stack.stack import Stack
from tests.light_wordpress import fetch_light_wordpress

_PREFIX = f"pressluft-test-{os.geteuid()}-"


@dataclass(frozen=True)
class Pair:
    """A production site and the environment that a first full refresh will make its copy."""

    production: Site
    staging: Site


def ignore(_line: str) -> None:
    """Drop a line of progress: pytest has its own."""


@pytest.fixture(scope="session")
def session_folder() -> Iterator[Path]:
    """This worker's folder for servers; removed at the end, or by the next session if that never comes."""
    install_packages(ignore)
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
    with MariaDB(session_folder / "mariadb", report=ignore) as server:
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


@pytest.fixture(scope="session")
def stack(session_folder: Path) -> Iterator[Stack]:
    """MariaDB, PHP-FPM and nginx for the whole session."""
    with Stack(session_folder / "stack", report=ignore, wordpress=fetch_light_wordpress()) as servers:
        yield servers


@pytest.fixture
def wordpress_pair(stack: Stack) -> Iterator[Callable[..., Pair]]:
    """A function that makes a production site with content and an empty staging environment."""
    names: list[str] = []

    def make_pair(*, posts: int = 20, comments: int = 30, uploads: int = 5) -> Pair:
        label = os.urandom(3).hex()
        names.extend((f"production_{label}", f"staging_{label}"))
        production = create_site(stack, names[-2])
        seed_content(production, posts=posts, comments=comments, uploads=uploads)
        return Pair(production=production, staging=create_empty_site(stack, names[-1]))

    yield make_pair
    for name in names:
        stack.forget(name)


@pytest.fixture
def node_config(stack: Stack, server_folder: Path) -> Path:
    """The `config_dir` of a node that runs on the stack."""
    return write_node_config(stack, server_folder / "node", restic_repository=server_folder / "restic")


@pytest.fixture(scope="session")
def sshd(session_folder: Path) -> Iterator[Sshd]:
    """One sshd for the whole session, for the account that runs the tests."""
    with Sshd(session_folder / "sshd", report=ignore) as server:
        yield server
