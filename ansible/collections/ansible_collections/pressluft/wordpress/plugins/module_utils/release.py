"""Code: a release is a folder below `releases/`, and `current` is the link that says which one is served."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess

from ansible_collections.pressluft.wordpress.plugins.module_utils import durable_file
from ansible_collections.pressluft.wordpress.plugins.module_utils.component import find_component_paths
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import check_name
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError

_COPY_SECONDS = 6 * 3600  # spec.md §5: staging may take 6 h


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


def switch_release(root, name):
    """Serve another release, in one rename(2): there is no moment without one. Safe to repeat."""
    if read_current(root) == name:
        return
    if not os.path.isdir(os.path.join(root, "releases", check_name(name))):
        raise NodeError("ROLLBACK_FAILED", "release {0} is gone".format(name), "Restore the environment.")
    link, fresh = os.path.join(root, "current"), os.path.join(root, ".current.pressluft")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(fresh)
    os.symlink(os.path.join("releases", name), fresh)
    os.rename(fresh, link)
    durable_file.sync_folder(root)


def remove_release(root, name):
    """Delete a release that is not served; one that is gone already is fine."""
    folder = os.path.join(root, "releases", check_name(name))
    if os.path.isdir(folder) and not os.path.islink(folder) and read_current(root) != name:
        shutil.rmtree(folder)


def build_release(root, name, *, source_current, components):
    """Make release `name` out of the served one: with the source's `take` and without `delete`, durable.

    `components` is the plan's `{take, delete}`. What an earlier attempt left is replaced. Raises `NodeError`
    when the disk is full or a file cannot be copied.
    """
    served = os.path.realpath(os.path.join(root, "current"))
    folder = os.path.join(root, "releases", check_name(name))
    remove_release(root, name)
    run_copy(served, folder)
    for component in [*components["take"], *components["delete"]]:
        for path in find_component_paths(component):
            _remove(os.path.join(folder, path))
    for component in components["take"]:
        for path in find_component_paths(component):
            if os.path.lexists(os.path.join(source_current, path)):
                run_copy(os.path.join(os.path.realpath(source_current), path), os.path.join(folder, path))
    sync_tree(folder)
    durable_file.sync_folder(os.path.dirname(folder))


def run_copy(source, target):
    """Copy a file, link or folder as it is; shares blocks where the file system can (never hard links)."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    _run(["cp", "-a", "--reflink=auto", "--no-target-directory", "--", source, target])


def sync_tree(folder):
    """Make everything on the folder's file system durable: one call, where fsync of 20,000 files takes minutes."""
    _run(["sync", "--file-system", folder])


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


def _remove(path):
    if os.path.islink(path) or not os.path.isdir(path):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    else:
        shutil.rmtree(path)


def _run(command):
    environment = dict(os.environ, LC_ALL="C")
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=environment,
        timeout=_COPY_SECONDS,
        check=False,
    )
    if done.returncode == 0:
        return
    said = done.stderr.decode("utf-8", "replace").strip()[-500:]
    if "No space left on device" in said or "Disk quota exceeded" in said:
        raise OSError(errno.ENOSPC, said)
    raise NodeError(
        "ANSIBLE_HOST_FAILED",
        "{0} failed: {1}".format(command[0], said),
        "Correct what the message names on the node, then run the job again.",
    )
