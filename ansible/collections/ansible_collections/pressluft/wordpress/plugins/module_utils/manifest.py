"""What a folder holds: every entry below it, read without ever following a link or waiting for a pipe."""

from __future__ import annotations

import hashlib
import os
import stat
from typing import Any, Callable, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.pressluft.wordpress.plugins.module_utils.fork_map import map_paths
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import Measure

_BLOCK = 1 << 20
_ATTEMPTS = 3
_KINDS = {
    stat.S_IFREG: "f",
    stat.S_IFDIR: "d",
    stat.S_IFLNK: "l",
    stat.S_IFIFO: "p",
    stat.S_IFSOCK: "s",
    stat.S_IFCHR: "c",
    stat.S_IFBLK: "b",
}
# Without O_NONBLOCK, a file swapped for a FIFO after it was listed would hang the check for ever.
_OPEN_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


class Entry(NamedTuple):
    """A file, folder, link or special file: kind (`f d l p s c b`), permission bits, owner, size in bytes.

    `content` is the SHA-256 in hex of a file's bytes or of a link's target, a device's number, else empty.
    Folders have no size: theirs is the file system's business. Times are no part of it.
    """

    kind: str
    mode: int
    uid: int
    gid: int
    size: int
    content: str


class Tree(NamedTuple):
    """Everything below a folder by its path relative to it (the folder itself is `b""`).

    What could not be read is in `unreadable` with the reason, and not in `entries`.
    """

    entries: Dict[bytes, Entry]
    unreadable: Dict[bytes, str]


def read_tree(top: str, *, skip: Optional[Callable[[bytes], bool]] = None) -> Tree:
    """Read all entries below `top`, which may itself be a link into other storage (followed this once).

    `skip` leaves out a path and all that is below it. Nothing raises but a `top` that is not there: OSError.
    """
    root = os.fsencode(os.path.realpath(top))
    tree = Tree({}, {})
    hash_files(root, _walk(root, os.lstat(root), tree, skip or _skip_nothing), tree)
    return tree


def read_entries(root: bytes, paths: Iterable[bytes], tree: Tree) -> None:
    """Add entries that are no folders, given relative to `root`, to a tree, whatever they are by now."""
    files: List[bytes] = []
    for path in paths:
        try:
            status = os.lstat(_join(root, path))
            if stat.S_ISREG(status.st_mode):
                files.append(path)
            else:
                tree.entries[path] = _make_entry(status, _read_link(root, path, status))
        except OSError as error:  # noqa: PERF203 - each has its own reason
            tree.unreadable[path] = error.strerror or str(error)
    hash_files(root, files, tree)


def hash_files(root: bytes, paths: Sequence[bytes], tree: Tree) -> None:
    """Add regular files, given relative to `root`, to a tree; one that vanished or changes is unreadable."""
    for path, entry, reason in map_paths(lambda path: _hash_file(root, path), paths):
        if entry is None:
            tree.unreadable[path] = reason
        else:
            tree.entries[path] = Entry(*entry)


def digest_entries(entries: Mapping[bytes, Entry]) -> str:
    """Return one digest (`sha256:<hex>`) over all entries in the order of their raw paths."""
    digest = hashlib.sha256()
    for path in sorted(entries):
        digest.update(b"%d:%s %s\n" % (len(path), path, describe_entry(entries[path]).encode()))
    return "sha256:%s" % digest.hexdigest()


def describe_entry(entry: Entry) -> str:
    """Return an entry as one line; equal lines are equal entries."""
    return "%s %o %d %d %d %s" % entry


def measure_folder(top: str) -> Measure:
    """Measure a protected path with owners and modes: absent, unreadable, or the digest of its manifest.

    A link that leads nowhere is a vanished folder and unreadable, never absent.
    """
    if not os.path.lexists(top):
        return Measure(None)
    try:
        return measure_tree(read_tree(top))
    except OSError as error:
        return Measure(None, unreadable="%s: %s" % (top, error.strerror))


def measure_tree(tree: Tree) -> Measure:
    """Return what was read of a folder as a resource."""
    if tree.unreadable:
        return Measure(None, unreadable=describe_unreadable(tree.unreadable))
    return Measure(digest_entries(tree.entries), evidence=make_evidence(tree.entries))


