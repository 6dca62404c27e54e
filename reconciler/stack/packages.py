"""The programs and the WordPress that the stack needs, and how to get what is missing.

Run as `python3 -m reconciler.stack.packages` before there is a venv, hence the standard library alone.
"""

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from reconciler.stack.cache import hold_lock
from reconciler.stack.command import Report, StackError, find_program, run_command
from reconciler.stack.download import fetch_wordpress

_POLICY = Path("/usr/sbin/policy-rc.d")
_POLICY_TEXT = "#!/bin/sh\n# Put here by pressluft while it installs packages; safe to delete.\nexit 101\n"
_UNIT_FOLDERS = (Path("/lib/systemd/system"), Path("/usr/lib/systemd/system"))
_SERVICE_UNITS = re.compile(r"(mariadb|nginx|ssh|php\d\.\d-fpm)\.service")
_SYSTEM_PYTHON = "/usr/bin/python3"


@dataclass(frozen=True)
class Package:
    """A Debian package, and whether what we need from it is already there, wherever it came from."""

    name: str
    is_there: Callable[[], bool]


def find_php_fpm() -> str | None:
    """Return the path of the PHP-FPM of `php`'s version, or None. Debian puts the version in its name."""
    if find_program("php") is None:
        return find_program("php-fpm")
    version = run_command(["php", "-r", "echo PHP_MAJOR_VERSION, '.', PHP_MINOR_VERSION;"])
    return find_program(f"php-fpm{version}") or find_program("php-fpm")


def _programs(*names: str) -> Callable[[], bool]:
    return lambda: all(find_program(name) for name in names)


def _python_module(python: str, module: str) -> Callable[[], bool]:
    def is_there() -> bool:
        try:
            run_command([python, "-c", f"import {module}"])
        except StackError:
            return False
        return True

    return is_there


PACKAGES = (
    Package("make", _programs("make")),
    Package("git", _programs("git")),
    Package("openssh-client", _programs("ssh", "ssh-keygen")),
    Package("openssh-server", _programs("sshd")),
    Package("python3-venv", _python_module("python3", "ensurepip")),
    # The nodes' modules run with the system's own interpreter, so they need its PyMySQL, not the venv's.
    Package("python3-pymysql", _python_module(_SYSTEM_PYTHON, "pymysql")),
    Package("mariadb-server", _programs("mariadbd", "mariadb-install-db")),
    Package("mariadb-client", _programs("mariadb", "mariadb-dump")),
    Package("php-cli", _programs("php")),
    Package("php-fpm", lambda: find_php_fpm() is not None),
    Package("nginx-light", _programs("nginx")),
    Package("iproute2", _programs("ip")),
    Package("restic", _programs("restic")),
    Package("systemd", _programs("systemd-analyze")),
)
# The extension that each package brings, as `php -m` names it.
PHP_PACKAGES = {
    "php-mysql": "mysqli",
    "php-xml": "dom",
    "php-mbstring": "mbstring",
    "php-curl": "curl",
    "php-gd": "gd",
    "php-zip": "zip",
}


def find_missing_packages() -> list[str]:
    """Return the names of the Debian packages that would bring what this machine lacks. Read-only."""
    loaded = run_command(["php", "-m"]).split() if find_program("php") else []
    programs = [package.name for package in PACKAGES if not package.is_there()]
    return programs + [name for name, extension in PHP_PACKAGES.items() if extension not in loaded]


def install_packages(report: Report) -> None:
    """Install what is missing with apt-get, as root or through sudo, and start none of its services.

    Safe to repeat and to run twice at once. Raises StackError when it cannot or something stays missing.
    """
    with hold_lock("packages"):
        missing = find_missing_packages()
        if not missing:
            return
        report(f"installing {' '.join(missing)}")
        units_before = _find_service_units()
        with _no_service_starts():
            _run_apt("update")
            _run_apt("install", "--yes", "--no-install-recommends", *missing)
        _disable_units(sorted(_find_service_units() - units_before))
        still_missing = find_missing_packages()
        if still_missing:
            raise StackError(f"apt-get installed no {' '.join(still_missing)}; install them by hand")


def _run_apt(*words: str) -> None:
    quiet = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet", "-o", "DPkg::Lock::Timeout=300"]
    run_command([*_as_root(), *quiet, *words], timeout=1800)


def _as_root() -> list[str]:
    if os.geteuid() == 0:
        return []
    if find_program("sudo") is None:
        raise StackError(
            "packages are missing and only root may install them: run as root, install sudo, or run "
            f"`apt-get install {' '.join(find_missing_packages())}` yourself"
        )
    return ["sudo"]


@contextmanager
def _no_service_starts() -> Iterator[None]:
    """Keep packages from starting the services they bring; leaves a policy of the machine's own alone."""
    if _POLICY.exists() and _POLICY.read_text(encoding="utf-8") != _POLICY_TEXT:
        yield
        return
    with tempfile.NamedTemporaryFile("w", encoding="utf-8") as draft:
        draft.write(_POLICY_TEXT)
        draft.flush()
        run_command([*_as_root(), "install", "-m", "0755", draft.name, _POLICY])
    try:
        yield
    finally:
        run_command([*_as_root(), "rm", "-f", _POLICY])


def _find_service_units() -> set[str]:
    names = {path.name for folder in _UNIT_FOLDERS if folder.is_dir() for path in folder.iterdir()}
    return {name for name in names if _SERVICE_UNITS.fullmatch(name)}


def _disable_units(units: list[str]) -> None:
    # Debian enables a new service for the next boot; nobody asked for one on this machine.
    if units and shutil.which("systemctl"):
        run_command([*_as_root(), "systemctl", "disable", "--quiet", *units])


def main() -> None:
    """Install the packages and fetch WordPress, with progress on standard error."""

    def report(line: str) -> None:
        sys.stderr.write(f"{line}\n")

    try:
        install_packages(report)
        fetch_wordpress(report)
    except StackError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
