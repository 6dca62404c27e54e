"""Make one folder the copy of another: only what differs is copied, what is too much goes, nothing is linked.

Never hard links: a copy that shares an inode with production would change production's file (design §4).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import stat
from dataclasses import dataclass

from ansible_collections.pressluft.wordpress.plugins.module_utils.manifest import (
    describe_path,
    describe_unreadable,
    digest_entries,
    make_evidence,
    read_tree,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import Measure

ATTEMPTS = 3
_FICLONE = 0x40049409  # ioctl_ficlone(2): share the blocks, where the file system can
_NO_CLONE = frozenset({errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM})
_BLOCK = 1 << 20
_TEMPORARY = b".pressluft-copy"
_COPIED_KINDS = frozenset("fdl")  # pipes, sockets and devices mean nothing in a copy


@dataclass(frozen=True)
class CopiedFolder:
    """What was done, in files and bytes, and both sides as measured when they were proved equal."""

    copied: int
    removed: int
    bytes: int
    source: Measure
    target: Measure


def copy_folder(source, target):
    """Make `target` hold what `source` holds, and prove it; both may be links to folders elsewhere.

    `target` is made if it is missing. Its entries belong to whom `target` itself belongs; modes and times are
    the source's. What changes meanwhile is copied again, up to three times. Raises `NodeError`.
    """
    source, target = (os.fsencode(os.path.realpath(path)) for path in (source, target))
    if not os.path.isdir(target):
        os.makedirs(target)
        found = os.stat(source)
        os.chown(target, found.st_uid, found.st_gid)
    copied = removed = size = 0
    present = _read(target)
    for _attempt in range(ATTEMPTS):
        wanted = _read(source)
        _refuse_links_out(source, wanted)
        work = _Copy(source, target, wanted=wanted, present=present)
        work.run()
        copied, removed, size = copied + work.copied, removed + work.removed, size + work.bytes
        present = _read(target)
        if _compare(wanted, present):
            return CopiedFolder(copied, removed, size, _measure(wanted), _measure(present))
    raise NodeError(
        "ANSIBLE_HOST_FAILED",
        "{0} changed each time it was copied, {1} times".format(describe_path(source), ATTEMPTS),
        "Run the job again when less is being uploaded.",
        retry=True,
    )


class _Copy:
    """One pass from one manifest to the other."""

    def __init__(self, source, target, *, wanted, present):
        self._source, self._target = source, target
        self._wanted, self._present = wanted, present
        owner = os.stat(target)
        self._owner = (owner.st_uid, owner.st_gid)
        self.copied = self.removed = self.bytes = 0

    def run(self):
        for path in sorted(self._present, reverse=True):  # what is below a folder before the folder
            if not path:
                continue
            wanted = self._wanted.get(path)
            if wanted is None or wanted.kind != self._present[path].kind:
                self._remove(path)
        for path in sorted(self._wanted):
            with contextlib.suppress(
                FileNotFoundError
            ):  # went away since it was listed: seen by the comparison
                self._put(path, self._wanted[path])

    def _remove(self, path):
        place = os.path.join(self._target, path)
        if self._present[path].kind == "d":
            shutil.rmtree(place, ignore_errors=True)
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(place)
            self.removed += 1

    def _put(self, path, entry):
        if entry.kind not in _COPIED_KINDS:
            return
        place = os.path.join(self._target, path) if path else self._target
        present = self._present.get(path)
        if present is not None and (present.kind, present.content) == (entry.kind, entry.content):
            self._adjust(place, entry, present)
            return
        if entry.kind == "d":
            with contextlib.suppress(FileExistsError):
                os.mkdir(place)
        elif entry.kind == "l":
            self._put_link(os.path.join(self._source, path), place)
        else:
            self._put_file(os.path.join(self._source, path), place, entry)
            return
        self._adjust(place, entry, None)

    def _put_link(self, origin, place):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(place)
        os.symlink(os.readlink(origin), place)
        self.copied += 1

    def _put_file(self, origin, place, entry):
        """Through a new file and a rename: whoever reads the old one reads it to its end."""
        temporary = os.path.join(os.path.dirname(place), _TEMPORARY)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        reader = os.open(origin, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            found = os.fstat(reader)
            if not stat.S_ISREG(found.st_mode):
                return
            writer = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                _copy_content(reader, writer)
                os.fchown(writer, *self._owner)
                os.fchmod(writer, entry.mode)
                os.utime(writer, ns=(found.st_atime_ns, found.st_mtime_ns))
            finally:
                os.close(writer)
        finally:
            os.close(reader)
        os.rename(temporary, place)
        self.copied += 1
        self.bytes += found.st_size

    def _adjust(self, place, entry, present):
        """Owner and mode, where they are not right; a link has no mode of its own."""
        if present is None or (present.uid, present.gid) != self._owner:
            os.lchown(place, *self._owner)
        if entry.kind != "l" and (present is None or present.mode != entry.mode):
            os.chmod(place, entry.mode)


def _copy_content(reader, writer):
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


def _read(top):
    tree = read_tree(os.fsdecode(top))
    if tree.unreadable:
        raise NodeError(
            "ANSIBLE_HOST_FAILED",
            "cannot read in {0}: {1}".format(describe_path(top), describe_unreadable(tree.unreadable)),
            "Let root read these, or take them away, then run the job again.",
            retry=True,
        )
    return tree.entries


def _refuse_links_out(top, entries):
    """A link that leads out of the folder would let the copy write into what is production's."""
    for path, entry in entries.items():
        if entry.kind != "l":
            continue
        aim = os.readlink(os.path.join(top, path))
        place = os.path.normpath(os.path.join(os.path.dirname(os.path.join(top, path)), aim))
        if os.path.isabs(aim) or not (place + b"/").startswith(top + b"/"):
            raise NodeError(
                "SCHEMA_UNSUPPORTED",
                "{0} in {1} is a link that leads out of it".format(describe_path(path), describe_path(top)),
                "Put the file itself there, or make the link relative and within the folder.",
            )


def _compare(wanted, present):
    """Whether the copy holds the same, owners apart."""
    sides = [
        {
            path: (entry.kind, entry.mode, entry.size, entry.content)
            for path, entry in entries.items()
            if path and entry.kind in _COPIED_KINDS
        }
        for entries in (wanted, present)
    ]
    return sides[0] == sides[1]


def _measure(entries):
    return Measure(digest_entries(entries), evidence=make_evidence(entries))
