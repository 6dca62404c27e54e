"""Where a release is put together: a folder beside the releases that only we can enter, held by its descriptor.

The releases may belong to the site's own user. What is copied here as root, nobody can turn into a link half-way.
"""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess

from ansible_collections.pressluft.wordpress.plugins.module_utils.held_folder import HeldFolder
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError

_COPY_SECONDS = 6 * 3600  # spec.md §5: staging may take 6 h
_TREE = "tree"


class Workshop:
    """A release in the making; paths are relative to it, `""` is the whole."""

    def __init__(self, releases, name):
        self._releases, self._name = releases, name
        self._inside = HeldFolder(os.path.join(releases, make_workshop_name(name)))
        found = os.fstat(self._inside.descriptor)
        if found.st_uid != os.geteuid() or found.st_mode & 0o077:
            self._inside.close()
            raise PermissionError(errno.EPERM, "is not the folder that was made", make_workshop_name(name))

    @property
    def place(self):
        """The release's folder by a path that leads there whatever is renamed; for this process and its commands."""
        return "/proc/self/fd/{0}/{1}".format(self._inside.descriptor, _TREE)

    @property
    def final_place(self):
        """Where the release will be."""
        return os.path.join(self._releases, self._name)

    def find(self, path):
        """A path within the release."""
        return os.path.join(self.place, path) if path else self.place

    def copy(self, origin, path):
        """Copy a file, link or folder as it is; shares blocks where the file system can (never hard links)."""
        self._make_folders(path)
        command = ["cp", "-a", "--reflink=auto", "--no-target-directory", "--", origin, self.find(path)]
        run_command(command, descriptors=(self._inside.descriptor,))

    def adopt(self, path, *, of, owner):
        """Give what belongs to the user `of` to `owner` (uid, gid). What is root's stays so: it may be a secret."""
        if os.geteuid() != 0 or of in (0, owner[0]) or not os.path.lexists(self.find(path)):
            return
        rule = ["--from={0}".format(of), "{0}:{1}".format(*owner)]
        command = ["chown", "-R", "-h", "-P", *rule, "--", self.find(path)]
        run_command(command, descriptors=(self._inside.descriptor,))

    def link(self, target, path):
        """Make a relative link at `path`, as it must be once the release is in its place."""
        self._make_folders(path)
        self.remove(path)
        aim = os.path.relpath(target, os.path.dirname(os.path.join(self.final_place, path)))
        os.symlink(aim, self.find(path))

    def remove(self, path):
        """Delete what is at `path`, if anything is."""
        with _refusing_links(path):
            self._inside.remove(os.path.join(_TREE, path).rstrip("/"))

    def install(self):
        """Put the release in its place, in one rename, durably."""
        run_command(["sync", "--file-system", self.place], descriptors=(self._inside.descriptor,))
        with HeldFolder(self._releases) as releases:
            os.rename(_TREE, self._name, src_dir_fd=self._inside.descriptor, dst_dir_fd=releases.descriptor)
            os.fsync(releases.descriptor)

    def _make_folders(self, path):
        """Make what is above `path`."""
        steps = path.split("/")
        with _refusing_links(path):
            for depth in range(1, len(steps)):
                self._inside.make_folder(os.path.join(_TREE, *steps[:depth]))
            self._inside.find_parent(os.path.join(_TREE, path).rstrip("/"))

    def close(self):
        """Remove what was not put in its place."""
        self._inside.close()
        with HeldFolder(self._releases) as releases:
            releases.remove(make_workshop_name(self._name))


@contextlib.contextmanager
def _refusing_links(path):
    """A link on the way would have us write where it leads."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        raise NodeError(
            "SCHEMA_UNSUPPORTED",
            "{0} lies behind a link in the release, so it cannot be replaced there".format(path),
            "Put the folder itself into the release (docs/reference/node-protocol.md).",
        ) from error


@contextlib.contextmanager
def open_workshop(root, name):
    """Make a workshop for the release `name` of an environment; it is gone afterwards, always."""
    releases = os.path.join(os.path.realpath(root), "releases")
    with HeldFolder(releases) as held:
        held.remove(make_workshop_name(name))
        held.make_folder(make_workshop_name(name), mode=0o700)
    with contextlib.closing(Workshop(releases, name)) as workshop:
        yield workshop


def make_workshop_name(name):
    """The folder, below `releases`, in which a release is put together."""
    return ".pressluft-{0}".format(name)


def run_command(command, *, descriptors=()):
    """Run a program of the system. Raises `OSError` for a full disk, `NodeError` for whatever else went wrong."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=dict(os.environ, LC_ALL="C"),
        timeout=_COPY_SECONDS,
        pass_fds=descriptors,
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
