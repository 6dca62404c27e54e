"""What adopting a plain docroot takes, as data: the docroot, the release it becomes, and what is shared (ADR 0017).

The record is the journal of an adoption: it is written before anything is moved, and where each thing stands is told
by inodes and links alone. So whoever comes next, in either direction, goes on from what is there.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from typing import Tuple

from ansible_collections.pressluft.wordpress.plugins.module_utils import durable_file

ADOPTING, ADOPTED, UNDOING, PLAIN = "adopting", "adopted", "undoing", "plain"
RECORD = "adoption.json"
UPLOADS = "wp-content/uploads"
"""WordPress makes it at the first upload, in the release; so it is made, and shared, where there is none."""


@dataclass(frozen=True)
class Adoption:
    """One docroot and the root that it is brought into; all paths are real ones.

    `tree` is device and inode of the folder that is moved as a whole: the docroot, later a release. `shared` are the
    paths below it that lie in `<root>/shared`, `made` the folders that were made for it, outermost first.
    """

    state: str
    root: str
    docroot: str
    release: str
    tree: Tuple[int, int]
    shared: Tuple[str, ...]
    made: Tuple[str, ...]

    @property
    def current(self):
        """The link that says which release is served."""
        return os.path.join(self.root, "current")

    @property
    def link(self):
        """The text of that link, as every switch of releases writes it."""
        return os.path.join("releases", self.release)

    @property
    def place(self):
        """Where the tree lies as a release."""
        return os.path.join(self.root, "releases", self.release)

    def find_release_path(self, path):
        """Where a shared path is in the release."""
        return os.path.join(self.place, path)

    def find_shared_path(self, path):
        """Where a shared path really lies."""
        return os.path.join(self.root, "shared", path)

    def make_aim(self, path):
        """The text of the link that a release has at a shared path."""
        return os.path.relpath(self.find_shared_path(path), os.path.dirname(self.find_release_path(path)))


def read_adoption(folder):
    """The record in an environment's folder, None where it was never adopted."""
    fields = durable_file.read_json(os.path.join(folder, RECORD))
    if fields is None:
        return None
    lists = {name: tuple(fields[name]) for name in ("tree", "shared", "made")}
    return Adoption(**dict(fields, **lists))


def record_adoption(folder, adoption, **changes):
    """Write the record with some fields changed, durably; returns what was written."""
    changed = replace(adoption, **changes)
    durable_file.write_json(os.path.join(folder, RECORD), asdict(changed))
    return changed
