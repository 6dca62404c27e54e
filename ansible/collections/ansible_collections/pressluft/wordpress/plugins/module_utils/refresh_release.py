"""The code of a fresh copy: production's release with the source's own files in it (spec.md §3)."""

from __future__ import annotations

import os

from ansible_collections.pressluft.wordpress.plugins.module_utils import quiet, release
from ansible_collections.pressluft.wordpress.plugins.module_utils.component import measure_components
from ansible_collections.pressluft.wordpress.plugins.module_utils.measure import measure_preserved_files
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.refresh_work import find_place
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import COMPONENT, PATH, add_kind
from ansible_collections.pressluft.wordpress.plugins.module_utils.site_measure import (
    find_changed,
    measure_own_files,
    measure_release,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.workshop import open_workshop

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
            own = add_kind(PATH, measure_preserved_files(work.production, work.protection))
            kept = measure_own_files(work.source, work.release, work.protection)
            return dict(ours, **own), dict(theirs, **kept)
    raise NodeError(
        "ANSIBLE_HOST_FAILED",
        "production's code changed each time it was copied, {0} times".format(_ATTEMPTS),
        "Run the job again when no update runs on production.",
        retry=True,
    )


def remove_copy(work):
    """Remove the release of this job, unless it is served."""
    if os.path.isdir(work.source.root) and release.read_served(work.source.root) != work.release:
        release.remove_folder(work.source.root, work.release)


def _build(work):
    remove_copy(work)
    served = os.path.realpath(work.production.current)
    with open_workshop(work.source.root, work.release) as workshop:
        workshop.copy(served, "")
        owner = _find_owner(work)
        if owner is not None:
            workshop.adopt("", of=release.read_owner(served)[0], owner=owner)
        for path in release.find_paths(workshop.place, lambda path: not work.protection.is_code(path)):
            workshop.remove(path)
        for path in work.find_paths():
            workshop.link(find_place(work, path), path)
        _put_own_files(work, workshop)
        release.refuse_links_into(work.production.root, workshop, "")
        quiet.install_plugin(workshop.place, production_url=work.production.url)
        workshop.install()


def _find_owner(work):
    """Whose code the source runs; before its first release whose root it is, None where that is root."""
    served = release.read_served(work.source.root)
    owner = release.read_owner(work.source.release(served) if served else work.source.root)
    return owner if served or owner[0] else None


def _put_own_files(work, workshop):
    """The source's preserved files: as its release has them, else links to those in its shared folder."""
    shared = os.path.join(os.path.realpath(work.source.root), "shared")
    taken = work.protection.protected_paths
    for path in release.find_paths(shared, lambda path: taken.cover(path) or _is_own(work, path)):
        if not taken.cover(path):
            workshop.link(os.path.join(shared, path), path)
    served = release.read_served(work.source.root)
    if not served:
        return
    current = work.source.release(served)
    for path in release.find_paths(current, lambda path: _is_own(work, path)):
        workshop.remove(path)
        workshop.copy(os.path.join(current, path), path)


def _is_own(work, path):
    return work.protection.preserved_files.cover(path)
