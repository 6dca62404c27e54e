"""A folder's manifest without reading every file again: what did not change since it was hashed keeps its hash.

`find` lists the folder with all that a change of a file must change: device, inode, size, mtime and ctime to the
nanosecond, mode, owner. A file whose line is the one it was hashed under is not opened; a folder whose whole
listing is the one its digest was made from is not even looked through. A line counts only if its ctime was old when
the file was hashed: a later change within one tick, or through a mapping that was already dirty, would not show.

Whatever is unclear is read in full: a file system that is not local (its stat may be a cache's), another boot of
the machine (after a power cut a file may be newer than its times), a `find` that cannot or does not finish.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Set, Tuple

from ansible_collections.pressluft.wordpress.plugins.module_utils import durable_file
from ansible_collections.pressluft.wordpress.plugins.module_utils.file_clock import (
    FileClock,
    is_local,
    read_boot_id,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.manifest import (
    Entry,
    Tree,
    make_evidence,
    measure_tree,
    read_entries,
    read_tree,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import Measure
from ansible_collections.pressluft.wordpress.plugins.module_utils.seal import check_seal, make_seal

MANIFEST_FORMAT = 1
SETTLED_SECONDS = 60
"""How old a ctime must be to be relied on: spec.md says 2 s; a page dirtied through a mapping is written back after
30 s (`vm.dirty_expire_centisecs`), and until then further stores change no time."""
_FORMAT = r"%y %m %U %G %s %D %i %T@ %C@ %P\0"
_FIELDS = 9
_SECOND = 1_000_000_000
Skip = Callable[[bytes], bool]
_HASHED = (b"f", b"l")


class LateEvidence(Mapping[str, Any]):
    """The evidence of a manifest that nobody may ask for: made from the listing when somebody does."""

    def __init__(self, make: Callable[[], Mapping[str, Any]]) -> None:
        self._make = make

    def __getitem__(self, name: str) -> Any:
        return self._make()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._make())

    def __len__(self) -> int:
        return len(self._make())


class ManifestCache:
    """One folder's memory: two files beside `path`, sealed by the node. `clock` is that of the file systems."""

    def __init__(self, state_dir: str, path: str, *, clock: Optional[FileClock] = None) -> None:
        self._state_dir, self._path = state_dir, path
        self._clock = clock or FileClock()

    def measure_folder(self, top: str) -> Measure:
        """Measure a protected path, exactly as `manifest.measure_folder` does."""
        if not os.path.lexists(top):
            return Measure(None)
        root = os.path.realpath(top)
        try:
            now, listing = self._clock.read_now(), _list(root)
            origin = _make_origin(root)
            if listing is None or not origin:
                return measure_tree(read_tree(top))
            seen = hashlib.sha256(listing).hexdigest()
            summary = self._read("summary", origin)
            if summary and summary[0] == seen.encode():
                digest = summary[1].decode()
                return Measure(
                    digest, evidence=LateEvidence(lambda: self._make_evidence(root, listing, origin))
                )
            tree = self._read_tree(root, listing, now, origin=origin)
        except OSError as error:
            return Measure(None, unreadable="%s: %s" % (top, error.strerror))
        measure = measure_tree(tree)
        device = os.stat(root).st_dev
        if measure.digest and all(_is_settled(line, device, now) for line in listing.split(b"\0")[:-1]):
            self._write("summary", origin, [seen.encode(), measure.digest.encode()])
        return measure

    def read_tree(self, top: str, *, skip: Skip) -> Tree:
        """Read all entries below `top`, exactly as `manifest.read_tree` does."""
        root = os.path.realpath(top)
        now, listing = self._clock.read_now(), _list(root)
        origin = _make_origin(root)
        if listing is None or not origin:
            return read_tree(top, skip=skip)
        return self._read_tree(root, listing, now, origin=origin, skip=skip)

    def _make_evidence(self, root: str, listing: bytes, origin: str) -> Mapping[str, Any]:
        return make_evidence(self._read_tree(root, listing, 0, origin=origin).entries)

    def _read_tree(
        self, root: str, listing: bytes, now: int, *, origin: str, skip: Optional[Skip] = None
    ) -> Tree:
        known = _pair(self._read("hashes", origin))
        tree, kept, missing = Tree({}, {}), {}, {}
        for path, line in _find_lines(listing, skip):
            content = known.get(line)
            if line[:1] == b"d":
                tree.entries[path] = _make_entry(line, "")
            elif content is None:
                missing[path] = line
            else:
                kept[line] = content
                tree.entries[path] = _make_entry(line, content.decode())
        if missing:
            read_entries(os.fsencode(root), missing, tree)
            kept.update(_find_settled(root, missing, tree, now))
        if kept != known:
            self._write("hashes", origin, [part for pair in kept.items() for part in pair])
        return tree

    def _read(self, name: str, origin: str) -> List[bytes]:
        """The parts that were kept under a name; none where they are not there or not to be believed."""
        path = "%s.%s" % (self._path, name)
        try:
            with open(path, "rb") as stream:
                seal, _, content = stream.read().partition(b"\n")
            check_seal(self._state_dir, self._make_purpose(path), content, seal=seal.decode("ascii"))
        except (OSError, ValueError):
            return []
        first, *parts = content.split(b"\0")
        return parts if first == os.fsencode(origin) else []

    def _write(self, name: str, origin: str, parts: List[bytes]) -> None:
        path = "%s.%s" % (self._path, name)
        durable_file.make_private_folder(os.path.dirname(path))
        content = b"\0".join([os.fsencode(origin), *parts])
        seal = make_seal(self._state_dir, self._make_purpose(path), content)
        durable_file.write_bytes(path, seal.encode("ascii") + b"\n" + content)

    def _make_purpose(self, path: str) -> str:
        return "manifest %s" % os.path.relpath(path, self._state_dir)


