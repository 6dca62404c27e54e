"""Code: a release is a folder below `releases/`, and `current` is the link that says which one is served."""

from __future__ import annotations

import contextlib
import os
import stat

from ansible_collections.pressluft.wordpress.plugins.module_utils import durable_file
from ansible_collections.pressluft.wordpress.plugins.module_utils.component import find_component_paths
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import check_name
from ansible_collections.pressluft.wordpress.plugins.module_utils.held_folder import (
    HeldFolder,
    copy_file_as_it_is,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.identity import is_within
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.place import read_ownership
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import Patterns
from ansible_collections.pressluft.wordpress.plugins.module_utils.workshop import (
    make_workshop_name,
    open_workshop,
    run_command,
)


def read_current(root):
    """The name of the release that `<root>/current` serves. Raises `NodeError` where it is no such link."""
    link = os.path.join(root, "current")
    try:
        target = os.path.realpath(os.path.join(root, os.readlink(link)))
    except OSError:
        target = ""
    folder, name = os.path.split(target)
    if folder == os.path.join(os.path.realpath(root), "releases") and os.path.isdir(target):
        return name
    raise NodeError(
        "SCHEMA_UNSUPPORTED",
        "{0} is not a link to a folder in {1}/releases".format(link, root),
        "Bring the environment into the release layout (docs/reference/node-protocol.md).",
    )


def read_served(root):
    """The name of the release that is served, empty before the first. Raises `NodeError` for anything else."""
    return read_current(root) if os.path.lexists(os.path.join(root, "current")) else ""


def switch_release(root, name):
    """Serve another release, in one rename(2): there is no moment without one. Safe to repeat."""
    if read_served(root) == name:
        return
    if not os.path.isdir(os.path.join(root, "releases", check_name(name))):
        raise NodeError("ROLLBACK_FAILED", "release {0} is gone".format(name), "Restore the environment.")
    link, fresh = os.path.join(root, "current"), os.path.join(root, ".current.pressluft")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(fresh)
    os.symlink(os.path.join("releases", name), fresh)
    os.rename(fresh, link)
    durable_file.sync_folder(root)


def serve_nothing(root):
    """Take the link away, as it was before the first release."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(root, "current"))
    durable_file.sync_folder(root)


def remove_release(root, name):
    """Delete a release that is not served; one that is gone already is fine."""
    check_name(name)
    if read_served(root) != name:
        remove_folder(root, name)


def make_preflight_name(name):
    """The file, below `releases`, through which a staged release is asked for its pages."""
    return ".pressluft-{0}.php".format(name)


def remove_folder(root, name):
    """Delete a folder below `releases`, and what an attempt to make it left; nothing that a link leads to."""
    folder = os.path.join(os.path.realpath(root), "releases")
    with contextlib.suppress(FileNotFoundError), HeldFolder(folder) as releases:
        for one in (name, make_workshop_name(name), make_preflight_name(name)):
            releases.remove(one)


def build_release(root, name, *, source, components, protection):
    """Make release `name` out of the served one: with the source's `take` and without `delete`, durable.

    `components` is the plan's `{take, delete}`, `source` the environment they come from. What `protection` keeps
    stays production's, within a component too. Raises `NodeError`, and `OSError` when the disk is full.
    """
    served, origin = os.path.realpath(os.path.join(root, "current")), os.path.realpath(source.current)
    old, new = read_owner(origin), read_owner(served)
    remove_release(root, name)
    with open_workshop(root, check_name(name)) as workshop:
        workshop.copy(served, "")
        for component in components["delete"]:
            for path in find_component_paths(component):
                _replace(workshop, path, served=served, taken="", protection=protection)
        for component in components["take"]:
            for path in find_component_paths(component):
                taken = os.path.join(origin, path)
                _replace(workshop, path, served=served, taken=taken, protection=protection)
                refuse_links_into(source.root, workshop, path)
                workshop.adopt(path, of=old[0], owner=new)
        workshop.install()


def carry_kept_files(root, patterns, *, live, to):
    """Make the preserved files of release `to` those of `live` as they are now: they are edited where they are."""
    releases = os.path.join(os.path.realpath(root), "releases")
    with HeldFolder(os.path.join(releases, live)) as ours, HeldFolder(os.path.join(releases, to)) as theirs:
        for path in _find_kept(releases, patterns, releases_of=(live, to)):
            found = ours.lstat(path)
            if found is None:
                theirs.remove(path)
            elif stat.S_ISLNK(found.st_mode):
                parent, name = ours.find_parent(path)
                theirs.put_link(path, os.readlink(name, dir_fd=parent), owner=(found.st_uid, found.st_gid))
            elif stat.S_ISREG(found.st_mode):
                copy_file_as_it_is(ours, theirs, path)


def _find_kept(releases, patterns, *, releases_of):
    """Paths that patterns name; where one has a `*`, both releases are searched."""
    if not any("*" in pattern for pattern in patterns):
        return list(patterns)
    tops = [os.path.join(releases, name) for name in releases_of]
    return sorted({path for top in tops for path in find_paths(top, Patterns(patterns).cover)})


def _replace(workshop, path, *, served, taken, protection):
    """Take a component's path from `taken` (empty: from nowhere); what is kept below it stays as it is served."""

    def find_kept(place):
        return find_paths(place, lambda below: not protection.is_code(os.path.join(path, below)))

    kept = find_kept(os.path.join(served, path))
    workshop.remove(path)
    if taken and os.path.lexists(taken):
        workshop.copy(taken, path)
        for below in find_kept(workshop.find(path)):
            workshop.remove(os.path.join(path, below))
    for below in kept:
        workshop.copy(os.path.join(served, path, below), os.path.join(path, below))


def refuse_links_into(root, workshop, path):
    """Refuse links into another environment's root: what is changed there at any time would be served here."""
    taken = workshop.find(path)
    links = find_paths(taken, lambda below: os.path.islink(os.path.join(taken, below)))
    for link in [os.path.join(path, below) for below in links] + ([path] if os.path.islink(taken) else []):
        above = os.path.dirname(os.path.join(workshop.final_place, link))
        aim = os.path.normpath(os.path.join(above, os.readlink(workshop.find(link))))
        if any(is_within(aim, place) for place in (root, os.path.realpath(root))):
            raise NodeError(
                "SCHEMA_UNSUPPORTED",
                "{0} is a link that would lead from the new release into {1}".format(link, root),
                "Put the file itself there, or let a relative link stay within the release.",
            )


def find_paths(top, wanted):
    """Paths below `top` that are `wanted`; nothing below such a path is looked at, nor what links lead to."""
    found = []
    if os.path.islink(top):
        return found
    for folder, folders, files in os.walk(top):
        below = os.path.relpath(folder, top)
        for name in [*folders, *files]:
            path = name if below == "." else os.path.join(below, name)
            if wanted(path):
                found.append(path)
        chosen = set(found)
        folders[:] = [name for name in folders if os.path.normpath(os.path.join(below, name)) not in chosen]
    return found


def read_owner(release):
    """Whose code a release is, by its index.php: user and group id."""
    try:
        return read_ownership(os.path.join(release, "index.php"))
    except FileNotFoundError:
        return read_ownership(release)


def sync_tree(folder):
    """Make everything on the folder's file system durable: one call, where fsync of 20,000 files takes minutes."""
    run_command(["sync", "--file-system", folder])


def check_links(current, protected_paths):
    """Refuse protected paths that lie in the release itself: a release must never hold live data."""
    releases = os.path.realpath(os.path.join(current, ".."))
    for path in protected_paths:
        place = os.path.join(current, path)
        if not os.path.lexists(place):
            continue
        real = os.path.realpath(place)
        if real == releases or real.startswith(releases + "/"):
            raise NodeError(
                "SCHEMA_UNSUPPORTED",
                "the protected path {0} lies within the release {1}".format(path, os.path.realpath(current)),
                "Move it to the root's shared folder and leave a link (docs/reference/node-protocol.md).",
            )
