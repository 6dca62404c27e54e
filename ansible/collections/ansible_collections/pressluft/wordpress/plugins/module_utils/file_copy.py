"""Make one folder the copy of another: only what differs is copied, what is too much goes, nothing is linked.

Never hard links: a copy that shares an inode with production would change production's file (design §4).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from dataclasses import dataclass

from ansible_collections.pressluft.wordpress.plugins.module_utils.held_folder import HeldFolder, copy_content
from ansible_collections.pressluft.wordpress.plugins.module_utils.manifest import (
    describe_path,
    describe_unreadable,
    digest_entries,
    make_evidence,
    read_tree,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.progress import SILENT
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import Measure

ATTEMPTS = 3
_MOVED = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EEXIST, errno.EISDIR, errno.ENOTEMPTY})
_COPIED_KINDS = frozenset("fdl")  # pipes, sockets and devices mean nothing in a copy


@dataclass(frozen=True)
class CopiedFolder:
    """What was done, in files and bytes, and both sides as measured when they were proved equal.

    `changes` counts every entry that was touched, folders and rights as well.
    """

    copied: int
    removed: int
    bytes: int
    changes: int
    source: Measure
    target: Measure


def copy_folder(source, target, *, read_source=read_tree, read_target=read_tree, progress=SILENT):
    """Make `target` hold what `source` holds, and prove it; both are absolute, real paths (see `find_trusted`).

    `target` is made if it is missing. Its entries belong to whom `target` itself belongs; modes and times are
    the source's. What changes meanwhile is copied again, up to three times. `read_source` and `read_target` read a
    folder as `manifest.read_tree` does: that of a `ManifestCache` need not hash what it knows. `progress` counts the
    files that are copied, and their bytes. Raises `NodeError`.
    """
    source, target = os.fsencode(source), os.fsencode(target)
    _make_target(source, target)
    copied = removed = size = changes = 0
    present = _read(target, read_target)
    for _attempt in range(ATTEMPTS):
        wanted = _read(source, read_source)
        _refuse_links_out(source, wanted)
        with contextlib.closing(_Copy(source, target, wanted=wanted, present=present)) as work:
            work.run(progress)
        copied, removed, size = copied + work.copied, removed + work.removed, size + work.bytes
        changes += work.changes
        if work.changes:  # else what was read is what is there
            present = _read(target, read_target)
        if _compare(wanted, present):
            return CopiedFolder(copied, removed, size, changes, _measure(wanted), _measure(present))
    raise NodeError(
        "ANSIBLE_HOST_FAILED",
        "{0} changed each time it was copied, {1} times".format(describe_path(source), ATTEMPTS),
        "Run the job again when less is being uploaded.",
        retry=True,
    )


def copy_file(source, target):
    """Make `target` a copy of one regular file; it belongs to whom its folder belongs. Both are real paths."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with HeldFolder(os.path.dirname(source)) as origin, HeldFolder(os.path.dirname(target)) as place:
        reader = origin.open_file(os.path.basename(source))
        try:
            found, above = os.fstat(reader), os.fstat(place.descriptor)
            place.put_file(
                os.path.basename(target),
                lambda writer: copy_content(reader, writer),
                owner=(above.st_uid, above.st_gid),
                mode=found.st_mode & 0o777,
            )
        finally:
            os.close(reader)


def _make_target(source, target):
    """Folders that are missing belong to whom the one above belongs; where that is root's, to the source's owner."""
    if os.path.isdir(target):
        return
    missing = [target]
    while not os.path.isdir(os.path.dirname(missing[0])):
        missing.insert(0, os.path.dirname(missing[0]))
    with HeldFolder(os.path.dirname(missing[0])) as held:
        found = os.fstat(held.descriptor)
        found = found if found.st_uid else os.stat(source)
        for place in missing:
            below = os.path.relpath(place, os.path.dirname(missing[0]))
            held.make_folder(below, owner=(found.st_uid, found.st_gid))


class _Copy:
    """One pass from one manifest to the other."""

    def __init__(self, source, target, *, wanted, present):
        self._source, self._target = HeldFolder(source), HeldFolder(target)
        self._wanted, self._present = wanted, present
        owner = os.fstat(self._target.descriptor)
        self._owner = (owner.st_uid, owner.st_gid)
        self.copied = self.removed = self.bytes = self.changes = 0

    def close(self):
        self._source.close()
        self._target.close()

    def run(self, progress):
        for path in sorted(self._present, reverse=True):  # what is below a folder before the folder
            if not path:
                continue
            wanted = self._wanted.get(path)
            if wanted is None or wanted.kind != self._present[path].kind:
                self._change(self._remove, path)
        for path in sorted(self._wanted):
            before = self.copied, self.bytes
            self._change(self._put, path)
            progress.add(files=self.copied - before[0], bytes=self.bytes - before[1])

    def _change(self, change, path):
        """What went away or became something else since it was listed is left to the comparison."""
        try:
            change(path)
        except OSError as error:
            if error.errno not in _MOVED:
                raise

    def _remove(self, path):
        self.changes += 1
        self._target.remove(path)
        self.removed += self._present[path].kind != "d"

    def _put(self, path):
        entry, present = self._wanted[path], self._present.get(path)
        if entry.kind not in _COPIED_KINDS:
            return
        if present is not None and (present.kind, present.content) == (entry.kind, entry.content):
            self._adjust(path, entry, present)
            return
        self.changes += 1
        if entry.kind == "d":
            self._target.make_folder(path)
            self._adjust(path, entry, None)
        elif entry.kind == "l":
            self._put_link(path, entry)
        else:
            self._put_file(path, entry)

    def _put_link(self, path, entry):
        parent, name = self._source.find_parent(path)
        aim = os.readlink(name, dir_fd=parent)
        if hashlib.sha256(aim).hexdigest() == entry.content:  # the one that was looked at
            self._target.put_link(path, aim, owner=self._owner)
            self.copied += 1

    def _put_file(self, path, entry):
        reader = self._source.open_file(path)
        try:
            found = os.fstat(reader)
            if not stat.S_ISREG(found.st_mode):
                return

            def fill(writer):
                copy_content(reader, writer)
                os.utime(writer, ns=(found.st_atime_ns, found.st_mtime_ns))

            self._target.put_file(path, fill, owner=self._owner, mode=_mode(entry))
        finally:
            os.close(reader)
        self.copied += 1
        self.bytes += found.st_size

    def _adjust(self, path, entry, present):
        """Owner and mode, where they are not right; a link has no mode of its own."""
        owner_is_right = present is not None and (present.uid, present.gid) == self._owner
        mode_is_right = entry.kind == "l" or (present is not None and present.mode == _mode(entry))
        if not owner_is_right or not mode_is_right:
            self.changes += 1
            self._target.adjust(
                path,
                owner=None if owner_is_right else self._owner,
                mode=None if entry.kind == "l" else _mode(entry),
            )


def _mode(entry):
    """A program that takes its owner's rights must not get another owner."""
    return entry.mode & 0o777 if entry.kind == "f" else entry.mode


def _read(top, read):
    tree = read(os.fsdecode(top))
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
            path: (entry.kind, _mode(entry), entry.size, entry.content)
            for path, entry in entries.items()
            if path and entry.kind in _COPIED_KINDS
        }
        for entries in (wanted, present)
    ]
    return sides[0] == sides[1]


def _measure(entries):
    return Measure(digest_entries(entries), evidence=make_evidence(entries))
