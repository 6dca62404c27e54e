"""Room for what is to be staged: asked beforehand, and recognised when it runs out all the same."""

from __future__ import annotations

import errno
import os
import re
import socket

from ansible_collections.pressluft.wordpress.plugins.module_utils.database import find_tables, run_query
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError

_MARGIN, _RESERVE = 1.2, 32 << 20  # a fifth more than measured, and 32 MiB that are never touched
_JOURNAL_BYTES = 4 << 20
_PLAIN_NAME = re.compile(r"[0-9A-Za-z_]+")  # others are encoded in the names of files
_FULL_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT})
_FULL_WORDS = ("No space left", "errno: 28", "is full", "Disk full", "Disk quota")


def check_space(needs):
    """Refuse when the needs (`[(path, bytes)]`) do not fit on the file systems they fall on."""
    wanted = {}
    for path, size in needs:
        device = os.stat(path).st_dev
        before = wanted.get(device, (path, 0))
        wanted[device] = (before[0], before[1] + size)
    for path, size in wanted.values():
        found = os.statvfs(path)
        free, needed = found.f_bavail * found.f_frsize, int(size * _MARGIN) + _RESERVE
        if free < needed:
            raise make_full("{0} has {1} free, staging takes {2}".format(path, _say(free), _say(needed)))


def measure_needs(conn, production, source, *, tables, components, state_dir):
    """What staging takes, as `check_space` wants it: files as if blocks were not shared, tables as they lie now."""
    files = measure_folder(os.path.realpath(production.current))
    files += sum(measure_folder(os.path.join(os.path.realpath(source.current), path)) for path in components)
    needs = [(os.path.join(production.root, "releases"), files), (state_dir, _JOURNAL_BYTES)]
    size = _measure_tables(conn, source, tables) + _measure_tables(conn, production, ["options"])
    return [*needs, *find_datadir(conn, size)]


def find_datadir(conn, size):
    """What `size` bytes of tables take, as `check_space` wants it; nothing where the server is on another host."""
    datadir, host = run_query(conn, "SELECT @@datadir, @@hostname")[0]
    is_here = host == socket.gethostname() and os.path.isdir(datadir)
    return [(datadir, size)] if is_here else []


def measure_folder(path):
    """Bytes on disk of a file, or of all that is below a folder; 0 where there is nothing."""
    if not os.path.isdir(path) or os.path.islink(path):
        return os.lstat(path).st_blocks * 512 if os.path.lexists(path) else 0
    return sum(
        os.lstat(os.path.join(folder, name)).st_blocks * 512
        for folder, folders, files in os.walk(path)
        for name in [*folders, *files]
    )


def is_full(error):
    """Whether an error says that a disk is full: the system's, or the database server's."""
    if isinstance(error, OSError) and error.errno in _FULL_ERRNOS:
        return True
    return isinstance(error, NodeError) and any(word in error.message for word in _FULL_WORDS)


def make_full(what):
    """The refusal of a full disk; nothing live was changed."""
    return NodeError(
        "ANSIBLE_HOST_FAILED",
        "not enough disk space on the node: {0}".format(what),
        "Free that much, then run the job again. Nothing live was changed.",
    )


def estimate_rows(conn, environment, names):
    """Rows of these tables (names without prefix) as the server guesses them, without looking."""
    return sum(_fetch_told(conn, environment, names, "TABLE_ROWS").values())


def measure_each_table(conn, environment, names):
    """Bytes of each of these tables that is there, by name without prefix: the server's word or the size of its file,
    whichever is more.

    The server's word is that of its statistics: a table that was just filled counts as empty.
    """
    told = _fetch_told(conn, environment, names, "DATA_LENGTH + INDEX_LENGTH")
    folder = os.path.join(str(run_query(conn, "SELECT @@datadir")[0][0]), environment.database)
    return {
        name: max(size, _measure_table_file(folder, environment.table(name))) for name, size in told.items()
    }


def _measure_tables(conn, environment, names):
    return sum(measure_each_table(conn, environment, names).values())


def _measure_table_file(folder, name):
    """Bytes of an InnoDB table's own file; 0 where it has none that can be seen here."""
    is_plain = _PLAIN_NAME.fullmatch(os.path.basename(folder)) and _PLAIN_NAME.fullmatch(name)
    return measure_folder(os.path.join(folder, name + ".ibd")) if is_plain else 0


def _fetch_told(conn, environment, names, what):
    """What information_schema tells of each of these tables that is there, by its name without prefix."""
    known = find_tables(conn, environment.database, environment.table_prefix)
    rows = run_query(
        conn,
        "SELECT TABLE_NAME, {0} FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s".format(what),
        (environment.database,),
    )
    told = dict(rows)
    return {name: int(told.get(known[name].name) or 0) for name in names if name in known}


def _say(size):
    return "{0:.0f} MiB".format(size / (1 << 20))
