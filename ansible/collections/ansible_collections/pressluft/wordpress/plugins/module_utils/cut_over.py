"""The cut-over: from wherever it stands to one of its two ends (design §5).

    (staged) -> started -> [RENAME, link] -> switched -> reload, carry, purge, health -> healthy
                   |                                                              \\-> reversed
                   \\-> given up: nothing was changed

Where it stands is never taken from the journal alone: the tables and the link say it themselves. Every line of the
picture may be the last before a kill -9; whoever comes next goes on from there.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from contextlib import closing

from ansible_collections.pressluft.wordpress.plugins.module_utils import (
    clock,
    durable_file,
    exchange,
    release,
    reserve,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.cut import RESTORE, load_cut
from ansible_collections.pressluft.wordpress.plugins.module_utils.cut_end import (
    CUT_FILE,
    end_healthy,
    end_reversed,
    give_up,
    save_measures,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.cut_step import (
    Bench,
    check_site,
    is_back,
    prepare_tables,
    settle_site,
    switch_all,
    switch_files,
    take_look,
    turn_back,
    verify_production,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import DatabaseError, connect
from ansible_collections.pressluft.wordpress.plugins.module_utils.detached import read_log, start_program
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import (
    Job,
    make_environment_folder_path,
    make_job_folder_path,
    open_environment,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment_lock import take_lock
from ansible_collections.pressluft.wordpress.plugins.module_utils.journal import (
    ENDED_CUTS,
    HEALTHY,
    STAGED,
    STARTED,
    SWITCHED,
    read_journal,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_config import read_node_config
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError

_PROGRAM_STARTS = 3
_FOLLOW_SECONDS = 6 * 3600.0
_FORESEEN = (NodeError, OSError)
_CONNECTIONS, _RECONNECT_SECONDS = 20, 3.0


def run_cut(bench, cut):
    """Carry the cut-over out, or on. How it ended is in the journal; raises only what leaves that open."""
    _drive(bench, cut, go_forward=_go_forward)


def resume_cut(bench, cut):
    """Finish or reverse a half-done cut-over, without anybody asking for it: boot, or a program that was killed.

    One that has not touched anything live is given up rather than begun: nobody may be waiting for it any more.
    """
    if bench.journal.cut.get("state") is not None:
        _drive(bench, cut, go_forward=_abandon)


def cut_over(call):
    """Carry out a `cut_over` request (node-protocol.md): the result's `cut_over` and `health`."""
    if call.check_mode:
        return {"changed": True}
    return dict(run_cut_over(call, call.production or call.environment), changed=True)


def run_cut_over(call, environment):
    """Start the detached program, or find the one that runs, and return what it ended with.

    `environment` is what the job cuts over. A job that ended returns its result again. Raises `NodeError` with
    the job's own error, `node` and results with it.
    """
    for _ in range(_PROGRAM_STARTS):
        ended = _read_end(call, environment)
        if ended is None:
            _start_and_follow(call, environment)
            ended = _read_end(call, environment)
        if ended is not None:
            return ended
    raise NodeError(
        "ANSIBLE_HOST_FAILED",
        "the cut-over program ended {0} times without a word: {1}".format(
            _PROGRAM_STARTS, read_log(_make_job_folder(call, environment)) or "it left no message"
        ),
        "Correct what the message names on the node; the job is resumed from its journal.",
        retry=True,
    )


def has_ended(call, environment):
    """Whether this job's cut-over came to one of its two ends already."""
    noted = read_journal(_make_job_folder(call, environment)) or {"cut": {}}
    return noted["cut"].get("state") in ENDED_CUTS


def main(arguments):
    """The detached program: hold the lock that was handed down, and run."""
    parser = argparse.ArgumentParser()
    for name in ("--state-dir", "--config-dir", "--environment", "--job", "--type", "--step"):
        parser.add_argument(name, required=True)
    parser.add_argument("--epoch", type=int, required=True)
    parser.add_argument("--lock", type=int, default=None)
    parser.add_argument("--resume", action="store_const", const=resume_cut, default=run_cut)
    given = parser.parse_args(arguments)
    job = Job(given.job, given.epoch, given.type, given.step)
    try:
        run_program(
            given.state_dir, given.config_dir, given.environment, job=job, lock=given.lock, run=given.resume
        )
    except _FORESEEN as error:
        sys.stderr.write("{0}\n".format(_as_node_error(error).message))  # whoever follows reads it in the log
        return 1
    return 0


