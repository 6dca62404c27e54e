"""The files of a backup, put beside where they belong: the release, and the folders that no release owns."""

from __future__ import annotations

import contextlib
import os
import stat

from ansible_collections.pressluft.wordpress.plugins.module_utils import durable_file, place, release
from ansible_collections.pressluft.wordpress.plugins.module_utils.held_folder import HeldFolder
from ansible_collections.pressluft.wordpress.plugins.module_utils.identity import is_within, read_roots
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.restic import (
    TRANSFER_SECONDS,
    escape_pattern,
)

BOXES_FILE = "boxes.json"
_RAW = "raw"  # in a box: the snapshot's tree as restic writes it, with the whole path of each file
_SHARED = "shared"
_OWN = ".pressluft-"


def restore_files(restic, snapshot, *, state, kept):
    """Restore a snapshot's files: the release as `releases/<job>`, everything else in boxes beside its place.

    `kept` are the protected and preserved paths. Returns the `Place`s to exchange: each folder that the release's
    links lead to, and whatever else the backup holds that is missing now; the rest stays as it is. Raises `NodeError`.
    """
    root = os.path.realpath(state.environment.root)
    outside = [path for path in snapshot["paths"] if path not in (root, state.path("dump"))]
    boxes = {
        folder: place.make_box_path(folder, state.job.id) for folder in [root, *map(os.path.dirname, outside)]
    }
    durable_file.write_json(state.journal().make_path(BOXES_FILE), sorted(boxes.values()))
    _unpack(restic, snapshot, root, box=boxes[root])
    _install_release(root, boxes[root], state.job.id)
    led_to = {os.path.realpath(os.path.join(root, "releases", state.job.id, path)) for path in kept}
    places = list(_place_root(root, boxes[root], led_to))
    for number, path in enumerate(outside):
        box = boxes[os.path.dirname(path)]
        if path in led_to and (os.path.isdir(path) or not os.path.lexists(path)):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            _unpack(restic, snapshot, path, box=box)
            places.append(_take_place(box, path, name="outside-{0}".format(number)))
    _check_places(state, places)
    for box in boxes.values():
        if os.path.isdir(box):
            _clear(box)
    return places


def drop_restored_files(state):
    """Drop the release and the boxes of a restore that did not go live."""
    for box in durable_file.read_json(os.path.join(state.journal().folder, BOXES_FILE), default=[]):
        place.drop_box(box)
    if os.path.isdir(state.environment.root):
        release.remove_release(state.environment.root, state.job.id)


def _unpack(restic, snapshot, path, *, box):
    """Let restic write one of the snapshot's paths below the box; by descriptor, so that no link can lead it away."""
    if not os.path.isdir(box):
        place.open_box(box)
    with HeldFolder(box) as held:
        target = "/proc/self/fd/{0}/{1}".format(held.descriptor, _RAW)
        arguments = [
            "restore",
            snapshot["id"],
            "--verify",
            "--target",
            target,
            "--include",
            escape_pattern(path),
        ]
        restic.run(arguments, timeout=TRANSFER_SECONDS, descriptors=(held.descriptor,))


def _install_release(root, box, job_id):
    """Take the release that was served when the backup was taken, and the owner and mode of the folders above it."""
    raw = _RAW + root
    with HeldFolder(box) as held, HeldFolder(os.path.join(root, "releases")) as releases:
        served = _read_served(held, raw)
        parent, name = held.find_parent(os.path.join(raw, "releases", served))
        releases.remove(job_id)
        os.rename(name, job_id, src_dir_fd=parent, dst_dir_fd=releases.descriptor)
        release.sync_tree(os.path.join(root, "releases"))
        for path, above in ((raw, root), (os.path.join(raw, "releases"), os.path.join(root, "releases"))):
            found = held.lstat(path)
            with HeldFolder(above) as folder:
                folder.adjust("", owner=(found.st_uid, found.st_gid), mode=stat.S_IMODE(found.st_mode))


def _read_served(held, raw):
    """Which release `current` led to in the backup."""
    found = held.lstat(os.path.join(raw, "current"))
    if found is not None and stat.S_ISLNK(found.st_mode):
        parent, name = held.find_parent(os.path.join(raw, "current"))
        above, served = os.path.split(os.readlink(name, dir_fd=parent).rstrip("/"))
        whole = held.lstat(os.path.join(raw, "releases", served))
        if os.path.basename(above) == "releases" and whole is not None and stat.S_ISDIR(whole.st_mode):
            return served
    raise NodeError(
        "SCHEMA_UNSUPPORTED",
        "the backup is of a root that is not in the layout of releases",
        "Nothing was changed. Restore it by hand: docs/how-to/restore-a-backup.md says how.",
    )


def _place_root(root, box, led_to):
    """What lies beside the releases: folders with live data are exchanged, the rest is put back where it is missing."""
    with HeldFolder(os.path.join(box, _RAW + root)) as raw:
        names = sorted(os.listdir(raw.descriptor))
        folders = {name for name in names if stat.S_ISDIR(raw.lstat(name).st_mode)}
    for name in names:
        live = os.path.join(root, name)
        if name in ("current", "releases") or name.startswith(_OWN):
            continue
        holds_data = name == _SHARED or any(is_within(aim, live) for aim in led_to)
        is_exchanged = holds_data and name in folders and os.path.isdir(live) and not os.path.islink(live)
        if is_exchanged or not os.path.lexists(live):
            yield _take_place(box, live, name=name)


def _take_place(box, live, *, name):
    """Take what belongs at `live` out of the tree that restic wrote."""
    with HeldFolder(box) as held:
        parent, below = held.find_parent(_RAW + live)
        os.rename(below, name, src_dir_fd=parent, dst_dir_fd=held.descriptor)
    release.sync_tree(box)
    return place.make_place(live, box, name)


def _check_places(state, places):
    """Refuse what could take more along than this environment's own folders."""
    lives = [found.live for found in places]
    mount = place.find_mount(lives)
    if mount:
        raise NodeError(
            "SCHEMA_UNSUPPORTED",
            "{0} is a mount point, which cannot be exchanged".format(mount),
            "Mount the storage elsewhere, and let the site's link lead to a folder on it.",
        )
    state_dir = os.path.dirname(state.folder)
    others = [*read_roots(state_dir, but=state.environment.id), os.path.realpath(state_dir)]
    for live in lives:
        for other in others:
            if is_within(live, other) or is_within(other, live):
                raise NodeError(
                    "IDENTITY_MISMATCH",
                    "the backup holds {0}, which is not this environment's alone: {1}".format(live, other),
                    "Nothing was changed. Give each environment folders of its own, then take a new backup.",
                )


def _clear(box):
    with contextlib.suppress(FileNotFoundError), HeldFolder(box) as held:
        held.remove(_RAW)
