"""Which Unix account a server of the stack runs as: an unprivileged one when we are root, else ourselves."""

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from reconciler.stack.command import StackError


@dataclass(frozen=True)
class Account:
    """A Unix account by name, user id and primary group."""

    name: str
    uid: int
    gid: int

    @property
    def group(self) -> str:
        """The name of the primary group."""
        return grp.getgrgid(self.gid).gr_name

    @property
    def is_self(self) -> bool:
        """Whether this is the account the calling process already runs as."""
        return self.uid == os.geteuid()


def find_account(*preferred: str) -> Account:
    """Return the account for a server: the first of `preferred` that exists when we are root, else our own.

    MariaDB refuses to run as root, and a web server should not. Raises StackError when none exists.
    """
    if os.geteuid() != 0:
        return find_own_account()
    for name in (*preferred, "nobody"):
        try:
            return _as_account(pwd.getpwnam(name))
        except KeyError:
            continue
    raise StackError(f"none of the accounts {', '.join(preferred)}, nobody exists on this machine")


def find_own_account() -> Account:
    """Return the account that the calling process runs as."""
    return _as_account(pwd.getpwuid(os.geteuid()))


def _as_account(entry: pwd.struct_passwd) -> Account:
    return Account(name=entry.pw_name, uid=entry.pw_uid, gid=entry.pw_gid)


def make_folder(path: Path, *, owner: Account | None = None, mode: int = 0o755) -> Path:
    """Create one folder (and its parents) with an exact mode, and hand it to `owner`. Returns the path."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(mode)
    if owner is not None and not owner.is_self:
        os.chown(path, owner.uid, owner.gid)
    return path


def write_file(path: Path, text: str, *, owner: Account | None = None, mode: int = 0o644) -> Path:
    """Write one file that never exists with a wider mode than `mode`. Returns the path."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(descriptor, mode)
        if owner is not None and not owner.is_self:
            os.fchown(descriptor, owner.uid, owner.gid)
        file.write(text)
    return path


def check_reachable(folder: Path) -> None:
    """Raise StackError when an unprivileged server cannot enter `folder`, with the folder in the way."""
    if os.geteuid() != 0:
        return
    for ancestor in _ancestors(folder.resolve()):
        if not ancestor.stat().st_mode & stat.S_IXOTH:
            raise StackError(
                f"the servers run without root rights and cannot enter {ancestor}; "
                f"choose a folder outside it, for example below /var/tmp"
            )


def _ancestors(folder: Path) -> Iterator[Path]:
    existing = folder
    while not existing.exists():
        existing = existing.parent
    yield existing
    yield from existing.parents