def make_arguments(state_dir, config_dir, environment_id, *, job):
    """The words that `main` takes, without the lock's descriptor."""
    given = {
        "--state-dir": state_dir,
        "--config-dir": config_dir,
        "--environment": environment_id,
        "--job": job.id,
        "--type": job.type,
        "--step": job.step,
        "--epoch": str(job.epoch),
    }
    return [word for pair in given.items() for word in pair]


def run_program(state_dir, config_dir, environment_id, *, job, lock=None, run=run_cut, on_step=None):
    """Open the environment of a staged cut-over and `run` it: `run_cut`, or `resume_cut` for a recovery.

    A database server that goes away is waited for, a minute at most: it may be restarting.
    """
    folder = make_job_folder_path(make_environment_folder_path(state_dir, environment_id), job.id)
    cut = load_cut(durable_file.read_json(os.path.join(folder, CUT_FILE)))
    config = read_node_config(config_dir)
    for attempt in range(_CONNECTIONS):
        if attempt:
            time.sleep(_RECONNECT_SECONDS)
        try:
            with closing(connect(config.mysql_defaults_file)) as conn:
                handed = None if lock is None else os.dup(lock)
                opened = open_environment(
                    state_dir, cut.environment, job=job, conn=conn, lock_descriptor=handed
                )
                with opened as state:
                    run(Bench(state, conn, config.wp_cli, on_step or _ignore), cut)
        except DatabaseError:
            if attempt == _CONNECTIONS - 1:
                raise
        else:
            return


def _drive(bench, cut, *, go_forward):
    journal = bench.journal
    if journal.cut.get("state") in ENDED_CUTS and journal.result is not None:
        bench.state.finish_job()
        return
    with exchange.exchange_alone(bench.conn, cut.environment.id):
        try:
            if journal.cut.get("given_up"):
                give_up(bench, cut, journal.cut["given_up"])
            elif not _is_untouched(bench, cut) or go_forward(bench, cut):
                _finish(bench, cut)
        except NodeError as error:
            if error.code == "ROLLBACK_FAILED":
                _record_failure(bench, error)
            raise


def _abandon(bench, cut):
    """Nothing live was changed, and nothing will be. Always False: there is nothing to finish."""
    error = NodeError(
        "ANSIBLE_HOST_FAILED",
        "the {0} was interrupted before it changed anything".format(cut.kind),
        "Run the job again.",
        retry=True,
    )
    give_up(bench, cut, error.as_result())
    return False


def _go_forward(bench, cut):
    """Up to the switch. False when it was given up: then the journal says why."""
    journal = bench.journal
    journal.record_cut(state=STARTED, started_at=clock.read_now())
    bench.state.set_status("restoring" if cut.kind == RESTORE else "deploying")
    bench.on_step("started")
    try:
        journal.record_cut(reference=take_look(cut))
        save_measures(journal, verify_production(bench, cut))
        bench.on_step("verified")
        prepare_tables(bench, cut)
        bench.on_step("prepared")
        journal.record_cut(**switch_all(bench, cut))
    except _FORESEEN as error:
        # The answer to a RENAME may be lost with the connection: only the tables know. If even they cannot be
        # asked, this raises, and the journal stays at `started` for whoever comes next.
        if _is_untouched(bench, cut):
            give_up(bench, cut, _as_node_error(error).as_result())
            return False
    return True


def _finish(bench, cut):
    """From the switch to either end."""
    if bench.journal.cut.get("verdict") is None:
        _judge(bench, cut)
    if bench.journal.cut["verdict"] == HEALTHY:
        end_healthy(bench, cut)
        return
    try:
        if "saved" not in bench.journal.cut:
            turn_back(bench, cut)
            settled = settle_site(bench, cut, cut.options_back)
            bench.journal.record_cut(problems_back=settled["problems"])
        end_reversed(bench, cut)
    except DatabaseError:
        raise  # the server may come back, and then this goes on
    except _FORESEEN as error:
        what = "the old one could not be brought back"
        if is_back(bench, cut):
            what = "the old one is back, but what was written meanwhile could not be set aside"
        raise NodeError(
            "ROLLBACK_FAILED",
            "the new release is not healthy; {0}: {1}".format(what, error),
            "Correct what the message names, then reset the environment: that goes on where this stopped.",
        ) from error


