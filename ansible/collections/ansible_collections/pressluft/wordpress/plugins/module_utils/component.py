"""What a release is made of: core, each plugin, each theme, each must-use plugin, each other file.

A component's digest covers the content of its files, where its links lead, and whether a file's owner may
execute it. Owners, other permission bits, times and folders as such do not count: they differ between two
places that run the same code.
"""

from __future__ import annotations

import hashlib
import os
from typing import Callable, Dict, List, Mapping

from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import Environment
from ansible_collections.pressluft.wordpress.plugins.module_utils.manifest import (
    Entry,
    Tree,
    describe_path,
    describe_unreadable,
    read_tree,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import Measure, Protection

CORE = "core"
CORE_FOLDERS = frozenset(["wp-admin", "wp-includes"])
CORE_FILES = frozenset(
    [
        "index.php",
        "license.txt",
        "readme.html",
        "wp-activate.php",
        "wp-blog-header.php",
        "wp-comments-post.php",
        "wp-config-sample.php",
        "wp-cron.php",
        "wp-links-opml.php",
        "wp-load.php",
        "wp-login.php",
        "wp-mail.php",
        "wp-settings.php",
        "wp-signup.php",
        "wp-trackback.php",
        "xmlrpc.php",
    ]
)
_COLLECTIONS = frozenset(["plugins", "themes", "mu-plugins"])
_OWNER_EXECUTES = 0o100
Reader = Callable[..., Tree]


def find_component(path: str) -> str:
    """Return the component that a file, given relative to `current`, belongs to."""
    parts = path.split("/")
    if path in CORE_FILES or parts[0] in CORE_FOLDERS:
        return CORE
    if len(parts) > 2 and parts[0] == "wp-content" and parts[1] in _COLLECTIONS:
        return "%s/%s" % (parts[1], parts[2])
    return "files/%s" % path


def find_component_paths(component: str) -> List[str]:
    """Return the files and folders, relative to `current`, that a component may consist of.

    Raises ValueError for a name that is no component, so that no name leads out of the release.
    """
    if component == CORE:
        return sorted(CORE_FILES | CORE_FOLDERS)
    kind, _, rest = component.partition("/")
    path = rest if kind == "files" else "wp-content/%s" % component
    if not rest or {"", ".", ".."} & set(path.split("/")) or find_component(path) != component:
        raise ValueError("%r is no component" % component)
    return [path]


def measure_components(
    environment: Environment, protection: Protection, *, read: Reader = read_tree
) -> Dict[str, Measure]:
    """Measure all code of the current release; protected, preserved and volatile paths are not code.

    `read` reads a folder: `manifest.read_tree`, or the one of a `ManifestCache`. A file that cannot be read makes
    its component unreadable. Raises NodeError (`DRIFT_CHECK_FAILED`) when there is no current release: its absence
    must not look like a release without code.
    """
    try:
        tree = read(
            environment.current, skip=lambda path: bool(path) and not protection.is_code(os.fsdecode(path))
        )
    except OSError as error:
        raise NodeError(
            "DRIFT_CHECK_FAILED",
            "cannot read the release of %s at %s: %s" % (environment.name, environment.current, error),
            "See that the environment's root holds `current`, a link to a release.",
        ) from error
    if b"" in tree.unreadable:
        raise NodeError(
            "DRIFT_CHECK_FAILED",
            "cannot list %s: %s" % (environment.current, tree.unreadable[b""]),
            "See that root may read the environment's root.",
        )
    return _measure(tree)


def digest_component(entries: Mapping[str, Entry]) -> str:
    """Return the digest (`sha256:<hex>`) of a component's files by their paths relative to `current`."""
    digest = hashlib.sha256()
    for path in sorted(entries):
        entry, name = entries[path], os.fsencode(path)
        executable = entry.kind == "f" and bool(entry.mode & _OWNER_EXECUTES)
        line = "%s%d %s" % (entry.kind, executable, entry.content)
        digest.update(b"%d:%s%s\n" % (len(name), name, line.encode()))
    return "sha256:%s" % digest.hexdigest()


def _measure(tree: Tree) -> Dict[str, Measure]:
    grouped: Dict[str, Dict[str, Entry]] = {}
    for path, entry in tree.entries.items():
        if entry.kind != "d":
            grouped.setdefault(_name(path), {})[os.fsdecode(path)] = entry
    measures = {name: Measure(digest_component(entries)) for name, entries in grouped.items()}
    for name, paths in _group_unreadable(tree).items():
        measures[name] = Measure(None, unreadable=describe_unreadable(paths))
    return measures


def _group_unreadable(tree: Tree) -> Dict[str, Dict[bytes, str]]:
    grouped: Dict[str, Dict[bytes, str]] = {}
    for path, reason in tree.unreadable.items():
        grouped.setdefault(_name(path), {})[path] = reason
    return grouped


def _name(path: bytes) -> str:
    return find_component(describe_path(path))
