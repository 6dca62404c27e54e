"""What a refresh works with, and which of production's data it pulls (spec.md §3)."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any, Callable, Optional

from ansible_collections.pressluft.wordpress.plugins.module_utils.baseline import Baseline
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import (
    detect_multisite,
    find_tables,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import (
    Environment,
    EnvironmentState,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.exchange import make_database_name
from ansible_collections.pressluft.wordpress.plugins.module_utils.held_folder import find_trusted
from ansible_collections.pressluft.wordpress.plugins.module_utils.identity import is_within, read_roots
from ansible_collections.pressluft.wordpress.plugins.module_utils.measure import find_protected_paths
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_config import NodeConfig
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.progress import SILENT, Progress
from ansible_collections.pressluft.wordpress.plugins.module_utils.quiet import OWN_FILES
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import (
    OPTIONS_TABLE,
    PATH,
    PRESERVED,
    PROTECTED,
    TABLE,
    Patterns,
    Protection,
    split_key,
)

PROTECTED_SCOPE, FULL_SCOPE = "protected", "full"
SCOPES = (PROTECTED_SCOPE, FULL_SCOPE)

DEPENDENT = Patterns(
    [
        "users",
        "usermeta",
        "termmeta",
        "links",
        "woocommerce_order*",
        "woocommerce_payment_token*",
        "woocommerce_downloadable_product_permissions",
        "wc_order*",
        "wc_customer_lookup",
        "wc_download_log",
        "wc_product_meta_lookup",
    ]
)
"""Preserved tables that protected data refers to, or that refer to it: they are pulled with it. The other
preserved ones (sessions, queued actions, logs, keys) belong to the running site and stay the source's own."""


@dataclass(frozen=True)
class Work:
    """A refresh: both sides, the source's locked state, two connections, and the baseline there was.

    `reader` only ever reads production; `must_anonymise` refuses to go on without the owner's script. `on_step`
    is called with a step's name right after each durable effect.
    """

    production: Environment
    source: Environment
    protection: Protection
    scope: str
    must_anonymise: bool
    state: EnvironmentState
    reader: Any
    writer: Any
    config: NodeConfig
    config_dir: str
    known: Optional[Baseline]
    on_step: Callable[[str], None]
    mirror: Any = None
    """What was fetched of a production on another node, as `production` then describes it; else None."""
    progress: Progress = SILENT

    @property
    def is_full(self):
        """Whether the source becomes a fresh copy."""
        return self.scope == FULL_SCOPE

    @property
    def state_dir(self):
        """The node's own folder, of all environments."""
        return os.path.dirname(self.state.folder)

    @property
    def shadow(self):
        """The database beside the source's in which the copy is made."""
        return make_database_name(self.source.database, "", self.state.job.id)

    @property
    def retired(self):
        """The database that takes the source's tables as they were."""
        return make_database_name(self.source.database, "old_", self.state.job.id)

    @property
    def copy(self):
        """The source as it will be: its tables in the shadow."""
        return replace(self.source, database=self.shadow)

    @property
    def release(self):
        """The name of the release that a full refresh makes."""
        return self.state.job.id

    @property
    def addresses(self):
        """What the copy is rewritten from and to: a copy that was rewritten otherwise is no copy any more."""
        return [self.production.url, self.production.root, self.source.url, self.source.root]

    def is_pulled(self, name):
        """Whether a table, given without prefix, is replaced by production's."""
        if self.is_full:
            return True
        kind = self.protection.classify_table(name)
        return kind == PROTECTED or (kind == PRESERVED and DEPENDENT.match(name))

    def is_pulled_key(self, key):
        """Whether a resource of the baseline is among what is pulled."""
        kind, name = split_key(key)
        is_path = kind == PATH and self.protection.protected_paths.match(name)
        return self.is_full or is_path or (kind == TABLE and self.is_pulled(name))

    def find_paths(self):
        """The protected paths that production has or could have, relative to `current`."""
        return find_protected_paths(self.production, self.protection.protected_paths)


def add_own_files(protection):
    """The protection under which Pressluft's own files are no code."""
    return replace(protection, volatile_files=Patterns([*protection.volatile_files, *OWN_FILES]))


def find_pulled_tables(work):
    """Names without prefix: what production has and what the source has of the tables that are pulled."""
    ours = find_tables(work.reader, work.production.database, work.production.table_prefix)
    theirs = find_tables(work.writer, work.source.database, work.source.table_prefix)
    if OPTIONS_TABLE not in ours:
        raise NodeError(
            "IDENTITY_MISMATCH",
            "database {0} has no table {1}".format(
                work.production.database, work.production.table(OPTIONS_TABLE)
            ),
            "Check production's database name and table_prefix.",
        )
    if detect_multisite(work.reader, work.production.database, work.production.table_prefix):
        raise NodeError(
            "SCHEMA_UNSUPPORTED",
            "{0} is a network of sites (it has the tables blogs and site)".format(work.production.name),
            "Pressluft does not copy multisite; take this site out of the fleet.",
        )
    return [name for name in ours if work.is_pulled(name)], [name for name in theirs if work.is_pulled(name)]


def find_place(work, path):
    """Where the source keeps a protected path: where its release leads to, else in its shared folder.

    What is there and is not production's goes, so any place that could hold something else is refused by name.
    """
    linked = os.path.join(work.source.current, path)
    place = find_trusted(
        linked if os.path.lexists(linked) else os.path.join(work.source.root, "shared", path)
    )
    root = os.path.realpath(work.source.root)
    own = [os.path.join(root, "releases"), os.path.join(root, "shared", "wp-content")]
    if any(is_within(taken, place) for taken in own) or is_within(place, own[0]):
        raise _make_misplaced(path, place, "where the source keeps other things")
    for taken in _find_foreign(work, path):
        if is_within(place, taken) or is_within(taken, place):
            raise _make_misplaced(path, place, "which overlaps {0}".format(taken))
    return place


def _find_foreign(work, path):
    """Folders that no copy may touch: production's, those of all other environments, and the node's own."""
    state_dir = os.path.dirname(work.state.folder)
    production = os.path.join(work.production.current, path)
    places = [work.production.root, production, state_dir, work.config_dir]
    return [*map(os.path.realpath, places), *read_roots(state_dir, but=work.source.id)]


def _make_misplaced(path, place, reason):
    return NodeError(
        "IDENTITY_MISMATCH",
        "{0} of the source leads to {1}, {2}".format(path, place, reason),
        "Give the source a folder of its own for it.",
    )
