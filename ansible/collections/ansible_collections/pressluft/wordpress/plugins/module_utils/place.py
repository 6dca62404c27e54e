"""Folders that no release owns, such as uploads: a restore exchanges each of them in one rename(2), and can undo it.

What comes in waits in a box, a folder beside the place that only we can enter, so that it is on the same file system
and nobody can turn it into a link. What was there before waits in the same box until the restore ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import stat
from dataclasses import dataclass
from typing import Optional, Tuple

from ansible_collections.pressluft.wordpress.plugins.module_utils.durable_file import sync_folder
from ansible_collections.pressluft.wordpress.plugins.module_utils.exchange import AFTER, BEFORE, MIXED
from ansible_collections.pressluft.wordpress.plugins.module_utils.held_folder import HeldFolder
from ansible_collections.pressluft.wordpress.plugins.module_utils.identity import is_within
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError

NOREPLACE, EXCHANGE = 1, 2  # renameat2(2)
UNABLE = frozenset({errno.EINVAL, errno.ENOSYS, errno.EXDEV, errno.EOPNOTSUPP})

_OCTAL = re.compile(rb"\\([0-7]{3})")  # how proc(5) writes blanks in mountinfo

Identity = Tuple[int, int]


@dataclass(frozen=True)
class Place:
    """What belongs at `live`, a real path, and waits as `name` in the box of the same folder.

    `incoming` and `outgoing` are device and inode of what comes and of what it replaces; `outgoing` is None where
    nothing is there.
    """

    live: str
    box: str
    name: str
    incoming: Identity
    outgoing: Optional[Identity]

    @property
    def waiting(self):
        """Where what comes waits, and what was there afterwards."""
        return os.path.join(self.box, self.name)


def load_place(fields):
    """A place from its JSON."""
    outgoing = fields["outgoing"]
    return Place(
        **dict(fields, incoming=tuple(fields["incoming"]), outgoing=tuple(outgoing) if outgoing else None)
    )


def make_box_path(folder, job_id):
    """The box of a job beside what lies in `folder`."""
    return os.path.join(folder, ".pressluft-{0}".format(job_id))


def open_box(box):
    """Make a box, empty, and prove that folders in it can be exchanged. Raises `NodeError` `SCHEMA_UNSUPPORTED`."""
    folder, name = os.path.split(box)
    drop_box(box)
    with HeldFolder(folder) as held:
        held.make_folder(name, mode=0o700)
    with _hold_box(box) as held:
        for probe in ("one", "two"):
            held.make_folder(probe)
        try:
            rename_held((held, "one"), (held, "two"), EXCHANGE)
        except OSError as error:
            if error.errno not in UNABLE:
                raise
            raise NodeError(
                "SCHEMA_UNSUPPORTED",
                "the file system of {0} cannot exchange two folders in one step".format(folder),
                "Keep uploads on a file system that can, such as ext4, xfs or btrfs.",
            ) from error
        for probe in ("one", "two"):
            held.remove(probe)


def drop_box(box):
    """Delete a box with all that is in it; one that is gone already is fine."""
    with contextlib.suppress(FileNotFoundError), HeldFolder(os.path.dirname(box)) as folder:
        folder.remove(os.path.basename(box))


def make_place(live, box, name):
    """The place as it stands before anything was exchanged."""
    waiting = read_identity(os.path.join(box, name))
    if waiting is None:
        raise FileNotFoundError(errno.ENOENT, "is not in its box", os.path.join(box, name))
    return Place(live, box, name, waiting, read_identity(live))


def read_identity(path):
    """Device and inode of what is at `path` itself, None for nothing."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def read_ownership(path):
    """User and group id of what is at `path` itself. Raises FileNotFoundError."""
    found = os.lstat(path)
    return found.st_uid, found.st_gid


def find_position(place):
    """Where a place stands: `before` or `after` its exchange, or `mixed`, which only a person can have done."""
    waiting = read_identity(place.waiting)
    if waiting == place.incoming:
        return BEFORE
    if waiting == place.outgoing:
        return AFTER
    return MIXED


def is_as_found(place):
    """Whether what is to be replaced is still what was there when the exchange was prepared."""
    return find_position(place) == BEFORE and read_identity(place.live) == place.outgoing


def put_in(place):
    """Bring what waits to its place. Safe to repeat."""
    if _find_known_position(place) == BEFORE:
        _move(place, EXCHANGE if place.outgoing else NOREPLACE, inwards=True)


def put_back(place):
    """Bring back what was there before. Safe to repeat."""
    if _find_known_position(place) == AFTER:
        _move(place, EXCHANGE if place.outgoing else NOREPLACE, inwards=False)


def find_mount(paths):
    """The first mount point that is one of these real paths or lies below one; empty for none."""
    mounts = _read_mounts()
    for path in paths:
        for mount in mounts:
            if is_within(mount, path):
                return mount
    return ""


def find_mount_above(path):
    """The mount point that a real path is on: rename(2) never leads from one to another, bind mounts included."""
    return max((mount for mount in _read_mounts() if is_within(path, mount)), key=len, default="/")


def _read_mounts():
    with open("/proc/self/mountinfo", "rb") as stream:
        return [os.fsdecode(_OCTAL.sub(_unescape, line.split(b" ")[4])) for line in stream]


def _unescape(found):
    return bytes([int(found.group(1), 8)])


def _find_known_position(place):
    position = find_position(place)
    if position == MIXED:
        raise NodeError(
            "ROLLBACK_FAILED",
            "what waits in {0} is neither what came nor what was there".format(place.box),
            "Somebody moved {0} by hand: put it back, then reset the environment.".format(place.live),
        )
    return position


def _move(place, how, *, inwards):
    folder, name = os.path.split(place.live)
    with HeldFolder(folder) as above, _hold_box(place.box) as box:
        ends = ((box, place.name), (above, name))
        rename_held(*(ends if inwards else ends[::-1]), how)
    for changed in (folder, place.box):
        sync_folder(changed)


@contextlib.contextmanager
def _hold_box(box):
    with HeldFolder(box) as held:
        found = os.fstat(held.descriptor)
        if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
            raise PermissionError(errno.EPERM, "is not the folder that was made", box)
        yield held


def rename_held(source, target, flags):
    """renameat2(2) of `(HeldFolder, name)` to another such pair."""
    (from_folder, from_name), (to_folder, to_name) = source, target
    call = ctypes.CDLL(None, use_errno=True).renameat2  # glibc >= 2.28, musl >= 1.2.4
    names = os.fsencode(from_name), os.fsencode(to_name)
    if call(from_folder.descriptor, names[0], to_folder.descriptor, names[1], ctypes.c_uint(flags)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), from_name)