def make_evidence(entries: Mapping[bytes, Entry]) -> Dict[str, Dict[str, str]]:
    """Return a manifest as JSON can hold it; bytes that are not UTF-8 become lone surrogates."""
    return {"entries": {os.fsdecode(path): describe_entry(entry) for path, entry in entries.items()}}


def find_changed_paths(before: Mapping[str, str], after: Mapping[str, str]) -> List[str]:
    """Return the paths that two manifests (`entries` of the evidence) do not agree on, in their order."""
    return [path for path in sorted({*before, *after}) if before.get(path) != after.get(path)]


def describe_path(path: bytes) -> str:
    """Return a path as text for people and JSON: bytes that are no UTF-8 are written as escapes."""
    return path.decode("utf-8", "backslashreplace")


def describe_unreadable(unreadable: Mapping[bytes, str]) -> str:
    """Say what could not be read: the first three with their reasons, then how many more."""
    first = ["%s: %s" % (describe_path(path) or ".", unreadable[path]) for path in sorted(unreadable)[:3]]
    more = len(unreadable) - len(first)
    return "; ".join(first) + ("; and %d more" % more if more else "")


def _skip_nothing(_path: bytes) -> bool:
    return False


def _walk(root: bytes, found: os.stat_result, tree: Tree, skip: Callable[[bytes], bool]) -> List[bytes]:
    """Fill `tree` with all but regular files, and return the paths of those."""
    files: List[bytes] = []
    waiting: List[Tuple[bytes, os.stat_result]] = [(b"", found)]
    while waiting:
        path, status = waiting.pop()
        kind = stat.S_IFMT(status.st_mode)
        try:
            if kind == stat.S_IFREG:
                files.append(path)
                continue
            tree.entries[path] = _make_entry(status, _read_link(root, path, status))
            if kind == stat.S_IFDIR:
                waiting += [child for child in _list_folder(root, path) if not skip(child[0])]
        except OSError as error:
            tree.entries.pop(path, None)
            tree.unreadable[path] = error.strerror or str(error)
    return files


def _list_folder(root: bytes, path: bytes) -> Iterable[Tuple[bytes, os.stat_result]]:
    with os.scandir(_join(root, path)) as listing:
        return [
            (path + b"/" + entry.name if path else entry.name, entry.stat(follow_symlinks=False))
            for entry in listing
        ]


def _read_link(root: bytes, path: bytes, status: os.stat_result) -> str:
    kind = stat.S_IFMT(status.st_mode)
    if kind == stat.S_IFLNK:
        return hashlib.sha256(os.readlink(_join(root, path))).hexdigest()
    return str(status.st_rdev) if kind in (stat.S_IFCHR, stat.S_IFBLK) else ""


def _hash_file(root: bytes, path: bytes) -> Tuple[bytes, Optional[Tuple[Any, ...]], str]:
    """Hash a regular file; one that changes meanwhile is read again, up to three times."""
    try:
        for _attempt in range(_ATTEMPTS):
            descriptor = os.open(_join(root, path), _OPEN_FLAGS)
            try:
                before = os.fstat(descriptor)
                if not stat.S_ISREG(before.st_mode):
                    return path, None, "is no longer a file"
                content = _hash_content(descriptor, before.st_size)
                if _is_same(before, os.fstat(descriptor)):
                    return path, tuple(_make_entry(before, content)), ""
            finally:
                os.close(descriptor)
    except OSError as error:
        return path, None, error.strerror or str(error)
    return path, None, "changes while it is read"


def _hash_content(descriptor: int, size: int) -> str:
    """Hash a file to its end; `size` is what it should be, so that a small one is read in one go."""
    block = os.read(
        descriptor, min(size + 1, _BLOCK)
    )  # a larger buffer costs more than a small file's content
    digest, length = hashlib.sha256(block), len(block)
    while block and length != size:
        block = os.read(descriptor, _BLOCK)
        digest.update(block)
        length += len(block)
    return digest.hexdigest()


def _is_same(before: os.stat_result, after: os.stat_result) -> bool:
    return (before.st_size, before.st_mtime_ns, before.st_ctime_ns) == (
        after.st_size,
        after.st_mtime_ns,
        after.st_ctime_ns,
    )


def _make_entry(status: os.stat_result, content: str) -> Entry:
    kind = _KINDS.get(stat.S_IFMT(status.st_mode), "?")
    size = status.st_size if kind in "fl" else 0
    return Entry(kind, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, size, content)


def _join(root: bytes, path: bytes) -> bytes:
    return root + b"/" + path if path else root
