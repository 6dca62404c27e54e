"""The steps of an adoption and of its way back: each is one system call that leaves a whole site to be served.

    docroot/          -> releases/<release>/      exchanged with a link to `current`, which leads there
    release/uploads/  -> shared/uploads/          exchanged with a link to itself

On the way back PHP still remembers where files really lay. So until it was reloaded every old place leads to the
new one: a file has two names, and the link that takes the tree's place in `releases` leads to the docroot.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time

from ansible_collections.pressluft.wordpress.plugins.module_utils.adoption import UPLOADS
from ansible_collections.pressluft.wordpress.plugins.module_utils.held_folder import HeldFolder
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.place import (
    EXCHANGE,
    NOREPLACE,
    UNABLE,
    read_identity,
    read_ownership,
    rename_held,
)


class AdoptionMove:
    """Brings one adoption forward or back from wherever it stands; `on_step` is told after each change.

    `exchange_ms` is how long the one system call took in which the docroot was exchanged, None where it was not.
    """

    def __init__(self, adoption, *, on_step=None):
        self._adoption = adoption
        self._on_step = on_step or (lambda _step: None)
        self._fresh = ".pressluft-link-{0}".format(adoption.release)
        self._way = ".pressluft-way-{0}".format(adoption.release)
        self.exchange_ms = None

    def make_root(self):
        """Make the folders of the layout; modes do not depend on anybody's umask."""
        for path in self._adoption.made:
            with HeldFolder(os.path.dirname(path)) as above:
                if above.lstat(os.path.basename(path)) is None:
                    above.make_folder(os.path.basename(path))
                above.adjust(os.path.basename(path), mode=0o755)
            self._on_step("folder made")

    def go_forward(self):
        """Make the docroot a link to the served release, then move what is shared. Safe to repeat."""
        adoption = self._adoption
        _, owner = self._find_tree()
        self._put_link(adoption.current, adoption.link, step="current linked")
        if not self._is_release():
            self._put_link(adoption.place, adoption.current, owner=owner, step="link prepared")
            self._exchange_docroot()
        self._put_link(adoption.docroot, adoption.current, owner=owner, step="docroot linked")
        self._close_ways(adoption.docroot, adoption.place)
        for path in adoption.shared:
            self._share(path)
            self._close_ways(adoption.find_release_path(path), adoption.find_shared_path(path))

    def go_back(self):
        """Make the release that is served the docroot's folder again, with what is shared in it. Safe to repeat.

        What PHP may remember stays until `clean_up`.
        """
        adoption = self._adoption
        _, owner = self._find_tree()
        if not self._is_release():
            return
        for path in adoption.shared:
            self._give_back(path)
        self._lay_ways(adoption.docroot, adoption.place, owner=owner)
        self._exchange_docroot()

    def clean_up(self):
        """After a way back: remove links, second names and folders that were made and are empty. Safe to repeat.

        Where the docroot is another folder by now, what is in the root is somebody else's.
        """
        adoption = self._adoption
        if read_identity(adoption.docroot) != adoption.tree:
            return
        for path in adoption.shared:
            self._drop_second(path)
            self._close_ways(os.path.join(adoption.docroot, path), adoption.find_shared_path(path))
        self._remove_link(adoption.place, step="link dropped")
        self._close_ways(adoption.docroot, adoption.place)
        if _read_link(adoption.current) == adoption.link:
            self._remove_link(adoption.current, step="current dropped")
        for path in reversed(adoption.made):
            self._remove_folder(path)

    def _find_tree(self):
        """Where the tree is, and its owner. Raises `NodeError` where somebody moved it."""
        adoption = self._adoption
        for path in (adoption.docroot, adoption.place):
            if read_identity(path) == adoption.tree:
                return path, read_ownership(path)
        raise NodeError(
            "SCHEMA_UNSUPPORTED",
            "the folder that was {0} is neither there nor at {1}".format(adoption.docroot, adoption.place),
            "Somebody moved it meanwhile: put it back to one of these places, then run the same command again.",
        )

    def _is_release(self):
        return self._find_tree()[0] == self._adoption.place

    def _exchange_docroot(self):
        began = time.monotonic()
        self._rename(self._adoption.docroot, self._adoption.place, EXCHANGE)
        self.exchange_ms = round((time.monotonic() - began) * 1000, 3)
        self._sync(self._adoption.docroot, self._adoption.place)
        self._on_step("docroot exchanged")

    def _share(self, path):
        """Move one path of the release to `shared` and leave a link, in one call."""
        inner, outer = self._adoption.find_release_path(path), self._adoption.find_shared_path(path)
        aim = self._adoption.make_aim(path)
        if _read_link(inner) == aim and _is_real(outer):
            return
        if not _is_real(inner):
            self._share_nothing(path, inner, outer)
            return
        owner = read_ownership(inner)
        if read_identity(inner) == read_identity(outer):  # two names, left by a way back
            self._put_link(inner, aim, owner=owner, step="link put back")
            return
        if _is_real(outer):
            raise _make_double(inner, outer)
        self._put_link(outer, aim, owner=owner, step="link prepared")
        self._rename(inner, outer, EXCHANGE)
        self._sync(inner, outer)
        self._on_step("shared")

    def _share_nothing(self, path, inner, outer):
        """A folder that WordPress would make: it is made where it belongs, for whoever owns the folder above."""
        owner = read_ownership(os.path.dirname(inner))
        if not _is_real(outer):
            if path != UPLOADS:  # somebody removed it since it was looked at
                return
            with HeldFolder(os.path.dirname(outer)) as above:
                above.make_folder(os.path.basename(outer), owner=owner)
                above.adjust(os.path.basename(outer), mode=0o755)
            self._on_step("folder made")
        self._put_link(inner, self._adoption.make_aim(path), owner=owner, step="shared")

    def _give_back(self, path):
        """Bring one shared path back to the release, where its link is."""
        inner, outer = self._adoption.find_release_path(path), self._adoption.find_shared_path(path)
        if not _is_real(outer) or read_identity(inner) == read_identity(outer):
            return
        if _is_real(inner):
            raise _make_double(inner, outer)
        if _read_link(inner) is None:
            self._rename(outer, inner, NOREPLACE)
        elif stat.S_ISDIR(os.lstat(outer).st_mode):
            self._lay_ways(inner, outer, owner=read_ownership(inner))
            self._rename(inner, outer, EXCHANGE)
            self._on_step("folder given back")
            self._put_link(outer, inner, step="old place linked")
            self._close_ways(inner, outer)
        else:
            self._name_twice(outer, inner)
        self._sync(inner, outer)
        self._on_step("given back")

    def _name_twice(self, outer, inner):
        """Put a file in the place of the link to it, and leave it where it is: PHP remembers that name."""
        with HeldFolder(os.path.dirname(outer)) as ours, HeldFolder(os.path.dirname(inner)) as theirs:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._fresh, dir_fd=theirs.descriptor)
            os.link(
                os.path.basename(outer),
                self._fresh,
                src_dir_fd=ours.descriptor,
                dst_dir_fd=theirs.descriptor,
                follow_symlinks=False,
            )
            os.rename(
                self._fresh,
                os.path.basename(inner),
                src_dir_fd=theirs.descriptor,
                dst_dir_fd=theirs.descriptor,
            )

    def _drop_second(self, path):
        """Remove what a way back left in `shared`: a link, or the second name of a file."""
        outer = self._adoption.find_shared_path(path)
        first = os.path.join(self._adoption.docroot, path)
        if _read_link(outer) is not None:
            self._remove_link(outer, step="second dropped")
        elif os.path.isfile(outer) and read_identity(outer) == read_identity(first):
            with HeldFolder(os.path.dirname(outer)) as above:
                os.unlink(os.path.basename(outer), dir_fd=above.descriptor)
            self._on_step("second dropped")

    def _lay_ways(self, link, real, *, owner):
        """Let `link` lead to `real` by a text that leads back from there once the two were exchanged.

        So whoever read the link just before, or remembers where it led, arrives all the same.
        """
        self._put_link(self._find_way(link), real, step="way laid")
        self._put_link(self._find_way(real), link, step="way laid")
        self._put_link(link, self._way, owner=owner, step="linked by the way")

    def _close_ways(self, *paths):
        for path in paths:
            self._remove_link(self._find_way(path), step="way closed")

    def _find_way(self, path):
        return os.path.join(os.path.dirname(path), self._way)

    def _put_link(self, path, aim, *, step, owner=None):
        """Put a link at `path` in one rename(2), in place of another one or of nothing."""
        if _read_link(path) == aim:
            return
        with HeldFolder(os.path.dirname(path)) as above:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._fresh, dir_fd=above.descriptor)
            os.symlink(aim, self._fresh, dir_fd=above.descriptor)
            if owner is not None:
                os.chown(self._fresh, *owner, dir_fd=above.descriptor, follow_symlinks=False)
            os.rename(
                self._fresh, os.path.basename(path), src_dir_fd=above.descriptor, dst_dir_fd=above.descriptor
            )
            os.fsync(above.descriptor)
        self._on_step(step)

    def _remove_link(self, path, *, step):
        if _read_link(path) is None:
            return
        with HeldFolder(os.path.dirname(path)) as above:
            os.unlink(os.path.basename(path), dir_fd=above.descriptor)
            os.fsync(above.descriptor)
        self._on_step(step)

    def _remove_folder(self, path):
        """Remove an empty folder; one that holds anything stays."""
        try:
            with HeldFolder(os.path.dirname(path)) as above:
                os.rmdir(os.path.basename(path), dir_fd=above.descriptor)
        except OSError:
            return
        self._on_step("folder dropped")

    def _rename(self, source, target, how):
        with HeldFolder(os.path.dirname(source)) as ours, HeldFolder(os.path.dirname(target)) as theirs:
            ends = (ours, os.path.basename(source)), (theirs, os.path.basename(target))
            try:
                rename_held(*ends, how)
            except OSError as error:
                if error.errno not in UNABLE:
                    raise
                raise NodeError(
                    "SCHEMA_UNSUPPORTED",
                    "{0} and {1} cannot be exchanged in one step: {2}".format(source, target, error.strerror),
                    "Keep docroot and root on one file system that can, such as ext4, xfs or btrfs.",
                ) from error

    def _sync(self, *paths):
        for path in paths:
            with HeldFolder(os.path.dirname(path)) as above:
                os.fsync(above.descriptor)


def _read_link(path):
    """The text of a link, None for anything else."""
    try:
        return os.readlink(path)
    except OSError:
        return None


def _is_real(path):
    """Whether something is there that is no link."""
    return os.path.lexists(path) and not os.path.islink(path)


def _make_double(inner, outer):
    return NodeError(
        "SCHEMA_UNSUPPORTED",
        "there is {0} and there is {1}: nobody can tell which one counts".format(inner, outer),
        "Save the one that is not needed elsewhere and remove it, then run the same command again.",
    )
