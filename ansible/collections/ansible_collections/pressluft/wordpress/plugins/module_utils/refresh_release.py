"""The code of a fresh copy: production's release with the source's own files in it (spec.md §3)."""

from __future__ import annotations

import os
import shutil

from ansible_collections.pressluft.wordpress.plugins.module_utils import durable_file, quiet, release
from ansible_collections.pressluft.wordpress.plugins.module_utils.component import measure_components
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.refresh_work import find_place
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import COMPONENT, add_kind
from ansible_collections.pressluft.wordpress.plugins.module_utils.site_measure import (
    find_changed,
    measure_release,
)

_ATTEMPTS = 3


def build_copy(work):
    """Make the release and prove it equal to production's code. Returns the measures of both sides.

    What differs by design is no code: protected paths, preserved and volatile files. Raises `NodeError`.
    """
    release.check_links(work.production.current, work.find_paths())
    for _attempt in range(_ATTEMPTS):
        _build(work)
        ours = add_kind(COMPONENT, measure_components(work.production, work.protection))
        theirs = measure_release(work.source, work.release, work.protection)
        find_changed(ours, {})  # refuses what could not be read
        if not find_changed(theirs, {key: measure.digest for key, measure in ours.items()}):
            return ours, theirs
    raise NodeError(
        "ANSIBLE_HOST_FAILED",
        "production's code changed each time it was copied, {0} times".format(_ATTEMPTS),
        "Run the job again when no update runs on production.",
        retry=True,
    )


def read_served(root):
    """The name of the release that is served, empty before the first. Raises `NodeError` for anything else."""
    return release.read_current(root) if os.path.lexists(os.path.join(root, "current")) else ""


def serve_release(root, name):
    """Switch to a release, also where none was served yet. Safe to repeat."""
    if read_served(root):
        release.switch_release(root, name)
        return
    os.symlink(os.path.join("releases", name), os.path.join(root, "current"))
    durable_file.sync_folder(root)


def remove_copy(work):
    """Remove the release of this job, unless it is served."""
    folder = work.source.release(work.release)
    if os.path.isdir(folder) and read_served(work.source.root) != work.release:
        shutil.rmtree(folder)


def _build(work):
    folder = work.source.release(work.release)
    remove_copy(work)
    served = os.path.realpath(work.production.current)
    release.run_copy(served, folder)
    _refuse_links_into(work.production.root, folder)
    for path in _find_files(folder, lambda path: not work.protection.is_code(path)):
        _remove(os.path.join(folder, path))
    for path in work.find_paths():
        _link(find_place(work, path), os.path.join(folder, path))
    _put_own_files(work, folder)
    quiet.install_plugin(folder, production_url=work.production.url)
    release.sync_tree(folder)
    durable_file.sync_folder(os.path.dirname(folder))


def _put_own_files(work, folder):
    """The source's preserved files: as its release has them, else links to those in its shared folder."""
    shared = os.path.join(os.path.realpath(work.source.root), "shared")
    taken = work.protection.protected_paths
    for path in _find_files(shared, lambda path: taken.cover(path) or _is_own(work, path)):
        if not taken.cover(path):
            _link(os.path.join(shared, path), os.path.join(folder, path))
    served = read_served(work.source.root)
    if not served:
        return
    current = work.source.release(served)
    for path in _find_files(current, lambda path: _is_own(work, path)):
        _remove(os.path.join(folder, path))
        release.run_copy(os.path.join(current, path), os.path.join(folder, path))


def _is_own(work, path):
    return work.protection.preserved_files.cover(path)


def _find_files(top, wanted):
    """Paths below `top` that are `wanted`; nothing below such a path is looked at."""
    found = []
    for folder, folders, files in os.walk(top):
        below = os.path.relpath(folder, top)
        for name in [*folders, *files]:
            path = name if below == "." else os.path.join(below, name)
            if wanted(path):
                found.append(path)
        chosen = set(found)
        folders[:] = [name for name in folders if os.path.normpath(os.path.join(below, name)) not in chosen]
    return found


def _refuse_links_into(root, folder):
    """A link into production's root would let the copy write there."""
    for path in _find_files(folder, lambda path: os.path.islink(os.path.join(folder, path))):
        aim = os.readlink(os.path.join(folder, path))
        if os.path.isabs(aim) and (os.path.normpath(aim) + "/").startswith(root.rstrip("/") + "/"):
            raise NodeError(
                "SCHEMA_UNSUPPORTED",
                "{0} in production's release is an absolute link into production's root".format(path),
                "Make the link relative, or put the files themselves into the release.",
            )


def _link(target, place):
    _remove(place)
    os.makedirs(os.path.dirname(place), exist_ok=True)
    os.symlink(os.path.relpath(target, os.path.realpath(os.path.dirname(place))), place)


def _remove(place):
    if os.path.isdir(place) and not os.path.islink(place):
        shutil.rmtree(place)
    elif os.path.lexists(place):
        os.unlink(place)
