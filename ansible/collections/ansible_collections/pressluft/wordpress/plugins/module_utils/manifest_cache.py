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
from contextlib import contextmanager
from typing import Any, Dict, Iterator, Mapping, NamedTuple, Optional, Tuple

from ansible_collections.pressluft.wordpress.plugins.module_utils import durable_file
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import (
    make_environment_folder_path,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.file_clock import (
    FileClock,
    is_local,
    read_boot_id,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.file_listing import (
    FileListing,
    Listed,
    is_still,
    open_listing_file,
    read_changed,
    read_device,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.folder_walk import Skip, join
from ansible_collections.pressluft.wordpress.plugins.module_utils.manifest import (
    LateEvidence,
    Lines,
    Tree,
    hash_paths,
    make_tree,
    measure_folder,
    measure_lines,
    read_lines,
    read_special,
    read_tree,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.manifest_line import find_lines
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import Measure
from ansible_collections.pressluft.wordpress.plugins.module_utils.seal import check_seal, make_seal

MANIFEST_FORMAT = 2
SETTLED_SECONDS = 60
"""How old a ctime must be to be relied on: spec.md says 2 s; a page dirtied through a mapping is written back after
30 s (`vm.dirty_expire_centisecs`), and until then further stores change no time."""
_SECOND = 1_000_000_000
_HASHED = (b"f", b"l")
_KEY = 16
_HASH = 32
_SEEN = 64

Hashes = Dict[bytes, bytes]
"""The SHA-256 of each file's content by the key of its line in the listing."""


class _Look(NamedTuple):
    """A folder as it was listed: `origin` is what its memory must be of, `now` the file systems' clock before."""

    root: str
    listing: FileListing
    origin: str
    now: int


class ManifestCache:
    """One folder's memory: two files beside `path`, sealed by the node. `clock` is that of the file systems."""

    def __init__(self, state_dir: str, path: str, *, clock: Optional[FileClock] = None) -> None:
        self._state_dir, self._path = state_dir, path
        self._clock = clock or FileClock()

    def measure_folder(self, top: str) -> Measure:
        """Measure a protected path, exactly as `manifest.measure_folder` does."""
        if not os.path.isdir(
            top
        ):  # absent, a link that leads nowhere, or a single file: nothing worth remembering
            return measure_folder(top)
        try:
            with self._list(top) as look:
                return self._measure(top, look)
        except OSError as error:
            return Measure(None, unreadable="%s: %s" % (top, error.strerror))

    def read_tree(self, top: str, *, skip: Optional[Skip] = None) -> Tree:
        """Read all entries below `top`, exactly as `manifest.read_tree` does."""
        with self._list(top) as look:
            if look is None:
                return read_tree(top, skip=skip)
            return make_tree(self._read_lines(look, skip=skip)[0])

    @contextmanager
    def _list(self, top: str) -> Iterator[Optional[_Look]]:
        """List a folder; None where a listing proves nothing."""
        root, now = os.path.realpath(top), self._clock.read_now()
        folder = os.path.dirname(self._path)
        durable_file.make_private_folder(folder)
        with open_listing_file(folder) as stream:
            listing = FileListing(root, stream)
            origin = _make_origin(root)
            yield _Look(root, listing, origin, now) if listing.is_complete and origin else None

    def _measure(self, top: str, look: Optional[_Look]) -> Measure:
        if look is None:
            return measure_lines(read_lines(top))
        seen = look.listing.digest()
        summary = self._read("summary", look.origin)
        if summary[:_SEEN] == seen:
            return Measure(summary[_SEEN:].decode(), evidence=LateEvidence(lambda: self._make_evidence(top)))
        lines, is_settled = self._read_lines(look)
        measure = measure_lines(lines)
        if measure.digest and is_settled:
            self._write("summary", look.origin, seen + measure.digest.encode())
        return measure

    def _make_evidence(self, top: str) -> Mapping[str, Any]:
        """What the folder holds now: it is asked for when it differs from something, to say where."""
        with self._list(top) as look:
            lines = self._read_lines(look)[0] if look else read_lines(top)
        return measure_lines(lines).evidence or {"entries": {}}

    def _read_lines(self, look: _Look, *, skip: Optional[Skip] = None) -> Tuple[Lines, bool]:
        """All lines in order, and whether each entry's ctime is old enough for the next time."""
        known = _unpack(self._read("hashes", look.origin))
        device, is_settled = os.stat(look.root).st_dev, True
        lines: Dict[bytes, bytes] = {}
        kept: Hashes = {}
        missing: Dict[bytes, bytes] = {}
        for listed in look.listing.find_entries(skip):
            path, facts = listed
            is_settled = is_settled and _is_settled(facts, device, look.now)
            if facts[:1] == b"d":
                lines[path] = _make_line(listed, b"")
                continue
            key = _make_key(listed)
            content = known.get(key)
            if content is None:
                missing[path] = facts
            else:
                kept[key] = content
                lines[path] = _make_line(listed, content.hex().encode("ascii"))
        is_same = not missing and len(kept) == len(known)
        del known
        unreadable = _read_missing(os.fsencode(look.root), missing, lines)
        _keep_settled(look, missing, lines, kept)
        if not is_same:
            self._write("hashes", look.origin, b"".join(key + content for key, content in kept.items()))
        return Lines([lines[path] for path in sorted(lines)], unreadable), is_settled

    def _read(self, name: str, origin: str) -> bytes:
        """What was kept under a name; nothing where it is not there or not to be believed."""
        path = "%s.%s" % (self._path, name)
        try:
            with open(path, "rb") as stream:
                seal, first = stream.readline()[:-1], stream.readline()[:-1]
                content = stream.read()
            check_seal(self._state_dir, self._make_purpose(path, first), content, seal=seal.decode("ascii"))
        except (OSError, ValueError):
            return b""
        return content if first == _name_origin(origin) else b""

    def _write(self, name: str, origin: str, content: bytes) -> None:
        path, first = "%s.%s" % (self._path, name), _name_origin(origin)
        seal = make_seal(self._state_dir, self._make_purpose(path, first), content)
        durable_file.write_bytes(path, b"%s\n%s\n%s" % (seal.encode("ascii"), first, content))

    def _make_purpose(self, path: str, origin: bytes) -> str:
        return "manifest %s of %s" % (os.path.relpath(path, self._state_dir), origin.decode("ascii"))


def open_cache(
    state_dir: str, environment_id: str, name: str = "", *, clock: Optional[FileClock] = None
) -> ManifestCache:
    """The memory of an environment's protected path (`name`, as below `current`), or of its code."""
    folder = make_environment_folder_path(state_dir, environment_id)
    label = hashlib.sha256(os.fsencode(name)).hexdigest()[:16] if name else "code"
    return ManifestCache(state_dir, os.path.join(folder, "manifests", label), clock=clock)


def _make_origin(root: str) -> str:
    """What a cache is only good with: the format, this boot, this folder; empty where nothing may be kept."""
    device = os.stat(root).st_dev
    return "%d %s %d %s" % (MANIFEST_FORMAT, read_boot_id(), device, root) if is_local(device) else ""


def _name_origin(origin: str) -> bytes:
    return hashlib.sha256(os.fsencode(origin)).hexdigest().encode("ascii")


def _make_key(listed: Listed) -> bytes:
    return hashlib.blake2b(listed.facts + listed.path, digest_size=_KEY).digest()


def _make_line(listed: Listed, content: bytes) -> bytes:
    """The manifest's line (`manifest_line.make_line`) of what the listing says."""
    path = listed.path
    kind, mode, uid, gid, size = listed.facts.split(b" ", 5)[:5]
    length = b"0" if kind == b"d" else size
    return b"%d:%s %s %s %s %s %s %s\n" % (len(path), path, kind, mode, uid, gid, length, content)


def _read_missing(root: bytes, missing: Mapping[bytes, bytes], lines: Dict[bytes, bytes]) -> Dict[bytes, str]:
    """Add the manifest's lines of what is missing; return what could not be read, and why."""
    read = hash_paths(root, [path for path, facts in missing.items() if facts[:1] == b"f"])
    while read.parts:  # each part is let go as soon as it is taken apart
        lines.update(find_lines(read.parts.pop()))
    unreadable = read.unreadable
    for path, facts in missing.items():
        if facts[:1] != b"f":
            try:
                lines[path] = read_special(root, path)
            except OSError as error:
                unreadable[path] = error.strerror or str(error)
    return unreadable


def _keep_settled(
    look: _Look, missing: Dict[bytes, bytes], lines: Mapping[bytes, bytes], kept: Hashes
) -> None:
    """Of what was read, keep the content under its line in the listing if that is old, and still the same."""
    root, device = os.fsencode(look.root), os.stat(look.root).st_dev
    while missing:
        path, facts = missing.popitem()
        if path not in lines or facts[:1] not in _HASHED or not _is_settled(facts, device, look.now):
            continue
        try:
            status = os.lstat(join(root, path))
        except OSError:
            continue
        if is_still(facts, status):
            content = lines[path].rpartition(b" ")[2][:-1]
            kept[_make_key(Listed(path, facts))] = bytes.fromhex(content.decode("ascii"))


def _is_settled(facts: bytes, device: int, now: int) -> bool:
    is_old = read_changed(facts) + SETTLED_SECONDS * _SECOND <= now
    return is_old and read_device(facts) == device


def _unpack(content: bytes) -> Hashes:
    places = range(0, len(content), _KEY + _HASH)
    return {content[at : at + _KEY]: content[at + _KEY : at + _KEY + _HASH] for at in places}
