"""A Reset: what an earlier job left half done is finished or undone, then the environment proves itself (spec.md §5).

    (failed) -> open cut-over finished or reversed, refresh told by its tables -> one release -> healthy -> active

Nothing is promoted and nothing is thrown away that somebody serves: a cut-over goes on by its own code, a refresh that
exchanged its tables gets its link, and one that did not is left for the next refresh to begin anew. Only an environment
whose tables and code are one release, and that is healthy, is `active` again; any other stays `failed`.
"""

from __future__ import annotations

import os
from contextlib import closing

from ansible_collections.pressluft.wordpress.plugins.module_utils import exchange, refresh, release, reload
from ansible_collections.pressluft.wordpress.plugins.module_utils.cut_end import load_kept_cut
from ansible_collections.pressluft.wordpress.plugins.module_utils.cut_over import resume_cut, run_program
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import connect
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import (
    Job,
    make_environment_folder_path,
    make_job_folder_path,
    open_environment,
    read_finished,
    read_state,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.health import (
    check_health,
    describe_failures,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.journal import read_journal
from ansible_collections.pressluft.wordpress.plugins.module_utils.kept import drop_expired
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_config import read_node_config
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError


def reset(call):
    """Carry out a `reset` request (node-protocol.md): the result's `reset` and `health`.

    Raises `NodeError`: `ROLLBACK_FAILED` where tables and code are not one release, `HEALTH_CHECK_FAILED` where they
    are but the site is not healthy. Safe to repeat; the environment stays `failed` until it succeeds.
    """
    environment = call.environment or call.production
    config = read_node_config(call.config_dir)
    resumed = [] if call.check_mode else _end_open_cuts(call, environment)
    with closing(connect(config.mysql_defaults_file)) as conn:
        opened = open_environment(call.state_dir, environment, job=call.job, conn=conn)
        with opened as state, exchange.exchange_alone(conn, environment.id):
            if not call.check_mode:
                drop_expired(state, conn)
                _end_refresh(state, conn)
            served = _check_one_release(state, conn)
            problem = "" if call.check_mode else reload.reload_php(environment.fpm_service)
            health = check_health(conn, environment, wp_cli=config.wp_cli)
            _check_healthy(health, problem)
            found = {"reset": {"resumed": resumed, "release": served}, "health": health}
            if not call.check_mode:
                state.record(status="active")
                if call.request.get("is_last", True):  # of a whole site, any may have to be asked again
                    state.journal().record_end(found)
                    state.finish_job()
            return dict(found, changed=True, node=state.report())


def find_open_cuts(folder):
    """The jobs whose cut-over began here and came to no end, also those that wait for a person. Needs no lock."""
    jobs = os.path.join(folder, "jobs")
    finished, epochs = read_finished(folder), dict(read_state(folder)["epochs"])
    found = []
    for job_id in sorted(os.listdir(jobs)) if os.path.isdir(jobs) else []:
        noted = read_journal(make_job_folder_path(folder, job_id)) or {"cut": {}}
        if noted["cut"].get("state") is not None and job_id not in finished:
            epoch = max(int(epochs.get(job_id, 0)), int(noted["epoch"]))
            # One higher: nobody else may go on with it from here.
            found.append(Job(job_id, epoch + 1, noted["type"], "cut_over"))
    return found


def _end_open_cuts(call, environment):
    """Let each open cut-over go on to one of its ends. Raises what keeps it from that."""
    folder = make_environment_folder_path(call.state_dir, environment.id)
    jobs = find_open_cuts(folder)
    for job in jobs:
        run_program(call.state_dir, call.config_dir, environment.id, job=job, run=resume_cut)
    return [job.id for job in jobs]


def _end_refresh(state, conn):
    """A refresh that was left: its tables say whether it happened. Then its code is served, else nothing is.

    The baseline may be older than what was pulled: that can only say `drifted` too often (refresh.py).
    """
    job_id = state.content.get("refresh")
    prepared = state.journal(job_id).read_detail(refresh.PREPARED) if job_id else None
    if not prepared:
        return
    moved = exchange.Exchange(
        live=state.environment.database,
        incoming=exchange.make_database_name(state.environment.database, "", job_id),
        outgoing=exchange.make_database_name(state.environment.database, "old_", job_id),
        tables_in=tuple(prepared["tables_in"]),
        tables_out=tuple(prepared["tables_out"]),
    )
    position = exchange.BEFORE if moved.is_empty else exchange.find_position(conn, moved)
    if position == exchange.MIXED:
        raise _make_split("its tables are neither before nor after the refresh of job {0}".format(job_id))
    if not prepared["release_new"]:
        return
    unserved = prepared["release_new"]
    if position == exchange.AFTER:
        release.switch_release(state.environment.root, prepared["release_new"])
        unserved = prepared["release_old"]
    if unserved:
        release.remove_release(state.environment.root, unserved)


def _check_one_release(state, conn):
    """The release that is served, if the tables are those that came with it."""
    served = release.read_served(state.environment.root)
    recorded, kept = state.content.get("current_release"), load_kept_cut(state)
    if not served:
        raise _make_split("no release is served")
    if kept is None or state.content.get("cut") != state.content["kept"]["job_id"]:
        return served
    if served != recorded:
        raise _make_split("release {0} is served, but {1} was installed".format(served, recorded))
    if not kept.exchange.is_empty and exchange.find_position(conn, kept.exchange) != exchange.AFTER:
        raise _make_split("the tables of release {0} are not all there".format(served))
    return served


def _check_healthy(health, problem):
    failed = "; ".join(part for part in (describe_failures(health["checks"]), problem) if part)
    if failed:
        raise NodeError(
            "HEALTH_CHECK_FAILED",
            "the site is not healthy: {0}".format(failed),
            "The environment stays failed. Correct what is named, or restore a backup, then reset again.",
            partial={"health": health},
        )


def _make_split(what):
    return NodeError(
        "ROLLBACK_FAILED",
        "tables and code are not one release: {0}".format(what),
        "The environment stays failed. Put back what was moved by hand, or restore a backup, then reset again.",
    )
