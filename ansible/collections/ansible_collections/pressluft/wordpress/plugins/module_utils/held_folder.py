"""Working below a folder that somebody else may be changing: names are opened one by one, never through a link.

A node's steps run as root in folders that belong to a site's own user. Were they to go by path, that user could
replace a folder by a link in the moment between a look and a write, and have root write or delete elsewhere.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import stat

from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ITSELF = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_FICLONE = 0x40049409  # ioctl_ficlone(2): share the blocks, where the file system can
_NO_CLONE = frozenset({errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM})
_BLOCK = 1 << 20
_MOST_LINKS = 40  # as the kernel's ELOOP


class HeldFolder:
    """A folder held by its descriptor: renaming or replacing it changes nothing for its holder.

    Paths are relative to it, text or bytes. Raises `OSError` (`ENOTDIR`, `ELOOP`) where a folder on the way is a link.
    """

    def __init__(self, path):
        """Open `path`, absolute and without links (see `find_trusted`)."""
        self.descriptor = os.open("/", _FOLDER)
        self._last = None
        try:
            for name in _split(path):
                self.descriptor = _step(self.descriptor, name)
        except OSError:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Let go of the folder."""
        self._forget()
        os.close(self.descriptor)

    def find_parent(self, path):
        """The descriptor of the folder that holds `path`, and the name there; ours until the next call."""
        above, name = os.path.split(path)
        if self._last is None or self._last[0] != above:
            self._forget()
            descriptor = os.dup(self.descriptor)
            try:
                for step in _split(above):
                    if step in ("..", b".."):
                        raise NotADirectoryError(errno.ENOTDIR, "leads out of the folder", path)
                    descriptor = _step(descriptor, step)
            except OSError:
                os.close(descriptor)
                raise
            self._last = (above, descriptor)
        return self._last[1], name

    def open_file(self, path):
        """A descriptor for reading; never waits for a pipe."""
        parent, name = self.find_parent(path)
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)

    def lstat(self, path):
        """What is there, None for nothing."""
        try:
            parent, name = self.find_parent(path)
            return os.stat(name or ".", dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def make_folder(self, path, *, owner=None, mode=0o755):
        """Make a folder; one that is there stays as it is."""
        parent, name = self.find_parent(path)
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, mode, dir_fd=parent)
            if owner is not None:
                os.chown(name, *owner, dir_fd=parent, follow_symlinks=False)

    def put_link(self, path, aim, *, owner=None):
        """Make a link, in place of what is not a folder."""
        parent, name = self.find_parent(path)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=parent)
        os.symlink(aim, name, dir_fd=parent)
        if owner is not None:
            os.chown(name, *owner, dir_fd=parent, follow_symlinks=False)

    def put_file(self, path, fill, *, owner, mode):
        """Let `fill(descriptor)` write a new file, and put it at `path` in one rename: readers keep the old one."""
        parent, name = self.find_parent(path)
        temporary = b".pressluft-copy" if isinstance(name, bytes) else ".pressluft-copy"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=parent)
        writing = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        writer = os.open(temporary, writing, 0o600, dir_fd=parent)
        try:
            fill(writer)
            os.fchown(writer, *owner)
            os.fchmod(writer, mode)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=parent)
            raise
        finally:
            os.close(writer)
        os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)

    def adjust(self, path, *, owner=None, mode=None):
        """Set the owner and the mode of what is at `path`, never of what a link leads to."""
        parent, name = self.find_parent(path)
        descriptor = os.open(name or ".", _ITSELF, dir_fd=parent)
        try:
            if owner is not None:
                os.chown(name or ".", *owner, dir_fd=parent, follow_symlinks=False)
            if mode is not None and not stat.S_ISLNK(os.fstat(descriptor).st_mode):
                os.chmod("/proc/self/fd/{0}".format(descriptor), mode)
        finally:
            os.close(descriptor)

    def remove(self, path):
        """Delete a file, a link, or a folder with all that is in it; what is gone already is fine."""
        self._forget()
        found = self.lstat(path)
        if found is None:
            return
        parent, name = self.find_parent(path)
        if stat.S_ISDIR(found.st_mode):
            # By the descriptor: shutil itself follows no link below, nor one that took the folder's place.
            below = os.path.join(os.fsencode("/proc/self/fd/{0}".format(parent)), os.fsencode(name))
            shutil.rmtree(below, ignore_errors=True)
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=parent)
        self._forget()

    def _forget(self):
        if self._last is not None:
            os.close(self._last[1])
            self._last = None


