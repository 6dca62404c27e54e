"""Goes through a folder in the order of its raw paths, so that nothing has to be sorted or looked up afterwards."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from typing import Callable, Dict, Iterator, List, Optional, Tuple

from ansible_collections.pressluft.wordpress.plugins.module_utils.file_hash import (
    MOST_NAMES,
    Hashed,
    make_order,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.manifest_line import make_entry, make_line

Skip = Callable[[bytes], bool]

_FILES, _FOLDER, _OTHER, _BELOW = range(4)
Step = Tuple[int, bytes]


class FolderWalk:
    """One walk. `parts` are the lines in order, with a gap for each order to hash files; `fill` closes the gaps.

    What could not be read is in `unreadable` with the reason, and has no line.
    """

    def __init__(self, root: bytes, skip: Optional[Skip] = None) -> None:
        self.parts: List[bytes] = []
        self.unreadable: Dict[bytes, str] = {}
        self._root, self._skip = root, skip
        self._gaps: List[int] = []
        self._below: Dict[bytes, List[Step]] = {}  # what was listed and is still to be gone through

    def find_orders(self) -> Iterator[bytes]:
        """Walk, and yield the orders (`file_hash.make_order`) to hash the regular files."""
        waiting = [iter([(_FOLDER, b""), (_BELOW, b"")])]
        while waiting:
            kind, value = next(waiting[-1], (_BELOW, None))
            if value is None:
                waiting.pop()
            elif kind == _FILES:
                self._gaps.append(len(self.parts))
                self.parts.append(b"")
                yield value
            elif kind == _BELOW:
                waiting.append(iter(self._below.pop(value, [])))
            else:
                self._visit(value, is_folder=kind == _FOLDER)

    def fill(self, results: List[Hashed]) -> None:
        """Put in what came of the orders, in their sequence."""
        for gap, (lines, failed) in zip(self._gaps, results):
            self.parts[gap] = lines
            self.unreadable.update(failed)

    def _visit(self, path: bytes, *, is_folder: bool) -> None:
        """Add the line of what is no regular file; a folder is listed with it."""
        try:
            status = os.lstat(join(self._root, path))
            if stat.S_ISDIR(status.st_mode) != is_folder:
                raise OSError(errno.ESTALE, "is no longer what it was")
            line = make_line(path, make_entry(status, read_link(self._root, path, status)))
            if is_folder:
                self._below[path] = self._list(path)
        except OSError as error:
            self.unreadable[path] = error.strerror or str(error)
        else:
            self.parts.append(line)

    def _list(self, path: bytes) -> List[Step]:
        """The steps through a folder. What is below `a` comes where `a/` stands in the order: after `a-b`."""
        above = path + b"/" if path else b""
        found: List[Tuple[bytes, int]] = []
        with os.scandir(join(self._root, path)) as listing:
            for entry in listing:
                if self._skip is not None and self._skip(above + entry.name):
                    continue
                if entry.is_file(follow_symlinks=False):
                    found.append((entry.name, _FILES))
                elif entry.is_dir(follow_symlinks=False):
                    found += [(entry.name, _FOLDER), (entry.name + b"/", _BELOW)]
                else:
                    found.append((entry.name, _OTHER))
        found.sort()
        return list(_group(path, above, found))


def join(root: bytes, path: bytes) -> bytes:
    """The whole path of what lies at `path` below `root`."""
    return root + b"/" + path if path else root


def read_link(root: bytes, path: bytes, status: os.stat_result) -> str:
    """The content of what is no regular file: a link's target as its SHA-256, a device's number, else nothing."""
    kind = stat.S_IFMT(status.st_mode)
    if kind == stat.S_IFLNK:
        return hashlib.sha256(os.readlink(join(root, path))).hexdigest()
    return str(status.st_rdev) if kind in (stat.S_IFCHR, stat.S_IFBLK) else ""


def _group(path: bytes, above: bytes, found: List[Tuple[bytes, int]]) -> Iterator[Step]:
    """Files that follow each other are one order."""
    names: List[bytes] = []
    for name, kind in found:
        if names and (kind != _FILES or len(names) == MOST_NAMES):
            yield _FILES, make_order(path, names)
            names = []
        if kind == _FILES:
            names.append(name)
        else:
            yield kind, above + (name[:-1] if kind == _BELOW else name)
    if names:
        yield _FILES, make_order(path, names)