def _judge(bench, cut):
    """Settle what was switched and write the verdict down. A step that fails is a verdict too."""
    journal = bench.journal
    try:
        switch_files(bench, cut)
        if journal.cut.get("state") != SWITCHED:
            journal.record_cut(state=SWITCHED, switched_at=clock.read_now())
        bench.on_step("switched")
        settled = settle_site(bench, cut, cut.options)
        journal.record_cut(
            carried_options=settled["carried_options"] or journal.cut.get("carried_options") or 0,
            problems=settled["problems"],
        )
        health = check_site(bench, cut, journal.cut)
    except _FORESEEN as error:
        check = {"name": "cut-over", "ok": False, "detail": _as_node_error(error).message}
        health = {"healthy": False, "checks": [check]}
    if health["healthy"]:
        journal.record_cut(state=HEALTHY, verdict=HEALTHY, health=health)
    else:
        journal.record_cut(verdict="unhealthy", health=health)
    bench.on_step("judged")


def _is_untouched(bench, cut):
    """Whether nothing live was changed yet, by the tables' and the link's own word."""
    if bench.journal.cut.get("verdict") is not None:
        return False
    if cut.exchange.is_empty:
        return release.read_current(cut.environment.root) != cut.release_new
    position = exchange.find_position(bench.conn, cut.exchange)
    if position == exchange.MIXED:
        raise NodeError(
            "ROLLBACK_FAILED",
            "the tables of {0} and {1} are neither before nor after the exchange".format(
                cut.exchange.incoming, cut.exchange.outgoing
            ),
            "Somebody moved tables by hand: put them back, or restore the environment from its backup.",
        )
    return position == exchange.BEFORE


def _record_failure(bench, error):
    """Neither old nor new: the journal stays open, for a Reset to go on with."""
    bench.state.set_status("failed")
    bench.journal.record_end({"health": bench.journal.cut.get("health")}, error.as_result())


def _as_node_error(error):
    if isinstance(error, NodeError):
        return error
    return NodeError(
        "ANSIBLE_HOST_FAILED", "{0}".format(error), "Correct what the message names, then run the job again."
    )


def _start_and_follow(call, environment):
    """Start the program unless the job has ended by the time the lock is ours, and wait until it has."""
    config = read_node_config(call.config_dir)
    with closing(connect(config.mysql_defaults_file)) as conn:
        opened = open_environment(
            call.state_dir, environment, job=call.job, conn=conn, lock_wait=_FOLLOW_SECONDS
        )
        try:
            with opened as state:
                _check_ready(state)
                _note_keeping(state, call.request.get("keep_old_release"))
                reserve.set_aside(state.folder)
                arguments = make_arguments(call.state_dir, call.config_dir, environment.id, job=call.job)
                start_program(state.journal(), "cut_over", arguments, lock=state.lock)
        except NodeError as error:
            if error.code == "JOB_FINISHED":
                return  # another program ended it while we waited for the lock
            raise
    # The program holds the lock now: when it can be had, the program has ended, however it did.
    folder = make_environment_folder_path(call.state_dir, environment.id)
    with take_lock(folder, call.job, wait=_FOLLOW_SECONDS):
        pass


def _read_end(call, environment):
    """What the job ended with, None while it has not. Raises the error that it ended with."""
    noted = read_journal(_make_job_folder(call, environment)) or {}
    if noted.get("error"):
        raise NodeError(partial=noted["result"], **noted["error"])
    return noted.get("result")


def _check_ready(state):
    journal = state.journal()
    if not journal.has(STAGED):
        raise NodeError(
            "ANSIBLE_HOST_FAILED", "nothing is staged for this job", "Run the job from its check.", retry=True
        )
    if not journal.cut and state.status != "active":
        raise NodeError(
            "ENVIRONMENT_NOT_ACTIVE",
            "the environment is {0} by the node's own word".format(state.status),
            "Reset it: that finishes or undoes what is half done there.",
        )


def _note_keeping(state, seconds):
    """How long what is replaced is kept is asked for only now, with the policy of this moment."""
    path = os.path.join(state.journal().folder, CUT_FILE)
    content = durable_file.read_json(path)
    if seconds is not None and not state.journal().cut and content["keep_old"] != int(seconds):
        durable_file.write_json(path, dict(content, keep_old=int(seconds)))


def _make_job_folder(call, environment):
    return make_job_folder_path(make_environment_folder_path(call.state_dir, environment.id), call.job.id)


def _ignore(_step):
    """What production does at each step: nothing."""
