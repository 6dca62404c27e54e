"""A restore: a whole environment out of one of its backups, put together beside what is live (spec.md §7).

    verify -> (backup of what is there) -> stage: tables, files -> cut-over, as a promotion's (`cut_over`)

Only the cut-over changes what is live; whatever fails or is killed before it leaves nothing but what the next
attempt drops. The tables that were loaded are proved to be those that were dumped, by their digests.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any, Callable

from ansible_collections.pressluft.wordpress.plugins.module_utils import (
    durable_file,
    exchange,
    free_space,
    release,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.backup import (
    BASELINE,
    find_restorable,
    open_storage,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.baseline import unseal_baseline
from ansible_collections.pressluft.wordpress.plugins.module_utils.cut import RESTORE, Cut, dump_cut
from ansible_collections.pressluft.wordpress.plugins.module_utils.cut_end import CUT_FILE, RESTORED_FILE
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import connect, find_tables
from ansible_collections.pressluft.wordpress.plugins.module_utils.dump import (
    FILE_NAME,
    INDEX_NAME,
    load_dump,
    read_index,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import (
    EnvironmentState,
    open_environment,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.journal import STAGED
from ansible_collections.pressluft.wordpress.plugins.module_utils.kept import drop_expired
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_config import read_node_config
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import (
    TABLE,
    add_kind,
    make_protection,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.restic import TRANSFER_SECONDS
from ansible_collections.pressluft.wordpress.plugins.module_utils.restored_file import (
    drop_restored_files,
    restore_files,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.schema_check import check_tables
from ansible_collections.pressluft.wordpress.plugins.module_utils.server_check import check_exchange
from ansible_collections.pressluft.wordpress.plugins.module_utils.stage_check import (
    check_active,
    check_names,
    check_not_cut,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.table_measure import measure_tables

BEFORE_FILE = "before.json"
STEPS = ("storage read", "tables loaded", "files restored", "staged")
"""The durable effects of staging, in their order; those of the cut-over follow."""


@dataclass(eq=False)
class _Work:
    """A restore: the request, the locked environment, a connection, the storage and the snapshot in it."""

    call: Any
    state: EnvironmentState
    conn: Any
    restic: Any
    snapshot: dict
    on_step: Callable[[str], None]

    @property
    def environment(self):
        return self.state.environment

    @property
    def shadow(self):
        return exchange.make_database_name(self.environment.database, "", self.state.job.id)

    @functools.cached_property
    def sizes(self):
        """The files in the snapshot, by path: their bytes."""
        _code, out = self.restic.run(["ls", "--json", self.snapshot["id"]])
        nodes = (json.loads(line) for line in out.splitlines())
        return {node["path"]: node.get("size") or 0 for node in nodes if node.get("type") == "file"}

    def path(self, name):
        """Where the snapshot holds one of the dump's files."""
        return os.path.join(self.state.path("dump"), name)

    def read(self, name):
        """One of the dump's small files; None where the backup has none."""
        if self.path(name) not in self.sizes:
            return None
        with self.restic.stream(["dump", self.snapshot["id"], self.path(name)]) as stream:
            return stream.read()


def verify_restore(call):
    """Carry out a `verify` request of a restore: refuse a backup that is not there, and note what there is now.

    The digests of all tables are kept for telling, once they are replaced, which of them were written to after the
    backup that is taken next.
    """
    with _opened(call) as work:
        work.restic.run(["check", "--no-lock", "--quiet"], timeout=TRANSFER_SECONDS)
        if not call.check_mode:
            measures = measure_tables(work.conn, work.environment)
            digests = {key: one.digest for key, one in add_kind(TABLE, measures).items() if one.digest}
            durable_file.write_json(work.state.journal().make_path(BEFORE_FILE), digests)
        verified = {"snapshot_id": work.snapshot["id"], "time": work.snapshot["time"]}
        return {"verified": verified, "node": work.state.report()}


def stage_restore(call, *, on_step=lambda _name: None):
    """Carry out a `stage` request of a restore (node-protocol.md): its `staged`. A second run finds the first."""
    with _opened(call, on_step=on_step) as work:
        staged = _find_staged(work)
        if staged is None and not call.check_mode:
            staged = _stage_anew(work)
        return {"staged": staged, "changed": True, "node": work.state.report()}


