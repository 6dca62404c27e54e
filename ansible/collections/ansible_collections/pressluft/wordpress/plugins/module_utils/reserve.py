"""Room set aside beside an environment's own files, so that a cut-over can say how it went on a disk that runs full."""

from __future__ import annotations

import contextlib
import os

from ansible_collections.pressluft.wordpress.plugins.module_utils import durable_file
from ansible_collections.pressluft.wordpress.plugins.module_utils.free_space import is_full, make_full

_BYTES = 2 << 20
_NAME = "reserve"


def set_aside(folder):
    """Take the room, once. Raises `NodeError` where there is none: then nothing must be begun."""
    path = os.path.join(folder, _NAME)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, _BYTES)
    except OSError as error:
        os.unlink(path)
        if is_full(error):
            raise make_full("{0}: {1}".format(folder, error.strerror)) from error
        raise
    finally:
        os.close(descriptor)


def give_back(folder):
    """Let the room go; returns whether there was any."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(folder, _NAME))
        return True
    return False


def write_json(folder, path, value):
    """Write a file durably, at the cost of the room that was set aside in `folder` where there is no other."""
    try:
        durable_file.write_json(path, value)
    except OSError as error:
        if not is_full(error) or not give_back(folder):
            raise
        durable_file.write_json(path, value)
