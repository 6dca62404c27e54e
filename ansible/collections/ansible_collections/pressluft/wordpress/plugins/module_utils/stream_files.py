"""Files from one node to another: manifests first, then only the contents that are not here under any name.

What arrives is hashed on the way and must be what the manifest said. Links travel as their targets, special files
do not travel.
"""

from __future__ import annotations

import hashlib
import os

from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import (
    make_environment_folder_path,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.held_folder import (
    HeldFolder,
    copy_content,
    find_trusted,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.manifest import (
    Entry,
    Tree,
    describe_path,
    describe_unreadable,
    read_tree,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.manifest_cache import ManifestCache
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.release import read_owner

_ENTRIES_AT_ONCE = 2000
_PATHS_AT_ONCE = 500
_BLOCK = 1 << 19


class Received:
    """A manifest as it arrived: `entries` by path (bytes), and where links lead. `kind` of the whole: empty for
    nothing, `d` a folder, `f` a file.
    """

    def __init__(self):
        self.entries, self.aims = {}, {}

    @property
    def kind(self):
        """What the whole is."""
        return self.entries[b""].kind if b"" in self.entries else ""


def read_code(environment, protection, *, state_dir):
    """The manifest of an environment's code, hashes that are known not computed anew."""
    place = os.path.join(make_environment_folder_path(state_dir, environment.id), "manifests", "code")
    cache = ManifestCache(state_dir, place)
    return cache.read_tree(
        environment.current, skip=lambda path: bool(path) and not protection.is_code(os.fsdecode(path))
    )


def list_code(environment, protection, paths, *, state_dir):
    """Yield the manifest of the code at and below `paths` (all of it: `[""]`), with the release's own folder."""
    tree = read_code(environment, protection, state_dir=state_dir)
    wanted = [os.fsencode(path) for path in paths]
    chosen = {
        path: entry
        for path, entry in tree.entries.items()
        if not path or any(not top or path == top or path.startswith(top + b"/") for top in wanted)
    }
    owner = read_owner(os.path.realpath(environment.current))  # whose code it is, by its index.php
    chosen[b""] = chosen[b""]._replace(uid=owner[0], gid=owner[1])
    unreadable = {path: why for path, why in tree.unreadable.items() if path in chosen or not path}
    return _send_tree(os.path.realpath(environment.current), Tree(chosen, unreadable))


def list_path(environment, path):
    """Yield the manifest of a protected path; nothing where it is not there."""
    linked = os.path.join(environment.current, path)
    if not os.path.lexists(linked):
        return iter(())
    place = find_trusted(linked)
    return _send_tree(place, read_tree(place))


def _send_tree(top, tree):
    if tree.unreadable:
        raise NodeError(
            "ANSIBLE_HOST_FAILED",
            "cannot read in {0}: {1}".format(
                describe_path(os.fsencode(top)), describe_unreadable(tree.unreadable)
            ),
            "Let root read these, or take them away, then run the job again.",
            retry=True,
        )
    lines = []
    for path, entry in sorted(tree.entries.items()):
        aim = os.readlink(os.path.join(os.fsencode(top), path)) if entry.kind == "l" else b""
        lines.append([os.fsdecode(path), os.fsdecode(aim), *entry])
        if len(lines) == _ENTRIES_AT_ONCE:
            yield lines
            lines = []
    yield lines


def receive_tree(parts):
    """Put a manifest together from what `list_code` or `list_path` sent."""
    received = Received()
    for lines in parts:
        for path, aim, *fields in lines:
            entry = Entry(*fields)
            received.entries[os.fsencode(path)] = entry
            if entry.kind == "l":
                received.aims[os.fsencode(path)] = os.fsencode(aim)
    return received


def read_files(environment, base, paths):
    """Yield each file: its path and time of change, its contents in blocks, an empty one after them."""
    top = (
        find_trusted(os.path.join(environment.current, base))
        if base
        else os.path.realpath(environment.current)
    )
    is_file = os.path.isfile(top)
    with HeldFolder(os.path.dirname(top) if is_file else top) as held:
        for path in map(os.fsencode, paths):
            try:
                reader = held.open_file(os.fsencode(os.path.basename(top)) if is_file else path)
            except OSError:
                yield {"gone": os.fsdecode(path)}
                continue
            try:
                yield {"path": os.fsdecode(path), "changed": os.fstat(reader).st_mtime_ns}
                block = os.read(reader, _BLOCK)
                while block:
                    yield block
                    block = os.read(reader, _BLOCK)
                yield b""
            finally:
                os.close(reader)


def fetch_files(peer, base, paths, put):
    """Fetch files of the other node. `put(path, fill)` makes each; `fill(descriptor)` writes it, returns its hash."""
    paths = sorted(paths)
    for start in range(0, len(paths), _PATHS_AT_ONCE):
        named = [os.fsdecode(path) for path in paths[start : start + _PATHS_AT_ONCE]]
        parts = peer.stream("read_files", base=base, paths=named)
        for part in parts:
            if "gone" in part:
                continue
            put(os.fsencode(part["path"]), _make_filler(parts, part["changed"]))


def _make_filler(parts, changed):
    def fill(writer):
        digest = hashlib.sha256()
        for block in parts:
            if not block:
                break
            digest.update(block)
            view = memoryview(block)
            while view:
                view = view[os.write(writer, view) :]
        os.utime(writer, ns=(changed, changed))
        return digest.hexdigest()

    return fill


def build_folder(peer, base, received, *, top, known):
    """Make the empty folder `top` hold what was received, with owners and modes; contents that `known` (content's
    hash to a path here) has are copied from there. Returns the bytes fetched. Raises `NodeError`.
    """
    missing = {}
    with HeldFolder(top) as held:
        for path, entry in sorted(received.entries.items()):
            owner = (entry.uid, entry.gid)
            if entry.kind == "d":
                if path:
                    _make_above(held, path)
                    held.make_folder(path)
                held.adjust(path, owner=owner, mode=entry.mode)
            elif entry.kind == "l":
                _make_above(held, path)
                held.put_link(path, received.aims[path], owner=owner)
            elif entry.kind == "f":
                _make_above(held, path)
                if not _copy_known(held, path, entry, known.get(entry.content)):
                    missing[path] = entry
        arrived = {}

        def put(path, fill):
            entry = missing[path]
            held.put_file(
                path,
                lambda writer: arrived.update({path: fill(writer)}),
                owner=(entry.uid, entry.gid),
                mode=entry.mode,
            )

        fetch_files(peer, base, missing, put)
    moved = [path for path, entry in missing.items() if arrived.get(path) != entry.content]
    if moved:
        raise NodeError(
            "ANSIBLE_HOST_FAILED",
            "{0} changed on the other node while it was copied".format(describe_path(moved[0])),
            "Run the job again when nobody edits code there.",
            retry=True,
        )
    return sum(entry.size for entry in missing.values())


def _make_above(held, path):
    """Make the folders above a path that the manifest left out."""
    steps = path.split(b"/")[:-1]
    for depth in range(1, len(steps) + 1):
        held.make_folder(b"/".join(steps[:depth]))


def _copy_known(held, path, entry, place):
    """Take a file's content from this node, if it is there and still has that hash."""
    if place is None:
        return False
    hashes = []

    def fill(writer):
        with open(place, "rb") as stream:
            found = os.fstat(stream.fileno())
            hashes.append(hashlib.sha256(stream.read()).hexdigest())
            stream.seek(0)
            copy_content(stream.fileno(), writer)
            os.utime(writer, ns=(found.st_atime_ns, found.st_mtime_ns))

    try:
        held.put_file(path, fill, owner=(entry.uid, entry.gid), mode=entry.mode)
    except FileNotFoundError:
        return False
    return hashes == [entry.content]


def find_known(environment, protection, *, state_dir):
    """Where this node has which content, of an environment's code: hash to path."""
    if not os.path.lexists(environment.current):
        return {}
    top = os.fsencode(os.path.realpath(environment.current))
    tree = read_code(environment, protection, state_dir=state_dir)
    return {
        entry.content: os.path.join(top, path) for path, entry in tree.entries.items() if entry.kind == "f"
    }
