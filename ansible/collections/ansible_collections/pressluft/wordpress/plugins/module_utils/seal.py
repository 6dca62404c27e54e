"""The node's own seal on what it will later believe: a MAC under a key that never leaves the node.

A digest alone shows that a file is torn; anybody who edits one can compute it anew. The key is a file of root's,
made on first use, and each seal is bound to a purpose, so that no sealed file can stand in for another one.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import threading
from typing import Optional

from ansible_collections.pressluft.wordpress.plugins.module_utils import durable_file

KEY_FILE = "seal.key"
_KEY_BYTES = 32


class SealError(ValueError):
    """The content is not what this node sealed for this purpose."""


def make_seal(state_dir: str, purpose: str, content: bytes) -> str:
    """Return the seal of `content` in hex; the node's key is made when there is none. Raises OSError."""
    return _make_mac(_read_key(state_dir) or _make_key(state_dir), purpose, content)


def check_seal(state_dir: str, purpose: str, content: bytes, *, seal: str) -> None:
    """Raise SealError unless this node made `seal` for this purpose and this very content."""
    key = _read_key(state_dir)
    if key is None:
        raise SealError("the node's key %s is gone" % os.path.join(state_dir, KEY_FILE))
    if not hmac.compare_digest(_make_mac(key, purpose, content), seal):
        raise SealError("its content does not belong to its seal")


def _make_mac(key: bytes, purpose: str, content: bytes) -> str:
    mac = hmac.new(key, b"%d:%s" % (len(purpose.encode()), purpose.encode()), hashlib.sha256)
    mac.update(content)  # not joined: a manifest's memory is tens of megabytes
    return mac.hexdigest()


def _read_key(state_dir: str) -> Optional[bytes]:
    try:
        with open(os.path.join(state_dir, KEY_FILE), "rb") as stream:
            key = stream.read()
    except FileNotFoundError:
        return None
    if len(key) != _KEY_BYTES:
        raise SealError("the node's key %s is broken" % os.path.join(state_dir, KEY_FILE))
    return key


def _make_key(state_dir: str) -> bytes:
    """Make the key durable before anything is sealed with it; of two that make one, the first one wins."""
    path = os.path.join(state_dir, KEY_FILE)
    temporary = "%s.new-%d" % (path, threading.get_native_id())  # both sides may be read at the same time
    durable_file.write_bytes(temporary, secrets.token_bytes(_KEY_BYTES))
    with contextlib.suppress(FileExistsError):
        os.link(temporary, path)
    os.unlink(temporary)
    durable_file.sync_folder(state_dir)
    key = _read_key(state_dir)
    if key is None:
        raise SealError("the node's key %s vanished" % path)
    return key