def copy_file_as_it_is(origin, place, path):
    """Copy a regular file from one held folder to the same path in another, with owner, mode and times."""
    reader = origin.open_file(path)
    try:
        found = os.fstat(reader)

        def fill(writer):
            copy_content(reader, writer)
            os.utime(writer, ns=(found.st_atime_ns, found.st_mtime_ns))

        place.put_file(path, fill, owner=(found.st_uid, found.st_gid), mode=stat.S_IMODE(found.st_mode))
    finally:
        os.close(reader)


def copy_content(reader, writer):
    """Copy a file's bytes from one descriptor to another; shares blocks where the file system can."""
    try:
        fcntl.ioctl(writer, _FICLONE, reader)
    except OSError as error:
        if error.errno not in _NO_CLONE:
            raise
        block = os.read(reader, _BLOCK)
        while block:
            view = memoryview(block)
            while view:
                view = view[os.write(writer, view) :]
            block = os.read(reader, _BLOCK)


def find_trusted(path):
    """Where `path` leads, as `os.path.realpath` says, if every link on the way may be trusted.

    A link is root's, or it belongs to whoever owns what it leads to (Apache's `SymLinksIfOwnerMatch`): else a site's
    user could lead root to what is not his. Raises `NodeError` `SCHEMA_UNSUPPORTED`.
    """
    place, owners = _resolve(os.path.abspath(path))
    owner = _read_owner(place)
    if owners - {0, owner}:
        raise NodeError(
            "SCHEMA_UNSUPPORTED",
            "{0} leads to {1}, which does not belong to the link's owner".format(path, place),
            "Let root own the link (chown -h root), or give the folder to the site's user.",
        )
    return place


def find_controller(path):
    """The user id of whoever decides what is found at `path`: its owner, or that of a link on the way; 0 for none."""
    place, owners = _resolve(os.path.abspath(path))
    if not os.path.lexists(place):
        return 0
    owner = os.lstat(place).st_uid
    return next(iter(sorted(owners - {0, owner})), owner)


def _resolve(path):
    """The real path, and the owners of all links on the way to it."""
    place, waiting, owners, links = "/", _split(path)[::-1], set(), 0
    while waiting:
        name = waiting.pop()
        if name == "..":
            place = os.path.dirname(place)
            continue
        beyond = os.path.join(place, name)
        try:
            found = os.lstat(beyond)
            aim = os.readlink(beyond) if stat.S_ISLNK(found.st_mode) else None
        except FileNotFoundError:
            aim = None
        if aim is None:
            place = beyond
            continue
        links += 1
        if links > _MOST_LINKS:
            raise NodeError(
                "SCHEMA_UNSUPPORTED", "{0} leads in a circle".format(path), "Correct the links on the node."
            )
        owners.add(found.st_uid)
        place = "/" if os.path.isabs(aim) else place
        waiting += _split(aim)[::-1]
    return place, owners


def _read_owner(place):
    """The owner of a folder or file; of what holds it, where it is yet to be made."""
    while not os.path.lexists(place):
        place = os.path.dirname(place)
    return os.lstat(place).st_uid


def _split(path):
    separator, here = (b"/", b".") if isinstance(path, bytes) else ("/", ".")
    return [name for name in path.split(separator) if name not in (here, separator[:0])]


def _step(descriptor, name):
    """Go into a folder: its descriptor for that of the one it is in."""
    below = os.open(name, _FOLDER, dir_fd=descriptor)
    os.close(descriptor)
    return below
