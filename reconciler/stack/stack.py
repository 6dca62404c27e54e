"""All servers of a demonstration or a test session, in one folder."""

import fcntl
import os
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from reconciler.stack.account import check_reachable, make_folder
from reconciler.stack.command import Report, StackError
from reconciler.stack.download import WordPress, fetch_wordpress, find_wordpress
from reconciler.stack.mariadb import MariaDB
from reconciler.stack.nginx import Nginx
from reconciler.stack.packages import install_packages
from reconciler.stack.php_fpm import PhpFpm
from reconciler.stack.process import Lifetime, stop_leftovers

_LOCK = "stack.lock"
_MOST_SITES = 250


class Stack:
    """MariaDB, PHP-FPM and nginx below `folder`, ready for sites. A context manager that stops them all.

    Starting ends what an earlier run left in the folder and removes its files. While it runs nobody else can
    start one there. `php_settings` are php.ini names that go over `php_fpm.DEFAULT_SETTINGS`; `wordpress` is what
    sites are made of, by default the one that `make packages` fetches.
    """

    def __init__(
        self,
        folder: Path,
        *,
        report: Report,
        lifetime: Lifetime = Lifetime.CALLER,
        php_settings: Mapping[str, str] | None = None,
        wordpress: WordPress | None = None,
    ) -> None:
        self.folder = folder.resolve()
        self.report = report
        self.mariadb = MariaDB(self.folder / "mariadb", report=report, lifetime=lifetime)
        self.php_fpm = PhpFpm(self.folder / "php", report=report, settings=php_settings, lifetime=lifetime)
        self.nginx = Nginx(
            self.folder / "nginx", fpm_socket=self.php_fpm.socket, report=report, lifetime=lifetime
        )
        self._wordpress = wordpress
        self._lock: IO[str] | None = None
        self._hosts = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def sites_folder(self) -> Path:
        """Where the sites' roots are."""
        return self.folder / "sites"

    @property
    def wordpress(self) -> WordPress:
        """The WordPress that sites are made of; fetched at the first use."""
        if self._wordpress is None:
            self._wordpress = find_wordpress() or fetch_wordpress(self.report)
        return self._wordpress

    def start(self) -> None:
        """Install what is missing, clear the folder and start the servers; nothing runs if one of them fails."""
        check_reachable(self.folder)
        install_packages(self.report)
        self._lock = _claim_folder(self.folder)
        try:
            make_folder(self.sites_folder)
            self.mariadb.start()
            self.php_fpm.start()
            self.nginx.start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the servers and give the folder free; the files stay."""
        self.nginx.stop()
        self.php_fpm.stop()
        self.mariadb.stop()
        self.release()

    def release(self) -> None:
        """Give the folder free while the servers go on (Lifetime.KEPT); `stop_stack` or the next start ends them."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def forget(self, name: str) -> None:
        """Stop serving the site `name` and delete its files and database, if they exist."""
        self.nginx.drop(name)
        self.mariadb.drop_database(name)
        shutil.rmtree(self.sites_folder / name, ignore_errors=True)

    def take_host(self) -> str:
        """Return a loopback address that no site of this stack has yet: 127.0.0.1, 127.0.0.2 and so on."""
        if self._hosts == _MOST_SITES:
            raise StackError(f"a stack serves {_MOST_SITES} sites at most")
        self._hosts += 1
        return f"127.0.0.{self._hosts}"


def find_stack_folder(name: str) -> Path:
    """Return a folder that survives reboots and that unprivileged servers can enter, ours alone to write to.

    Raises StackError if somebody else got there first: the place is known to everybody on the machine.
    """
    parent = Path("/var/tmp") / f"pressluft-{os.geteuid()}"  # noqa: S108  ownership is checked below
    parent.mkdir(mode=0o755, exist_ok=True)
    found = parent.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise StackError(f"{parent} is not ours alone; remove it")
    parent.chmod(0o755)
    return parent / name


def stop_stack(folder: Path) -> list[str]:
    """Stop the servers that an earlier run left in `folder`. Returns their names; none is no error."""
    return stop_leftovers(folder.resolve()) if folder.is_dir() else []


def _claim_folder(folder: Path) -> IO[str]:
    """Take the folder for ourselves and empty it. Raises StackError if it is in use or not a stack's at all."""
    lock_file = folder / _LOCK
    if folder.is_dir() and any(folder.iterdir()) and not lock_file.exists():
        raise StackError(f"{folder} holds files that no stack made; choose an empty folder")
    make_folder(folder)
    lock = lock_file.open("w", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        raise StackError(f"another run uses {folder}; wait for it or choose another folder") from error
    stop_leftovers(folder)
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path != lock_file:
            path.unlink()
    return lock