def discard_restore(call):
    """Drop what this job staged. Refused once its cut-over has started."""
    with ExitStack() as stack:
        conn, state = _open_environment(call, stack)
        check_not_cut(state)
        if not call.check_mode:
            _drop(conn, state)
        return {"changed": True, "node": state.report()}


class _opened(ExitStack):  # noqa: N801 - a context manager by its use
    """The work of one call: environment locked, storage opened, the backup found in it."""

    def __init__(self, call, *, on_step=lambda _name: None):
        super().__init__()
        self._call, self._on_step = call, on_step

    def __enter__(self):
        super().__enter__()
        try:
            call = self._call
            conn, state = _open_environment(call, self)
            check_active(state)
            check_not_cut(state)
            check_names(state)
            if not call.check_mode:
                drop_expired(state, conn)
            restic = open_storage(call.state_dir, call.config_dir, read_node_config(call.config_dir))
            asked = (call.request.get("backup") or {}).get("snapshot_id")
            snapshot = find_restorable(restic, state.environment.id, snapshot_id=asked)
        except BaseException:
            self.close()
            raise
        return _Work(call, state, conn, restic, snapshot, self._on_step)


def _open_environment(call, stack):
    conn = stack.enter_context(closing(connect(read_node_config(call.config_dir).mysql_defaults_file)))
    opened = open_environment(call.state_dir, call.environment, job=call.job, conn=conn)
    return conn, stack.enter_context(opened)


def _stage_anew(work):
    """Everything from the beginning; whatever fails leaves nothing behind."""
    _drop(work.conn, work.state)
    try:
        detail = _put_together(work)
    except (NodeError, OSError) as error:
        _drop(work.conn, work.state)
        if free_space.is_full(error):
            raise free_space.make_full(str(error)) from error
        raise
    work.state.journal().record(STAGED, detail, epoch=work.state.job.epoch)
    work.on_step("staged")
    return detail


def _put_together(work):
    live = work.environment.database
    retired = exchange.make_database_name(live, "old_", work.state.job.id)
    check_exchange(work.conn, [live, work.shadow, retired])
    digests = _read_digests(work)
    replaced = find_tables(work.conn, work.environment.database, work.environment.table_prefix)
    check_tables(work.conn, work.environment, list(replaced))
    _check_space(work)
    work.on_step("storage read")
    digests = _load_tables(work, digests)
    work.on_step("tables loaded")
    protection = make_protection(work.call.protection)
    places = restore_files(
        work.restic,
        work.snapshot,
        state=work.state,
        kept=[*protection.protected_paths, *protection.preserved_files],
    )
    release.check_links(work.environment.release(work.state.job.id), list(protection.protected_paths))
    work.on_step("files restored")
    _keep_baseline(work)
    cut = _make_cut(work, digests, sorted(info.name for info in replaced.values()), places=places)
    durable_file.write_json(work.state.journal().make_path(CUT_FILE), dump_cut(cut))
    return {
        "snapshot_id": work.snapshot["id"],
        "tables": len(digests),
        "places": [place.live for place in places],
        "release": work.state.job.id,
    }


def _read_digests(work):
    """The digests of the tables that the backup holds, by short name."""
    content = work.read(INDEX_NAME)
    if content is None:
        raise _make_invalid(work, "holds no digests of its tables: it was made by an earlier version")
    digests, others = read_index(content)
    if not digests:
        raise _make_invalid(work, "holds no tables")
    if others:
        raise NodeError(
            "SCHEMA_UNSUPPORTED",
            "the backup holds what cannot be exchanged in one step: {0}".format(", ".join(others)),
            "Nothing was changed. Restore it by hand: docs/how-to/restore-a-backup.md says how.",
        )
    return digests


