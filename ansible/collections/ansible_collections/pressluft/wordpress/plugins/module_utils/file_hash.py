"""Hashes files, many of one folder at a time: the part of a manifest that costs.

A small file costs four calls of the kernel: open by its name in the folder, read, stat, close. That its content is
of one moment is told by its ctime: one that was over two seconds old when we began (design.md §4, the racy rule)
belongs to a change before that. Where that says nothing (a young ctime, a file system that is not local, a file
larger than the buffer) the file is read between two looks that must agree.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from typing import List, Sequence, Tuple

from ansible_collections.pressluft.wordpress.plugins.module_utils.file_clock import FileClock, is_local
from ansible_collections.pressluft.wordpress.plugins.module_utils.manifest_line import make_file_line

MOST_NAMES = 256
_BLOCK = 1 << 18  # stays in the processor's cache; larger ones are slower
_ATTEMPTS = 3
_RACY = 2_000_000_000
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK, a file swapped for a FIFO after it was listed would hang the check for ever.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY

Hashed = Tuple[bytes, List[Tuple[bytes, str]]]


def make_order(folder: bytes, names: Sequence[bytes]) -> bytes:
    """Return the order to hash these files of a folder, given relative to the root; no name holds a NUL."""
    return b"\0".join([folder, *names])


def hash_files(root: bytes, order: bytes) -> Hashed:
    """Carry out an order: the lines of the files in its sequence, and what failed with the reasons."""
    folder, *names = order.split(b"\0")
    above = folder + b"/" if folder else b""
    try:
        held = os.open(root + b"/" + folder if folder else root, _FOLDER)
    except OSError as error:
        return b"", [(above + name, _describe(error)) for name in names]
    try:
        return _hash_names(held, above, names)
    finally:
        os.close(held)


def _hash_names(held: int, above: bytes, names: Sequence[bytes]) -> Hashed:
    """Hash files of a folder held by its descriptor. One loop without calls of our own: it runs for each file."""
    lines: List[bytes] = []
    failed: List[Tuple[bytes, str]] = []
    device, settled = _find_settled(held)
    buffer = bytearray(_BLOCK)
    buffers, view = [buffer], memoryview(buffer)
    for name in names:
        try:
            descriptor = os.open(name, _FILE, dir_fd=held)
            try:
                count = os.readv(descriptor, buffers)
                status = os.fstat(descriptor)
            finally:
                os.close(descriptor)
            is_settled = status.st_ctime_ns < settled and status.st_dev == device
            if is_settled and count == status.st_size and stat.S_ISREG(status.st_mode):
                content = hashlib.sha256(view[:count]).hexdigest()
            else:
                status, content = _hash_between_looks(held, name)
            lines.append(make_file_line(above + name, status, content))
        except OSError as error:  # noqa: PERF203 - each has its own reason
            failed.append((above + name, _describe(error)))
    return b"".join(lines), failed


def _find_settled(held: int) -> Tuple[int, int]:
    """A folder's device, and how old a ctime (nanoseconds) must be there to say that nothing changes now."""
    device = os.fstat(held).st_dev
    return device, FileClock().read_now() - _RACY if is_local(device) else 0


def _hash_between_looks(held: int, name: bytes) -> Tuple[os.stat_result, str]:
    """Read a file until two looks at it agree, up to three times."""
    for _attempt in range(_ATTEMPTS):
        descriptor = os.open(name, _FILE, dir_fd=held)
        try:
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                raise OSError(errno.ESTALE, "is no longer a file")
            content = _hash_content(descriptor, before.st_size)
            if _is_same(before, os.fstat(descriptor)):
                return before, content
        finally:
            os.close(descriptor)
    raise OSError(errno.ESTALE, "changes while it is read")


def _hash_content(descriptor: int, size: int) -> str:
    """Hash to the end, or to where it is clear that a file of this size has grown: a log may grow for ever."""
    digest, buffer = hashlib.sha256(), bytearray(_BLOCK)
    view = memoryview(buffer)
    length = count = os.readv(descriptor, [buffer])
    while count and length <= size:
        digest.update(view[:count])
        count = os.readv(descriptor, [buffer])
        length += count
    return digest.hexdigest()


def _is_same(before: os.stat_result, after: os.stat_result) -> bool:
    return (before.st_size, before.st_mtime_ns, before.st_ctime_ns) == (
        after.st_size,
        after.st_mtime_ns,
        after.st_ctime_ns,
    )


def _describe(error: OSError) -> str:
    return error.strerror or str(error)
