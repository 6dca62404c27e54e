"""One side of an observation of two nodes: all that the other node may ask about the environment that lies here.

Digests, sums, definitions, names and keys cross; rows and files do only where they are to be copied (`stream_rows`,
`stream_files`).
"""

from __future__ import annotations

from contextlib import closing

from ansible_collections.pressluft.wordpress.plugins.module_utils import upgrade
from ansible_collections.pressluft.wordpress.plugins.module_utils.baseline import read_baseline, read_evidence
from ansible_collections.pressluft.wordpress.plugins.module_utils.column import (
    describe_key,
    make_text_expression,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import (
    connect,
    hold_snapshot,
    stream_query,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.equality import make_rewriter, read_content
from ansible_collections.pressluft.wordpress.plugins.module_utils.localise import find_changed_keys
from ansible_collections.pressluft.wordpress.plugins.module_utils.option_row import read_option_rows
from ansible_collections.pressluft.wordpress.plugins.module_utils.survey import Surveyor, survey_sides
from ansible_collections.pressluft.wordpress.plugins.module_utils.table_digest import make_plan


class LocalSite:
    """The environment of this node, `other` being the one of the other node. Raises what its sources raise."""

    def __init__(self, environment, other, *, protection, defaults_file, state_dir):
        self.environment = environment
        self._other, self._protection = other, protection
        self._defaults_file, self._state_dir = defaults_file, state_dir
        self._side = None

    def survey(self):
        """Measure everything; the evidence is kept here for what is asked later."""
        surveyor = Surveyor(self.environment, self._protection, state_dir=self._state_dir)
        (self._side,) = survey_sides([surveyor], defaults_file=self._defaults_file)
        return self._side

    def read_entries(self, name):
        """The manifest of a protected folder as it was surveyed, path to description."""
        return dict((self._side.get("path", name).evidence or {}).get("entries", {}))

    def read_options(self, names):
        """The option rows of these names."""
        with self._connect() as connection:
            return read_option_rows(connection, self.environment, names)

    def sum_table(self, name, *, rewritten):
        """Definition, whether it is a view, and number and sum of its rows; `rewritten` to the other's addresses."""
        rewriter = make_rewriter(self._other, self.environment) if rewritten else None
        with self._connect() as connection, hold_snapshot(connection):
            content = read_content(connection, self.environment, name)
            sums = (0, 0) if content.is_view else content.sum_rows(rewriter)
            return [content.definition, content.is_view, *sums]

    def list_keys(self, name):
        """The primary keys of a table as people read them, one after the other; none where it has no usable key."""
        with self._connect() as connection, hold_snapshot(connection):
            place = (self.environment.database, self.environment.table(name))
            plan = make_plan(connection, *place)
            if plan.key:
                fields = ", ".join(make_text_expression(column) for column in plan.key)
                query = "SELECT {0} FROM {1} FORCE INDEX (PRIMARY)".format(fields, plan.table)
                yield from (describe_key(plan.key, row) for row in stream_query(connection, query))

    def read_baseline(self):
        """The baseline of the other environment, which is a copy of this one."""
        return read_baseline(self._state_dir, self._other.id)

    def read_known_entries(self, before):
        """The manifest behind a digest of that baseline, None where it was not kept."""
        evidence = read_evidence(self._state_dir, self._other.id, before)
        return None if evidence is None else evidence["entries"]

    def find_changed_rows(self, name, before):
        """Keys of rows that differ from that baseline's digest `before`, where its evidence was kept."""
        evidence = read_evidence(self._state_dir, self._other.id, before)
        now = self._side.get("table", name).evidence
        if evidence is None or now is None:
            return []
        if evidence["schema"] != now["schema"]:
            return ["definition"]
        with self._connect() as connection:
            place = (self.environment.database, self.environment.table(name))
            return find_changed_keys(connection, *place, evidence=evidence, now=now["chunks"])

    def read_code_version(self):
        """The database version that the code here asks for, None where it cannot be told."""
        return upgrade.read_code_version(self.environment)

    def _connect(self):
        return closing(connect(self._defaults_file))