def _list(root: str) -> Optional[bytes]:
    """The listing of a folder; None where there is no GNU find, or it met something that it could not read."""
    if not os.path.isdir(root):
        return None
    command = ["find", ".", "-printf", _FORMAT]
    try:
        done = subprocess.run(command, cwd=root, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except OSError:
        return None
    # The folder itself comes first, without a path: else this is not the `find` we know.
    first = done.stdout.partition(b"\0")[0].split(b" ", _FIELDS)
    is_complete = not done.returncode and not done.stderr and done.stdout.endswith(b"\0")
    return done.stdout if is_complete and first[0] == b"d" and first[_FIELDS:] == [b""] else None


def _make_origin(root: str) -> str:
    """What a cache is only good with: the format, this boot, this folder; empty where nothing may be kept."""
    device = os.stat(root).st_dev
    return "%d %s %d %s" % (MANIFEST_FORMAT, read_boot_id(), device, root) if is_local(device) else ""


def _find_lines(listing: bytes, skip: Optional[Skip]) -> Iterator[Tuple[bytes, bytes]]:
    """Each path with its line; what is skipped is left out with all that is below it."""
    skipped: Set[bytes] = set()
    for line in listing.split(b"\0")[:-1]:
        path = line.split(b" ", _FIELDS)[_FIELDS]
        if skip is not None and path and (path.rpartition(b"/")[0] in skipped or skip(path)):
            skipped.add(path)  # `find` names a folder before what is in it
        else:
            yield path, line


def _find_settled(root: str, read: Mapping[bytes, bytes], tree: Tree, now: int) -> Dict[bytes, bytes]:
    """Of the lines that were read, those under which the content may be kept: old, and still the same."""
    after = set((_list(root) or b"").split(b"\0"))
    device = os.stat(root).st_dev
    return {
        line: tree.entries[path].content.encode()
        for path, line in read.items()
        if path in tree.entries and line[:1] in _HASHED and line in after and _is_settled(line, device, now)
    }


def _is_settled(line: bytes, device: int, now: int) -> bool:
    fields = line.split(b" ", _FIELDS)
    seconds, _, fraction = fields[8].partition(b".")
    changed = int(seconds) * _SECOND + int(fraction[:9])
    return int(fields[5]) == device and changed + SETTLED_SECONDS * _SECOND <= now


def _make_entry(line: bytes, content: str) -> Entry:
    kind, mode, uid, gid, size = line.split(b" ", 5)[:5]
    length = 0 if kind == b"d" else int(size)
    return Entry(kind.decode(), int(mode, 8), int(uid), int(gid), length, content)


def _pair(parts: List[bytes]) -> Dict[bytes, bytes]:
    return dict(zip(parts[::2], parts[1::2]))
