"""A JSON file that only this node can have written, for this purpose: else it counts as missing."""

from __future__ import annotations

import json
import os
from typing import Any, Dict

from ansible_collections.pressluft.wordpress.plugins.module_utils import durable_file
from ansible_collections.pressluft.wordpress.plugins.module_utils.seal import check_seal, make_seal


def read_sealed(state_dir: str, path: str) -> Dict[str, Any]:
    """Read what `write_sealed` wrote to this path; empty when it is not there or not to be believed."""
    try:
        with open(path, "rb") as stream:
            seal, _, content = stream.read().partition(b"\n")
        check_seal(state_dir, _make_purpose(state_dir, path), content, seal=seal.decode("ascii"))
        return dict(json.loads(content.decode()))
    except (ValueError, OSError):
        return {}


def write_sealed(state_dir: str, path: str, value: Dict[str, Any]) -> None:
    """Replace the file durably, its folder included. Raises OSError."""
    durable_file.make_private_folder(os.path.dirname(path))
    content = json.dumps(value, separators=(",", ":"), sort_keys=True).encode()
    seal = make_seal(state_dir, _make_purpose(state_dir, path), content)
    durable_file.write_bytes(path, seal.encode("ascii") + b"\n" + content)


def _make_purpose(state_dir: str, path: str) -> str:
    return "file %s" % os.path.relpath(path, state_dir)
