"""What a file's times are worth: how they are read, and from when on a change must show in them.

A kernel stamps changes with a clock that ticks every 1 to 10 ms (before Linux 6.13 always), and some file systems
keep whole seconds. Two changes within one tick look like one, so a stamp proves something only once its file
system's clock has gone on.
"""

from __future__ import annotations

import os
import stat
import time
from typing import List, NamedTuple, Optional

_COARSE = 5  # CLOCK_REALTIME_COARSE of clock_gettime(2): the clock that files are stamped with
_SECOND = 1_000_000_000
_TICKS = 2
_LOCAL = frozenset(["ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "tmpfs"])


class FileStamp(NamedTuple):
    """One version of a regular file: where it lies, how large it is, and when it was changed (nanoseconds)."""

    device: int
    inode: int
    size: int
    mtime: int
    ctime: int


class FileClock:
    """The clock of the local file systems. Tests put a coarser one in its place."""

    @property
    def tick(self) -> int:
        """Nanoseconds between two values of the clock."""
        return int(time.clock_getres(_COARSE) * _SECOND)

    def read_now(self) -> int:
        """What a file changed now would be stamped with, in nanoseconds."""
        return time.clock_gettime_ns(_COARSE)

    def read_stamp(self, path: str) -> Optional[FileStamp]:
        """The stamp of a regular file; None for anything else, and for what is not there."""
        try:
            found = os.lstat(path)
        except OSError:
            return None
        if not stat.S_ISREG(found.st_mode):
            return None
        return FileStamp(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)

    def find_wait(self, stamp: FileStamp) -> int:
        """Nanoseconds until a further change must show in the stamp: 0 or less when it would show already."""
        # A time without a fraction is most likely one of a file system that keeps none.
        coarse = stamp.ctime % _SECOND == 0
        return stamp.ctime + (_TICKS * _SECOND if coarse else _TICKS * self.tick) - self.read_now()


def read_boot_id() -> str:
    """Return the id of this boot of the kernel: after a power cut a file may be newer than its times."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
        return stream.read().strip()


def is_local(device: int) -> bool:
    """Whether a device number (`st_dev`) is that of a mounted file system known to keep honest times."""
    wanted = "%d:%d" % (os.major(device), os.minor(device))
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as stream:
        mounts: List[List[str]] = [line.split(" ") for line in stream]
    kinds = {fields[fields.index("-") + 1] for fields in mounts if fields[2] == wanted}
    return bool(kinds) and kinds <= _LOCAL
