"""What `find` says of a folder: for each entry all that a change of it must change, without opening anything.

The listing of a large folder is tens of megabytes: it lies in a file without a name and is gone through, not held.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from typing import IO, Iterator, NamedTuple, Optional, Set

from ansible_collections.pressluft.wordpress.plugins.module_utils.folder_walk import Skip

_FORMAT = r"%y %m %U %G %s %D %i %T@ %C@ %P\0"
_FIELDS = 9
_SECOND = 1_000_000_000
_BLOCK = 1 << 16


class Listed(NamedTuple):
    """An entry: its path, and all else as `find` wrote it: kind, mode, owner, group, size, device, inode, times."""

    path: bytes
    facts: bytes


class FileListing:
    """The listing of one folder at one moment. `is_complete` tells whether `find` is one we know and read it all."""

    def __init__(self, root: str, stream: IO[bytes]) -> None:
        """List `root` into `stream`, an empty file."""
        self._stream = stream
        self.is_complete = os.path.isdir(root) and _run_find(root, stream) and self._is_known()

    def digest(self) -> bytes:
        """The SHA-256 of all of it, in hex."""
        digest = hashlib.sha256()
        self._stream.seek(0)
        for block in iter(lambda: self._stream.read(_BLOCK), b""):
            digest.update(block)
        return digest.hexdigest().encode("ascii")

    def find_entries(self, skip: Optional[Skip] = None) -> Iterator[Listed]:
        """Go through it; what is skipped is left out with all that is below it."""
        skipped: Set[bytes] = set()
        for line in self._split():
            path = line.split(b" ", _FIELDS)[_FIELDS]
            if skip is not None and path and (path.rpartition(b"/")[0] in skipped or skip(path)):
                skipped.add(path)  # `find` names a folder before what is in it
            else:
                yield Listed(path, line[: len(line) - len(path)])

    def _split(self) -> Iterator[bytes]:
        self._stream.seek(0)
        rest = b""
        for block in iter(lambda: self._stream.read(_BLOCK), b""):
            *lines, rest = (rest + block).split(b"\0")
            yield from lines

    def _is_known(self) -> bool:
        """Whether it ends with a whole line and the folder itself comes first, without a path."""
        size = self._stream.seek(0, os.SEEK_END)
        if not size:
            return False
        self._stream.seek(size - 1)
        ends = self._stream.read(1) == b"\0"
        first = next(self._split(), b"").split(b" ", _FIELDS)
        return ends and first[0] == b"d" and first[_FIELDS:] == [b""]


def open_listing_file(folder: str) -> IO[bytes]:
    """A file without a name in a folder of ours, gone when it is closed."""
    return tempfile.TemporaryFile(dir=folder)


def read_changed(facts: bytes) -> int:
    """The ctime in nanoseconds."""
    seconds, _, fraction = facts.split(b" ")[8].partition(b".")
    return int(seconds) * _SECOND + int(fraction[:9])


def read_device(facts: bytes) -> int:
    """The device's number (`st_dev`)."""
    return int(facts.split(b" ")[5])


def is_still(facts: bytes, status: os.stat_result) -> bool:
    """Whether an entry is the very one that was listed: device, inode, size and both times."""
    now = b"%d %d %d %s %s" % (
        status.st_size,
        status.st_dev,
        status.st_ino,
        _format_time(status.st_mtime_ns),
        _format_time(status.st_ctime_ns),
    )
    return b" ".join(facts.split(b" ")[4:9]) == now


def _format_time(nanoseconds: int) -> bytes:
    return b"%d.%09d0" % divmod(nanoseconds, _SECOND)


def _run_find(root: str, stream: IO[bytes]) -> bool:
    command = ["find", ".", "-printf", _FORMAT]
    try:
        done = subprocess.run(
            command, cwd=root, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.PIPE, check=False
        )
    except OSError:
        return False
    return not done.returncode and not done.stderr
