"""A protected folder of the other node's, brought up to date here: what differs crosses, what is too much goes.

As `file_copy` does on one node: entries belong to whom the folder itself belongs, modes are the other's, links never
lead out, and what changes meanwhile is copied again, up to three times. What arrived stays, so that an attempt whose
connection was lost is continued by the next one.
"""

from __future__ import annotations

import os

from ansible_collections.pressluft.wordpress.plugins.module_utils.held_folder import HeldFolder
from ansible_collections.pressluft.wordpress.plugins.module_utils.manifest import (
    describe_path,
    describe_unreadable,
    digest_entries,
    make_evidence,
    read_tree,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import Measure
from ansible_collections.pressluft.wordpress.plugins.module_utils.stream_files import (
    fetch_files,
    receive_tree,
)

ATTEMPTS = 3
_COPIED = frozenset("fdl")


def pull_path(peer, path, place):
    """Make `place` the copy of the other node's protected `path`. Returns the measures of both sides and the number
    of files that crossed or went. Raises `NodeError`.
    """
    changes = 0
    for _attempt in range(ATTEMPTS):
        wanted = receive_tree(peer.stream("list_path", path=path))
        if not wanted.kind:
            return Measure(None), _measure(place), 0
        changes += _bring_up(peer, path, wanted, place)
        present = _read(place)
        if _simplify(wanted.entries) == _simplify(present):
            return _measure_entries(wanted.entries), _measure_entries(present), changes
    raise NodeError(
        "ANSIBLE_HOST_FAILED",
        "{0} changed on the other node each time it was copied, {1} times".format(path, ATTEMPTS),
        "Run the job again when less is being uploaded.",
        retry=True,
    )


def _bring_up(peer, path, wanted, place):
    if wanted.kind == "f":
        return _pull_file(peer, path, wanted, place)
    _refuse_links_out(path, wanted)
    _make_place(place, wanted.entries[b""])
    present = _read(place)
    with HeldFolder(place) as held:
        found = os.fstat(held.descriptor)
        owner = (found.st_uid, found.st_gid)
        removed = _remove(held, wanted.entries, present)
        missing = _put(held, wanted, present, owner=owner)

        def put(one, fill):
            held.put_file(one, fill, owner=owner, mode=wanted.entries[one].mode & 0o777)

        fetch_files(peer, path, missing, put)
    return removed + len(missing)


def _pull_file(peer, path, wanted, place):
    os.makedirs(os.path.dirname(place), exist_ok=True)
    with HeldFolder(os.path.dirname(place)) as held:
        above = os.fstat(held.descriptor)

        def put(_one, fill):
            name = os.fsencode(os.path.basename(place))
            held.put_file(
                name, fill, owner=(above.st_uid, above.st_gid), mode=wanted.entries[b""].mode & 0o777
            )

        fetch_files(peer, path, [b""], put)
    return 1


def _make_place(place, entry):
    """Folders that are missing belong to whom the one above belongs; where that is root's, to the other's owner."""
    missing = []
    while not os.path.isdir(place):
        missing.insert(0, os.path.basename(place))
        place = os.path.dirname(place)
    with HeldFolder(place) as held:
        found = os.fstat(held.descriptor)
        owner = (found.st_uid, found.st_gid) if found.st_uid else (entry.uid, entry.gid)
        for depth in range(1, len(missing) + 1):
            held.make_folder(os.path.join(*missing[:depth]), owner=owner)


def _remove(held, wanted, present):
    removed = 0
    for one in sorted(present, reverse=True):  # what is below a folder before the folder
        entry = wanted.get(one)
        if one and (entry is None or entry.kind != present[one].kind):
            held.remove(one)
            removed += present[one].kind != "d"
    return removed


def _put(held, wanted, present, *, owner):
    """Make folders and links, set owners and modes; returns the files whose content is not here."""
    missing = []
    for one, entry in sorted(wanted.entries.items()):
        there = present.get(one)
        is_same = there is not None and (there.kind, there.content) == (entry.kind, entry.content)
        if entry.kind == "f" and not is_same:
            missing.append(one)
        elif entry.kind == "l" and not is_same:
            held.put_link(one, wanted.aims[one], owner=owner)
        elif entry.kind in _COPIED:
            if entry.kind == "d" and one:
                held.make_folder(one)
            held.adjust(one, owner=owner, mode=None if entry.kind == "l" else _mode(entry))
    return missing


def _refuse_links_out(path, wanted):
    for one, aim in wanted.aims.items():
        inside = os.path.normpath(os.path.join(b"/top", os.path.dirname(one), aim))
        if os.path.isabs(aim) or not (inside + b"/").startswith(b"/top/"):
            raise NodeError(
                "SCHEMA_UNSUPPORTED",
                "{0} in {1} is a link that leads out of it".format(describe_path(one), path),
                "Put the file itself there, or make the link relative and within the folder.",
            )


def _read(place):
    if not os.path.lexists(place):
        return {}
    tree = read_tree(place)
    if tree.unreadable:
        raise NodeError(
            "ANSIBLE_HOST_FAILED",
            "cannot read in {0}: {1}".format(place, describe_unreadable(tree.unreadable)),
            "Let root read these, or take them away, then run the job again.",
            retry=True,
        )
    return tree.entries


def _measure(place):
    return _measure_entries(_read(place)) if os.path.lexists(place) else Measure(None)


def _measure_entries(entries):
    return Measure(digest_entries(entries), evidence=make_evidence(entries))


def _simplify(entries):
    """What must be the same on both sides: not owners, nor the folder's own mode."""
    return {
        one: (entry.kind, entry.kind == "l" or _mode(entry), entry.size, entry.content)
        for one, entry in entries.items()
        if one and entry.kind in _COPIED
    }


def _mode(entry):
    """A program that takes its owner's rights must not get another owner."""
    return entry.mode & 0o777 if entry.kind == "f" else entry.mode
