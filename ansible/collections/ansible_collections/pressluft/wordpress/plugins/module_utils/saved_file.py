"""Files that go with a cut-over and were written after the last backup began: kept beside the job's journal."""

from __future__ import annotations

import errno
import os
import stat

from ansible_collections.pressluft.wordpress.plugins.module_utils.durable_file import make_private_folder
from ansible_collections.pressluft.wordpress.plugins.module_utils.held_folder import HeldFolder, copy_content

_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


def save_files(folder, to, *, since):
    """Copy the regular files below `folder` that changed since a moment; returns their paths, relative to it.

    The moment is compared with ctime, which no program can set back. Safe to repeat.
    """
    saved = []
    with HeldFolder(folder) as held:
        for above, _folders, files in os.walk(folder):
            for name in sorted(files):
                path = os.path.relpath(os.path.join(above, name), folder)
                if _is_late(held.lstat(path), since) and _save(held, path, os.path.join(to, path)):
                    saved.append(path)
    return saved


def _is_late(found, since):
    return found is not None and stat.S_ISREG(found.st_mode) and found.st_ctime >= since.timestamp()


def _save(held, path, target):
    try:
        reader = held.open_file(path)
    except OSError as error:
        if error.errno in _GONE:
            return False
        raise
    try:
        make_private_folder(os.path.dirname(target))
        writer = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            copy_content(reader, writer)
            os.fsync(writer)
        finally:
            os.close(writer)
    finally:
        os.close(reader)
    return True
