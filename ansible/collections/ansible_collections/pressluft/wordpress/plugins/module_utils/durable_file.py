"""Files that survive a power cut: written beside, fsynced, renamed, and the folder fsynced after."""

from __future__ import annotations

import contextlib
import json
import os


class BrokenFile(ValueError):
    """A file of the node's own that nobody can read any more; its text names it."""


def write_bytes(path, content, mode=0o600):
    """Replace `path` by `content` in one step: a reader or a crash sees the old file or the new one."""
    temporary = "{0}.new-{1}".format(path, os.getpid())
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    sync_folder(os.path.dirname(path))


def write_json(path, value, mode=0o600):
    """Replace `path` by `value` as JSON; keys sorted, so that equal values are equal files."""
    write_bytes(path, json.dumps(value, indent=1, sort_keys=True).encode("utf-8") + b"\n", mode)


def read_json(path, default=None):
    """Read a JSON file, `default` where there is none. A broken one raises `BrokenFile`."""
    try:
        with open(path, "rb") as stream:
            return json.loads(stream.read().decode("utf-8"))
    except FileNotFoundError:
        return default
    except ValueError as error:
        raise BrokenFile("{0} is broken: {1}".format(path, error)) from error


def append_line(path, line):
    """Append one line and make it durable; a line torn by a crash is closed off first."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        os.write(descriptor, (b"\n" if torn else b"") + line.encode("utf-8") + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_folder(os.path.dirname(path))


def sync_folder(path):
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_private_folder(path):
    """Create `path` and its parents for root alone (0700); existing ones stay as they are."""
    if os.path.isdir(path):
        return
    make_private_folder(os.path.dirname(path))
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
        sync_folder(os.path.dirname(path))
