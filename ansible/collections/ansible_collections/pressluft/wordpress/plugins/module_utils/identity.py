"""Which root and which tables an environment id means on a node: bound once, never changed (spec.md §1)."""

from __future__ import annotations

import contextlib
import fcntl
import os

from ansible_collections.pressluft.wordpress.plugins.module_utils import clock, durable_file
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import server_identity
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError

_COMPARED = ("type", "root", "server", "database", "table_prefix")
RESERVED = "__pressluft"  # in the names of shadow databases and of those that keep old tables


def bind_identity(state_dir, folder, environment, conn):
    """Bind the environment on first contact, else compare it with what was bound.

    `conn` None compares all but the server. Raises `NodeError` `IDENTITY_MISMATCH` that names what differs.
    """
    wanted = make_identity(environment, server_identity(conn) if conn else None)
    path = os.path.join(folder, "identity.json")
    bound = durable_file.read_json(path)
    if bound is not None:
        _compare(environment, bound, wanted)
        return
    _check_root(state_dir, environment.id, wanted["root"])
    _check_database(environment)
    if conn is None:
        return
    with _locked_register(state_dir) as register:
        _check_overlap(register, environment.id, wanted)
        register[environment.id] = {name: wanted[name] for name in _COMPARED if name != "type"}
        durable_file.write_json(os.path.join(state_dir, "identities.json"), register)
        durable_file.write_json(path, dict(wanted, environment_id=environment.id, bound_at=clock.read_now()))


def make_identity(environment, server):
    """What is bound; the root with all links resolved. `server` None means: not known now."""
    return {
        "type": environment.type,
        "root": os.path.realpath(environment.root),
        "server": server,
        "database": environment.database,
        "table_prefix": environment.table_prefix,
    }


def read_roots(state_dir, *, but):
    """The roots of all environments of this node but one, as they were bound."""
    register = durable_file.read_json(os.path.join(state_dir, "identities.json")) or {}
    return [bound["root"] for other, bound in sorted(register.items()) if other != but]


def _compare(environment, bound, wanted):
    differing = [
        "{0} is {1!r} here, but {2!r} was asked for".format(name, bound.get(name), wanted[name])
        for name in _COMPARED
        if wanted[name] is not None and wanted[name] != bound.get(name)
    ]
    if differing:
        raise NodeError(
            "IDENTITY_MISMATCH",
            "environment {0} ({1}) was bound to something else on this node: {2}".format(
                environment.name, environment.id, "; ".join(differing)
            ),
            "Put the environment's file back as it was; a moved environment needs a new metadata.id.",
        )


def _check_root(state_dir, environment_id, root):
    state = os.path.realpath(state_dir)
    if root == "/" or not os.path.isabs(root) or is_within(root, state) or is_within(state, root):
        raise NodeError(
            "IDENTITY_MISMATCH",
            "{0!r} cannot be the root of environment {1}".format(root, environment_id),
            "Give the environment a folder of its own, apart from {0}.".format(state_dir),
        )


def _check_database(environment):
    """What Pressluft made itself, such as kept old tables, is nobody's environment."""
    if RESERVED in environment.database.lower():
        raise NodeError(
            "IDENTITY_MISMATCH",
            "{0!r} cannot be the database of environment {1}: names with {2} are Pressluft's own".format(
                environment.database, environment.id, RESERVED
            ),
            "Give the environment a database of its own.",
        )


def _check_overlap(register, environment_id, wanted):
    for other, bound in sorted(register.items()):
        if other == environment_id:
            continue
        clash = _find_clash(bound, wanted)
        if clash:
            raise NodeError(
                "IDENTITY_MISMATCH",
                "environment {0} overlaps environment {1} on this node: {2}".format(
                    environment_id, other, clash
                ),
                "Every environment needs a root, a database and a table prefix of its own.",
            )


def _find_clash(bound, wanted):
    if is_within(bound["root"], wanted["root"]) or is_within(wanted["root"], bound["root"]):
        return "root {0} and root {1}".format(wanted["root"], bound["root"])
    mine, theirs = wanted["table_prefix"], bound["table_prefix"]
    same_database = all(bound[name] == wanted[name] for name in ("server", "database"))
    if same_database and (mine.startswith(theirs) or theirs.startswith(mine)):
        return "tables {0}* and {1}* of database {2}".format(theirs, mine, wanted["database"])
    return ""


def is_within(path, folder):
    """Whether a real path is a folder or lies below it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


@contextlib.contextmanager
def _locked_register(state_dir):
    """identities.json under a lock of its own, since every environment has another one."""
    descriptor = os.open(
        os.path.join(state_dir, "identities.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
    )
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield durable_file.read_json(os.path.join(state_dir, "identities.json")) or {}
    finally:
        os.close(descriptor)
