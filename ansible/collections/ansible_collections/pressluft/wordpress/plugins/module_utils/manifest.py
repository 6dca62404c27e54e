"""What a folder holds: every entry below it, read without ever following a link or waiting for a pipe."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from typing import (
    Any,
    Callable,
    Dict,
    Iterable,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
)

from ansible_collections.pressluft.wordpress.plugins.module_utils.file_hash import (
    MOST_NAMES,
    hash_files,
    make_order,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.folder_walk import (
    FolderWalk,
    Skip,
    join,
    read_link,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.fork_map import map_orders
from ansible_collections.pressluft.wordpress.plugins.module_utils.manifest_line import (
    Entry,
    describe_entry,
    find_texts,
    make_entry,
    make_line,
    parse_entry,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import Measure


class Tree(NamedTuple):
    """Everything below a folder by its path relative to it (the folder itself is `b""`).

    What could not be read is in `unreadable` with the reason, and not in `entries`.
    """

    entries: Dict[bytes, Entry]
    unreadable: Dict[bytes, str]


class Lines(NamedTuple):
    """Everything below a folder as lines (`manifest_line`), not joined; `unreadable` as in a Tree."""

    parts: List[bytes]
    unreadable: Dict[bytes, str]


class LateEvidence(Mapping[str, Any]):
    """The evidence of a manifest, made when somebody asks for it: hardly anybody does."""

    def __init__(self, make: Callable[[], Mapping[str, Any]]) -> None:
        self._make = make

    def __getitem__(self, name: str) -> Any:
        return self._make()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._make())

    def __len__(self) -> int:
        return len(self._make())


def read_lines(top: str, *, skip: Optional[Skip] = None) -> Lines:
    """Read all entries below `top`, which may itself be a link into other storage, in the order of their raw paths.

    `skip` leaves out a path and all that is below it. Nothing raises but a `top` that is not there: OSError.
    """
    root = os.fsencode(os.path.realpath(top))
    if not stat.S_ISDIR(os.lstat(root).st_mode):
        return _read_one(root)
    walk = FolderWalk(root, skip)
    walk.fill(map_orders(lambda order: hash_files(root, order), walk.find_orders()))
    return Lines(walk.parts, walk.unreadable)


def read_tree(top: str, *, skip: Optional[Skip] = None) -> Tree:
    """Read as `read_lines` does, each entry for itself."""
    return make_tree(read_lines(top, skip=skip))


def _read_one(root: bytes) -> Lines:
    """A protected path may be a single file, or a pipe: then the top is all there is."""
    if not stat.S_ISREG(os.lstat(root).st_mode):
        return Lines([read_special(root, b"")], {})
    folder, name = os.path.split(root)
    read = make_tree(hash_paths(folder, [name]))
    lines = [make_line(b"", entry) for entry in read.entries.values()]
    return Lines(lines, {b"": read.unreadable[name]} if read.unreadable else {})


def make_tree(lines: Lines) -> Tree:
    """Take lines apart."""
    entries = {path: parse_entry(text) for part in lines.parts for path, text in find_texts(part)}
    return Tree(entries, lines.unreadable)


def hash_paths(root: bytes, paths: Iterable[bytes]) -> Lines:
    """Return the lines of regular files, given relative to `root`; those of one folder should follow each other."""
    results = map_orders(lambda order: hash_files(root, order), _make_orders(paths))
    failed = [failure for _lines, failures in results for failure in failures]
    return Lines([lines for lines, _failures in results], dict(failed))


def read_special(root: bytes, path: bytes) -> bytes:
    """Return the line of what is neither a regular file nor a folder. Raises OSError when it is by now."""
    status = os.lstat(join(root, path))
    if stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode):
        raise OSError(errno.ESTALE, "is no longer what it was")
    return make_line(path, make_entry(status, read_link(root, path, status)))


def digest_entries(entries: Mapping[bytes, Entry]) -> str:
    """Return one digest (`sha256:<hex>`) over all entries in the order of their raw paths."""
    return digest_lines(make_line(path, entries[path]) for path in sorted(entries))


def digest_lines(parts: Iterable[bytes]) -> str:
    """Return the digest (`sha256:<hex>`) of lines that are in the order of their raw paths."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return "sha256:%s" % digest.hexdigest()


def measure_folder(top: str) -> Measure:
    """Measure a protected path with owners and modes: absent, unreadable, or the digest of its manifest.

    A link that leads nowhere is a vanished folder and unreadable, never absent.
    """
    if not os.path.lexists(top):
        return Measure(None)
    try:
        return measure_lines(read_lines(top))
    except OSError as error:
        return Measure(None, unreadable="%s: %s" % (top, error.strerror))


def measure_lines(lines: Lines) -> Measure:
    """Return what was read of a folder as a resource."""
    if lines.unreadable:
        return Measure(None, unreadable=describe_unreadable(lines.unreadable))
    return Measure(digest_lines(lines.parts), evidence=LateEvidence(lambda: _make_evidence(lines.parts)))


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


def _make_evidence(parts: Sequence[bytes]) -> Dict[str, Dict[str, str]]:
    return {"entries": {os.fsdecode(path): text for part in parts for path, text in find_texts(part)}}


def _make_orders(paths: Iterable[bytes]) -> Iterator[bytes]:
    """Orders of files that follow each other in one folder."""
    folder = b""
    names: List[bytes] = []
    for path in paths:
        above, _, name = path.rpartition(b"/")
        if names and (above != folder or len(names) == MOST_NAMES):
            yield make_order(folder, names)
            names = []
        folder = above
        names.append(name)
    if names:
        yield make_order(folder, names)
