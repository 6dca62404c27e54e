"""What a step copies from the other node, where it can be read like an environment of this one: a database and a
folder of their own, which are gone when the step ends. Neither is ever served or taken for an environment.

The database is `<database>__pressluft_far_<8 hex of the job id>`, the folder `.pressluft-far-<job id>` beside the
releases, root's alone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from dataclasses import dataclass

from ansible_collections.pressluft.wordpress.plugins.module_utils import exchange, free_space
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import quote_name, run_query
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import (
    Environment,
    check_name,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.equality import make_rewriter
from ansible_collections.pressluft.wordpress.plugins.module_utils.held_folder import HeldFolder
from ansible_collections.pressluft.wordpress.plugins.module_utils.progress import SILENT
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import (
    OPTIONS_TABLE,
    make_protection,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.stream_files import (
    build_folder,
    find_known,
    receive_tree,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.stream_peer import restore_options
from ansible_collections.pressluft.wordpress.plugins.module_utils.stream_rows import create_table, fetch_table

_NOWHERE = "/dev/null/on-the-other-node"


@dataclass(frozen=True)
class FarEnvironment(Environment):
    """An environment of the other node whose tables and code are read from a mirror: `root` and addresses are
    those it has there, `current` is `place` here.
    """

    place: str = ""

    @property
    def current(self):
        """The mirrored code."""
        return self.place


class Mirror:
    """The mirror of the peer's environment beside `local`, for one job. Nothing is in it before it is fetched."""

    def __init__(self, peer, writer, *, local, call):
        self.peer, self._writer, self._local, self._call = peer, writer, local, call
        self.database = make_mirror_name(local.database, call.job.id)
        self._folder = _make_folder_name(call.job.id)
        self._releases = os.path.join(os.path.realpath(local.root), "releases")
        self.rows = self.bytes = 0

    @property
    def environment(self):
        """The peer's environment as it can be read here."""
        fields = dataclasses.asdict(self.peer.environment)
        fields["health_urls"] = tuple(fields["health_urls"])
        return FarEnvironment(**dict(fields, database=self.database, place=self._place))

    def open_snapshot(self):
        """Fix the moment that tables are of; returns the names of the site's tables there, with their sizes."""
        self.drop()
        os.makedirs(self._releases, exist_ok=True)
        tables = self.peer.ask("open_snapshot")
        exchange.create_database(self._writer, self.database, like=self._local.database)
        return tables

    def fetch_tables(self, names, *, sizes, progress=SILENT):
        """Fetch tables (names without prefix); what this node has under its own addresses does not cross."""
        self._check_space(sum(sizes[name] for name in names))
        progress.begin("fetch tables from the other node", tables=len(names))
        try:
            rewriter = make_rewriter(self.peer.environment, self._local)
        except ValueError:  # both have the same addresses
            rewriter = None
        for name in names:
            self.rows += fetch_table(
                self.peer,
                self._writer,
                name=name,
                database=self.database,
                seed=self._local,
                rewriter=rewriter,
                progress=progress,
            )

    def fetch_options(self, names):
        """Make the mirror's options hold the rows of these names, and no others."""
        found = self.peer.ask("describe_table", name=OPTIONS_TABLE)
        table = self.peer.environment.table(OPTIONS_TABLE)
        create_table(self._writer, self.database, table, definition=found["definition"])
        for row in restore_options(self.peer.ask("read_option_rows", names=list(names))).values():
            value = "NULL" if row.value is None else "x'{0}'".format(row.value.hex())
            run_query(
                self._writer,
                "INSERT INTO {0}.{1} (option_name, option_value, autoload) VALUES (%s, {2}, %s)".format(
                    quote_name(self.database), quote_name(table), value
                ),
                (row.name, row.autoload),
            )

    def fetch_code(self, paths):
        """Fetch the code at and below these paths (all of it: `[""]`), and links in place of protected paths."""
        received = receive_tree(self.peer.stream("list_code", paths=list(paths)))
        known = find_known(
            self._local, make_protection(self._call.protection), state_dir=self._call.state_dir
        )
        size = sum(entry.size for entry in received.entries.values())
        free_space.check_space([(self._releases, size)])
        self._make_place()
        self.bytes += build_folder(self.peer, "", received, top=self._place, known=known)

    def fetch_paths(self):
        """Put a link to nowhere in place of each protected path, so that it is found like the other node's own."""
        self._make_place()
        for path in self.peer.ask("find_paths"):
            link = os.path.join(self._place, path)
            os.makedirs(os.path.dirname(link), exist_ok=True)
            os.symlink(_NOWHERE, link)

    def drop(self):
        """Remove everything that was fetched, also by an attempt that was killed."""
        drop_mirror(self._writer, self._local, self._call.job.id)

    @property
    def _place(self):
        return os.path.join(self._releases, self._folder, "code")

    def _make_place(self):
        """The outer folder is root's alone: whoever the code belongs to cannot enter before it is a release."""
        with HeldFolder(self._releases) as held:
            held.make_folder(self._folder, mode=0o700)
            held.make_folder(os.path.join(self._folder, "code"))

    def _check_space(self, size):
        datadir = run_query(self._writer, "SELECT @@datadir")[0][0]
        if os.path.isdir(datadir):
            free_space.check_space([(datadir, size)])


def make_mirror_name(database, job_id):
    """The name of a mirror's database."""
    return exchange.make_database_name(database, "far_", job_id)


def drop_mirror(conn, environment, job_id):
    """Remove all that a job fetched beside an environment, also where its step was killed."""
    exchange.drop_database(conn, make_mirror_name(environment.database, job_id))
    releases = os.path.join(os.path.realpath(environment.root), "releases")
    with contextlib.suppress(FileNotFoundError), HeldFolder(releases) as held:
        held.remove(_make_folder_name(job_id))


def _make_folder_name(job_id):
    return ".pressluft-far-{0}".format(check_name(job_id))