def _load_tables(work, digests):
    """Load the dump into the shadow, and prove that its tables are those that were dumped; returns their digests."""
    exchange.create_database(work.conn, work.shadow, like=work.environment.database)
    defaults_file = read_node_config(work.call.config_dir).mysql_defaults_file
    arguments = ["dump", work.snapshot["id"], work.path(FILE_NAME)]
    # A session of its own: the dump changes its settings.
    with closing(connect(defaults_file)) as loader, work.restic.stream(arguments) as stream:
        load_dump(stream, loader, work.shadow)
    there = dataclasses.replace(work.environment, database=work.shadow)
    loaded = {name: measure.digest for name, measure in measure_tables(work.conn, there).items()}
    # A table that an older version measured in another way has to be there; restic proves its dump.
    wrong = sorted(
        name
        for name in {*digests, *loaded}
        if digests.get(name) != loaded.get(name) and (digests.get(name) != "" or name not in loaded)
    )
    if wrong:
        raise _make_invalid(work, "gave other tables than were stored: {0}".format(", ".join(wrong)))
    check_tables(work.conn, there, list(loaded))
    return loaded


def _make_cut(work, digests, replaced, *, places):
    environment, job_id = work.environment, work.state.job.id
    before = durable_file.read_json(work.state.journal().make_path(BEFORE_FILE), default={})
    return Cut(
        kind=RESTORE,
        environment=environment,
        source_id="",
        source_url="",
        exchange=exchange.Exchange(
            live=environment.database,
            incoming=work.shadow,
            outgoing=exchange.make_database_name(environment.database, "old_", job_id),
            tables_in=tuple(sorted(environment.table(name) for name in digests)),
            tables_out=tuple(replaced),
        ),
        options_table="",
        named_options=(),
        release_old=release.read_served(environment.root),
        release_new=job_id,
        expected=before,
        installed={"{0}:{1}".format(TABLE, name): digest for name, digest in digests.items()},
        unchecked=(),
        protection=work.call.protection,
        kept_job=(work.state.content.get("kept") or {}).get("job_id") or "",
        keep_old=0,
        places=tuple(places),
    )


def _keep_baseline(work):
    """Of a copy: the baseline its backup holds, if this node wrote it, for the moment in which the copy comes back."""
    content = work.read(BASELINE)
    if content is None or work.environment.type == "production":
        return
    try:
        unseal_baseline(work.call.state_dir, work.environment.id, json.loads(content.decode("utf-8")))
    except (ValueError, OSError):
        return  # of another node: without one, the copy is refreshed before it is promoted
    durable_file.write_bytes(work.state.journal().make_path(RESTORED_FILE), content)


def _check_space(work):
    root, dump = os.path.realpath(work.environment.root), work.sizes.get(work.path(FILE_NAME), 0)
    os.makedirs(os.path.join(root, "releases"), exist_ok=True)
    needs = [(root, sum(work.sizes.values()) - dump), (work.state.folder, 4 << 20)]
    free_space.check_space([*needs, *free_space.find_datadir(work.conn, dump)])


def _find_staged(work):
    """What an earlier run of this very request staged, if all of it is still there."""
    journal = work.state.journal()
    detail = journal.read_detail(STAGED)
    cut = durable_file.read_json(os.path.join(journal.folder, CUT_FILE))
    if detail.get("snapshot_id") != work.snapshot["id"] or not cut:
        return None
    is_filled = set(cut["exchange"]["tables_in"]) <= exchange.fetch_tables(work.conn, work.shadow)
    boxes = all(os.path.lexists(os.path.join(place["box"], place["name"])) for place in cut["places"])
    return (
        detail
        if is_filled and boxes and os.path.isdir(work.environment.release(cut["release_new"]))
        else None
    )


def _drop(conn, state):
    """Drop this job's shadow, release and boxes, and the memory of them."""
    database, job_id = state.environment.database, state.job.id
    for purpose in ("", "old_"):
        exchange.drop_database(conn, exchange.make_database_name(database, purpose, job_id))
    drop_restored_files(state)
    state.journal().restart()


def _make_invalid(work, reason):
    return NodeError(
        "BACKUP_INVALID",
        "the backup with the snapshot {0} {1}".format(work.snapshot["id"], reason),
        "Nothing was changed. Restore another backup of this environment.",
    )
