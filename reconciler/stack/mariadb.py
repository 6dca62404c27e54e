"""A private MariaDB server: own data directory, socket and port, loopback only."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import pymysql
from pymysql.cursors import Cursor

from reconciler.stack.account import (
    Account,
    check_reachable,
    find_account,
    find_own_account,
    make_folder,
    write_file,
)
from reconciler.stack.cache import fetch_cached
from reconciler.stack.command import Report, StackError, run_command
from reconciler.stack.ports import LOOPBACK, find_free_port
from reconciler.stack.process import Lifetime, ServerCommand, ServerProcess, start_server

_LONGEST_SOCKET_PATH = 107  # unix(7), sun_path


@dataclass(frozen=True)
class Login:
    """All that a client needs to reach the server as one account; TCP is on the loopback interface only."""

    user: str
    password: str
    socket: Path
    port: int


class MariaDB:
    """One MariaDB server in `folder`, empty or with an earlier run's data. A context manager."""

    def __init__(self, folder: Path, *, report: Report, lifetime: Lifetime = Lifetime.CALLER) -> None:
        self._folder = folder
        self._report = report
        self._lifetime = lifetime
        self._account = find_account("mysql")
        self._process: ServerProcess | None = None
        self.admin = Login("root", secrets.token_urlsafe(18), folder / "mariadb.sock", find_free_port())
        self.client_file = folder / "admin.cnf"
        """A `[client]` file (mode 0600) with user, password and socket of the server's administrator."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def datadir(self) -> Path:
        """The server's data directory."""
        return self._folder / "data"

    @property
    def pid(self) -> int:
        """The server's process id. Raises StackError when it does not run."""
        if self._process is None:
            raise StackError("MariaDB does not run")
        return self._process.pid

    def start(self) -> None:
        """Start the server with the data, socket, port and passwords it had; return once it answers."""
        if len(str(self.admin.socket)) > _LONGEST_SOCKET_PATH:
            raise StackError(
                f"{self.admin.socket} is too long for a socket; choose a folder with a shorter path"
            )
        check_reachable(self._folder)
        self._write_files()
        if not self.datadir.exists():
            self._report("copying a prepared MariaDB data directory")
            _copy_datadir(self.datadir, self._account)
        self._process = start_server(
            ServerCommand(
                name="mariadb",
                argv=["mariadbd", f"--defaults-file={self._folder / 'my.cnf'}"],
                log=self._folder / "log" / "mariadb.log",
                account=self._account,
                lifetime=self._lifetime,
            )
        )
        self._process.wait_until(self._answers, timeout=60)
        self._report(f"MariaDB runs on {LOOPBACK}:{self.admin.port}")

    def stop(self) -> None:
        """Shut the server down; does nothing when it does not run."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def kill(self) -> None:
        """End the server with SIGKILL, as a crash would; `start` recovers it."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    @contextmanager
    def connect(self, database: str | None = None) -> Iterator[Cursor]:
        """Yield a cursor of the administrator, in autocommit mode, with `database` as its default."""
        connection = pymysql.connect(
            unix_socket=str(self.admin.socket),
            user=self.admin.user,
            password=self.admin.password,
            database=database,
            charset="utf8mb4",
            autocommit=True,
        )
        with connection, connection.cursor() as cursor:
            yield cursor

    def create_database(self, name: str) -> Login:
        """Create an empty utf8mb4 database, and a user of the same name with rights there and only there."""
        password = secrets.token_urlsafe(18)
        # LIKE wildcards in GRANT's database name must be quoted, or `shop_a` would also open `shopxa`.
        pattern = name.replace("_", r"\_").replace("%", r"\%")
        with self.connect() as cursor:
            cursor.execute(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci")
            for host in ("localhost", LOOPBACK):
                cursor.execute("CREATE USER %s@%s IDENTIFIED BY %s", (name, host, password))
                cursor.execute(f"GRANT ALL ON `{pattern}`.* TO %s@%s", (name, host))
        return Login(name, password, self.admin.socket, self.admin.port)

    def drop_database(self, name: str) -> None:
        """Drop a database and the user that `create_database` made with it, whether or not they exist."""
        with self.connect() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS `{name}`")
            for host in ("localhost", LOOPBACK):
                cursor.execute("DROP USER IF EXISTS %s@%s", (name, host))

    def load_sql(self, database: str, sql: str) -> None:
        """Feed a dump to the `mariadb` client. Raises StackError with the server's message."""
        client = [
            "mariadb",
            f"--defaults-file={self.client_file}",
            "--default-character-set=utf8mb4",
            database,
        ]
        run_command(client, stdin=sql, timeout=600)

    def _answers(self) -> bool:
        try:
            with self.connect() as cursor:
                return bool(cursor.execute("SELECT 1"))
        except pymysql.err.OperationalError:
            return False

    def _write_files(self) -> None:
        make_folder(self._folder, owner=self._account)
        for name in ("log", "tmp"):
            make_folder(self._folder / name, owner=self._account)
        write_file(
            self._folder / "my.cnf", _make_server_config(self._folder, self.admin.port), owner=self._account
        )
        write_file(
            self._folder / "init.sql", _make_init_sql(self.admin.password), owner=self._account, mode=0o600
        )
        write_file(self.client_file, _make_client_config(self.admin), mode=0o600)


def _make_server_config(folder: Path, port: int) -> str:
    temporary = folder / "tmp"
    # Small buffers, and a log flush per second instead of per commit: a throw-away server that must still
    # survive a kill -9 of its own process.
    return f"""[mariadbd]
datadir = {folder}/data
socket = {folder}/mariadb.sock
pid-file = {folder}/mariadb.pid
tmpdir = {temporary}
init-file = {folder}/init.sql
bind-address = {LOOPBACK}
port = {port}
skip-name-resolve
character-set-server = utf8mb4
collation-server = utf8mb4_unicode_520_ci
default-storage-engine = InnoDB
innodb-file-per-table = 1
innodb-buffer-pool-size = 64M
innodb-log-file-size = 32M
innodb-flush-log-at-trx-commit = 2
aria-pagecache-buffer-size = 8M
key-buffer-size = 4M
max-connections = 60
performance-schema = 0
"""


def _make_init_sql(password: str) -> str:
    # Runs before the server accepts connections, so the empty password of the prepared copy is never usable.
    own = f"root@'{LOOPBACK}'"
    return f"""DELETE FROM mysql.global_priv WHERE User = 'root' AND Host <> 'localhost';
FLUSH PRIVILEGES;
ALTER USER root@localhost IDENTIFIED BY '{password}';
CREATE USER {own} IDENTIFIED BY '{password}';
GRANT ALL ON *.* TO {own} WITH GRANT OPTION;
"""  # noqa: S608  the password is ours: URL-safe base64


def _make_client_config(login: Login) -> str:
    return (
        f"[client]\nuser = {login.user}\npassword = {login.password}\n"
        f"socket = {login.socket}\nhost = localhost\n"
    )


def _copy_datadir(target: Path, account: Account) -> None:
    version = run_command(["mariadbd", "--no-defaults", "--version"]).split()[2]
    prepared = fetch_cached(f"mariadb-{version}", _install_datadir)
    run_command(["cp", "-a", "--reflink=auto", prepared / "data", target])
    run_command(["chown", "-R", f"{account.uid}:{account.gid}", target])


def _install_datadir(folder: Path) -> None:
    command = ["mariadb-install-db", "--no-defaults", f"--datadir={folder / 'data'}", "--skip-test-db"]
    command += ["--auth-root-authentication-method=normal", "--innodb-log-file-size=32M"]
    account = find_own_account()
    # The copy is handed to the server's own account later; preparing it as ourselves keeps the cache ours.
    run_command([*command, f"--user={account.name}"])
