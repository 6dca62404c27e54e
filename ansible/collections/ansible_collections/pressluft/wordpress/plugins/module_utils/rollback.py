"""A manual rollback: the kept old tables and release come back, as a cut-over of their own (spec.md §6)."""

from __future__ import annotations

import os
from contextlib import ExitStack, closing

from ansible_collections.pressluft.wordpress.plugins.module_utils import durable_file, exchange
from ansible_collections.pressluft.wordpress.plugins.module_utils.baseline import find_expected
from ansible_collections.pressluft.wordpress.plugins.module_utils.cut import ROLLBACK, Cut, dump_cut
from ansible_collections.pressluft.wordpress.plugins.module_utils.cut_end import (
    BEFORE_FILE,
    CUT_FILE,
    NEXT_FILE,
    load_kept_cut,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.cut_over import has_ended, run_cut_over
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import connect
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import open_environment
from ansible_collections.pressluft.wordpress.plugins.module_utils.journal import STAGED
from ansible_collections.pressluft.wordpress.plugins.module_utils.kept import drop_expired
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_config import read_node_config
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import (
    COMPONENT,
    make_protection,
    split_key,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.sealed_file import (
    read_sealed,
    write_sealed,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.site_measure import (
    find_changed,
    measure_release,
    measure_rows,
)


def roll_back(call):
    """Carry out a `rollback` request (node-protocol.md): `cut_over` and `health`.

    Raises `NodeError`: `ROLLBACK_FAILED` where nothing is kept, `OVERWRITE_BLOCKED` when production wrote to what
    was promoted and the request's `overwrite` does not name it.
    """
    environment = call.environment or call.production
    if not has_ended(call, environment):
        _prepare(call, environment)
    if call.check_mode:
        return {"changed": True}
    return dict(run_cut_over(call, environment), changed=True)


def _prepare(call, environment):
    """Make the cut that exchanges back, anew until it has started: what it was made from may be gone by then."""
    defaults_file = read_node_config(call.config_dir).mysql_defaults_file
    with ExitStack() as stack:
        conn = stack.enter_context(closing(connect(defaults_file)))
        state = stack.enter_context(open_environment(call.state_dir, environment, job=call.job, conn=conn))
        if state.journal().cut:
            return
        state.journal().restart()
        if not call.check_mode:
            drop_expired(state, conn)
        kept = load_kept_cut(state)
        _check_kept(conn, state, kept)
        cut = _make_cut(conn, state, kept, request=call.request)
        if not call.check_mode:
            _write_cut(state, cut)


def _check_kept(conn, state, kept):
    missing = "no promotion of {0} is kept".format(state.environment.name)
    if kept is not None:
        there = exchange.fetch_tables(conn, kept.exchange.outgoing)
        lost = sorted(set(kept.exchange.tables_out) - there)
        missing = "the old tables {0} are gone".format(", ".join(lost)) if lost else ""
        if not os.path.isdir(state.environment.release(kept.release_old)):
            missing = "the old release {0} is gone".format(kept.release_old)
    if missing:
        raise NodeError(
            "ROLLBACK_FAILED",
            "there is nothing to roll back to: {0}".format(missing),
            "Nothing was changed. Promote the older state again, or restore a backup.",
        )


def _make_cut(conn, state, kept, *, request):
    """The way back, with what was installed as what production must still be."""
    job_id, overwrite = state.job.id, request.get("overwrite") or ()
    baseline_id = find_expected(request, kept.source_id)
    changed = _find_written(conn, state, kept, overwrite)
    if changed:
        raise NodeError(
            "OVERWRITE_BLOCKED",
            "production wrote to what was promoted: {0}".format(", ".join(changed)),
            "Nothing was changed. Name them in the intent's overwrite if that may be lost; it is set aside.",
        )
    return Cut(
        kind=ROLLBACK,
        environment=state.environment,
        source_id=kept.source_id,
        source_url="",
        exchange=exchange.Exchange(
            live=kept.exchange.live,
            incoming=kept.exchange.outgoing,
            outgoing=exchange.make_database_name(kept.exchange.live, "back_", job_id),
            tables_in=kept.exchange.tables_out,
            tables_out=kept.exchange.tables_in,
        ),
        options_table=kept.options_table,
        named_options=kept.named_options,
        release_old=kept.release_new,
        release_new=kept.release_old,
        expected=kept.installed,
        installed=kept.installed,
        unchecked=tuple(overwrite),
        protection=kept.protection,
        kept_job=state.content["kept"]["job_id"],
        keep_old=0,
        baseline_id=baseline_id,
    )


def _find_written(conn, state, kept, overwrite):
    """The names of promoted resources that production changed since, but for those in `overwrite`.

    All code counts as promoted: the old release is a whole, and what production got since would go with the new.
    """
    rows = [key for key in kept.installed if split_key(key)[0] != COMPONENT]
    now = measure_rows(conn, state.environment, rows, database=kept.exchange.live, rows_kept=0)
    code = measure_release(state.environment, kept.release_new, make_protection(kept.protection))
    names = [split_key(key)[1] for key in find_changed(dict(now, **code), kept.installed)]
    return [name for name in names if name not in overwrite]


def _write_cut(state, cut):
    """The cut, and the baseline that comes with it: of each promoted resource what it was before."""
    journal = state.journal()
    state_dir = os.path.dirname(state.folder)
    # A file that is missing or not to be believed leaves the promoted resources without a baseline: what both
    # sides have then is a conflict wherever they differ.
    before, promoted = (
        read_sealed(state_dir, os.path.join(state.journal(cut.kept_job).folder, name))
        for name in (BEFORE_FILE, NEXT_FILE)
    )
    known, absent = before.get("resources", {}), {"production": None, "source": None}
    changes = {key: known.get(key, absent) for key in promoted}
    write_sealed(state_dir, journal.make_path(NEXT_FILE), changes)
    durable_file.write_json(journal.make_path(CUT_FILE), dump_cut(cut))
    journal.record(STAGED, epoch=state.job.epoch)
