"""What staging refuses before it copies anything."""

from __future__ import annotations

from ansible_collections.pressluft.wordpress.plugins.module_utils import (
    exchange,
    free_space,
    release,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.component import find_component_paths
from ansible_collections.pressluft.wordpress.plugins.module_utils.cut_end import load_kept_cut
from ansible_collections.pressluft.wordpress.plugins.module_utils.measure import find_protected_paths
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.option_merge import check_spelling
from ansible_collections.pressluft.wordpress.plugins.module_utils.plan_check import check_plan
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import (
    OPTIONS_TABLE,
    make_protection,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.right_check import check_sight
from ansible_collections.pressluft.wordpress.plugins.module_utils.schema_check import (
    check_charsets,
    check_lengths,
    check_tables,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.server_check import check_exchange


def check_active(state):
    """Refuse an environment that is busy or failed by the node's own word."""
    if state.status != "active":
        raise NodeError(
            "ENVIRONMENT_NOT_ACTIVE",
            "{0} is {1} by the node's own word".format(state.environment.name, state.status),
            "Reset it: that finishes or undoes what is half done there.",
        )


def check_not_cut(state):
    """Refuse to prepare what has begun to go live."""
    if state.journal().cut:
        raise NodeError(
            "ANSIBLE_HOST_FAILED",
            "the cut-over of this job has started",
            "Let the job's cut_over step finish it.",
            retry=True,
        )


def check_names(state):
    """Databases carry the first digits of a job's id, which an author may choose: none may be that of a kept one."""
    kept = load_kept_cut(state)
    own = exchange.make_database_name(state.environment.database, "old_", state.job.id)
    if kept is not None and kept.exchange.outgoing == own:
        raise NodeError(
            "INTENT_INVALID",
            "job {0} would take the name of the old tables that are kept, {1}".format(state.job.id, own),
            "Give the intent another metadata.id.",
        )


def check_server_side(work):
    """Refuse a server that cannot exchange tables safely, and a login that may too little there."""
    live = work.call.production.database
    retired = exchange.make_database_name(live, "old_", work.job_id)
    check_exchange(work.writer, [live, work.shadow, retired])
    if not work.call.peer:
        check_sight(work.writer, work.call.source.database)


def check_work(work, observation):
    """Every refusal that needs no copy."""
    call = work.call
    protection = make_protection(call.protection)
    check_plan(work.plan, observation, protection, job_id=call.job.id)
    names = list(work.plan["tables"])
    options = [*work.plan["options"]["take"], *work.plan["options"]["delete"]]
    if options:
        names.append(OPTIONS_TABLE)
        check_charsets(work.writer, call.production, call.source)
        check_spelling(work.writer, call.production.database, call.production.table(OPTIONS_TABLE), options)
    check_lengths(call.production, names)
    for side in (call.production, call.source):
        check_tables(work.writer, side, names)
    for side in (call.production, call.source):
        if side is call.production or not call.peer:
            release.read_current(side.root)
        release.check_links(side.current, find_protected_paths(side, protection.protected_paths))
    paths = [path for name in work.plan["components"]["take"] for path in find_component_paths(name)]
    needs = free_space.measure_needs(
        work.writer,
        call.production,
        call.source,
        tables=work.plan["tables"],
        components=paths,
        state_dir=work.state.folder,
    )
    free_space.check_space(needs)
