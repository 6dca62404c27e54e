"""A refresh: the source becomes a copy of production again, and its baseline says of what (spec.md §3).

    (status cloning) -> rows, code, files copied -> prepared -> RENAME -> link -> settled -> baseline -> recorded

Up to `prepared` only what nobody serves is made (and uploads, which a repeated refresh makes right). The baseline is
written last: between the RENAME and it the source has new data under an old baseline, which can only say `drifted`
or `conflict` too often. The other way round, a baseline of data that never arrived, would be a false `clean`. A
kill anywhere is followed by an attempt that finishes what was renamed and starts anything else over.
"""

from __future__ import annotations

from contextlib import ExitStack, closing

from ansible_collections.pressluft.wordpress.plugins.module_utils import (
    clock,
    exchange,
    free_space,
    quiet,
    release,
    reload,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.baseline import (
    advance_baseline,
    make_baseline,
    name_refresh_within,
    write_baseline,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import connect
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import open_environment
from ansible_collections.pressluft.wordpress.plugins.module_utils.exchange import Exchange
from ansible_collections.pressluft.wordpress.plugins.module_utils.health import check_health
from ansible_collections.pressluft.wordpress.plugins.module_utils.kept import drop_expired
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_config import read_node_config
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.progress import SILENT, open_progress
from ansible_collections.pressluft.wordpress.plugins.module_utils.refresh_check import (
    check_work,
    read_known,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.refresh_copy import (
    copy_data,
    copy_paths,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.refresh_peer import (
    fetch,
    open_production,
    pull_paths,
    refuse_status,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.refresh_release import (
    build_copy,
    remove_copy,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.refresh_work import (
    PROTECTED_SCOPE,
    SCOPES,
    Work,
    add_own_files,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import (
    OPTIONS_TABLE,
    Measure,
    make_protection,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.sealed_file import (
    read_sealed,
    write_sealed,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.stream_mirror import drop_mirror

JOB_TYPE = "env_refresh"
PREPARED, ADVANCED = "refresh prepared", "baseline advanced"
NEXT_FILE = "baseline-next.json"
STEPS = (
    "cloning",
    "rows copied",
    "rewritten",
    "code built",
    "files copied",
    "baseline prepared",
    "prepared",
    "renamed",
    "switched",
    "settled",
    "baseline written",
    "baseline advanced",
    "replaced dropped",
    "recorded",
    "end recorded",
)
"""The durable effects of a refresh, in their order: after any of them a kill must do no harm."""


def refresh(call, *, on_step=lambda _name: None):
    """Carry out a `refresh` request (node-protocol.md): the result's `refresh` and `health`."""
    scope = call.request.get("scope") or PROTECTED_SCOPE
    if scope not in SCOPES:
        raise NodeError("INTENT_INVALID", "{0!r} is no scope".format(scope), "Ask for protected or full.")
    config = read_node_config(call.config_dir)
    with ExitStack() as stack:
        reader, writer = (
            stack.enter_context(closing(connect(config.mysql_defaults_file))) for _side in range(2)
        )
        here = (call.source,) if call.peer else (call.source, call.production)
        states = [
            stack.enter_context(open_environment(call.state_dir, side, job=call.job, conn=writer))
            for side in here
        ]
        mirror = open_production(call, stack, writer) if call.peer else None
        work = Work(
            production=mirror.environment if mirror else call.production,
            source=call.source,
            protection=add_own_files(make_protection(call.protection)),
            scope=scope,
            must_anonymise=bool(call.request.get("anonymise")),
            state=states[0],
            reader=reader,
            writer=writer,
            config=config,
            config_dir=call.config_dir,
            known=read_known(call, scope, mirror),
            on_step=on_step,
            mirror=mirror,
            progress=SILENT if call.check_mode else stack.enter_context(open_progress(states[0])),
        )
        refuse_status(states[0].environment, states[0].status, ("active", "cloning"))
        if mirror is None:
            refuse_status(states[1].environment, states[1].status, ("active",))
        if not call.check_mode and mirror is None:
            drop_expired(states[1], writer)
        stack.enter_context(exchange.exchange_alone(writer, call.source.id))
        result = _find_result(work) or _run(work, check_mode=call.check_mode)
        return dict(result, changed=True, node=_report(call, states, mirror))


def _report(call, states, mirror):
    """A refresh within a promotion reports how production stands."""
    if call.job.type == JOB_TYPE:
        return states[0].report()
    return mirror.peer.ask("report") if mirror else states[1].report()


def _run(work, *, check_mode):
    """From wherever an earlier attempt of this job stopped, to the end."""
    is_open = _is_renamed(work)
    if check_mode:
        if work.mirror is None:  # else there is nothing here yet to be checked
            check_work(work)
        return {"refresh": None, "health": None}
    if not is_open:
        _clean_up(work)
        _prepare(work)
        _rename(work)
    return _finish(work)


def _prepare(work):
    """All that can be made without touching what the source serves. A failure leaves the source as it was."""
    journal = work.state.journal()
    work.state.record(status="cloning", refresh=work.state.job.id)
    work.on_step("cloning")
    try:
        if work.mirror:
            fetch(work)
        incoming, outgoing = check_work(work)
        copied = copy_data(work, incoming)
        if work.is_full:
            work.progress.begin("copy the code")
            ours, theirs = build_copy(work)
            copied.production.update(ours)
            copied.source.update(theirs)
        work.on_step("code built")
        work.progress.begin("copy files")
        if work.mirror:
            pull_paths(work, copied)
        else:
            copy_paths(work, copied)
        work.on_step("files copied")
        baseline = _make_baseline(work, copied)
        sides = {"production": _pack(copied.production), "source": _pack(copied.find_chunks())}
        write_sealed(work.state_dir, journal.make_path(NEXT_FILE), dict(sides, baseline=baseline))
        work.on_step("baseline prepared")
        if not work.is_full:
            _keep_quiet(work)
    except (NodeError, OSError) as error:
        _give_up(work, error)
    detail = {
        "tables_in": [work.source.table(name) for name in copied.names],
        "tables_out": [work.source.table(name) for name in outgoing if name not in copied.unchanged],
        "release_old": release.read_served(work.source.root),
        "release_new": work.release if work.is_full else "",
        "result": {
            "tables": len(copied.names),
            "rows": copied.rows,
            "files": copied.files,
            "baseline_id": baseline["id"],
            "left_alone": copied.left_alone,
        },
    }
    journal.record(PREPARED, detail, epoch=work.state.job.epoch)
    work.on_step("prepared")


def _rename(work):
    """The one moment in which the source's data changes."""
    try:
        exchange.exchange_tables(work.writer, _make_exchange(work, _read_prepared(work)))
    except NodeError as error:
        if _is_renamed(work):  # the server did it, only its answer was lost
            raise
        _give_up(work, error)
    work.on_step("renamed")


def _finish(work):
    """After the RENAME: serve the code, let nothing old be served, advance the baseline, forget the old."""
    prepared, journal = _read_prepared(work), work.state.journal()
    if prepared["release_new"]:
        release.switch_release(work.source.root, prepared["release_new"])
    work.on_step("switched")
    problems = [
        reload.reload_php(work.source.fpm_service),
        reload.flush_objects(work.source, work.config.wp_cli),
    ]
    reload.purge_pages(work.source.cache_path)
    work.on_step("settled")
    if not journal.has(ADVANCED):
        _advance(work)
        work.on_step("baseline written")
        journal.record(ADVANCED, epoch=work.state.job.epoch)
    work.on_step("baseline advanced")
    exchange.drop_database(work.writer, work.retired)
    exchange.drop_database(work.writer, work.shadow)
    drop_mirror(work.writer, work.source, work.state.job.id)
    if prepared["release_new"] and prepared["release_old"] not in ("", prepared["release_new"]):
        release.remove_release(work.source.root, prepared["release_old"])
    work.on_step("replaced dropped")
    work.state.record(
        status="active",
        last_change_at=clock.read_now(),
        current_release=release.read_served(work.source.root),
        previous_release=None,
        refresh=None,
        refreshed_with=work.addresses,
    )
    work.on_step("recorded")
    result = {"refresh": prepared["result"], "health": _check_health(work, problems)}
    if work.state.job.type == JOB_TYPE:
        journal.record_end(result)
        work.on_step("end recorded")
        work.state.finish_job()
    else:  # a promotion may refresh again
        journal.forget(PREPARED, ADVANCED)
    return result


def _advance(work):
    """Write the baseline that was prepared, in one step."""
    path = work.state.journal().make_path(NEXT_FILE)
    kept = read_sealed(work.state_dir, path)
    if not kept:
        raise NodeError(
            "DRIFT_CHECK_FAILED",
            "the prepared baseline {0} is not what was written".format(path),
            "Refresh again as a new job; until then nothing is promoted from this source.",
        )
    if work.mirror:  # the baseline lies on production's node
        work.mirror.peer.ask(
            "write_baseline", baseline=kept["baseline"], production=kept["production"], source=kept["source"]
        )
        return
    sides = {side: _unpack(kept[side]) for side in ("production", "source")}
    write_baseline(work.state_dir, work.source.id, kept["baseline"], **sides)


def _pack(measures):
    """Measures as JSON can hold them."""
    return {
        key: [measure.digest, measure.evidence and dict(measure.evidence)]
        for key, measure in measures.items()
    }


def _unpack(content):
    return {key: Measure(digest, "", evidence) for key, (digest, evidence) in content.items()}


def _make_baseline(work, copied):
    measures = {"production": copied.production, "source": copied.source}
    # Not the promotion's own id: that one marks a baseline which its cut-over has advanced.
    job_id = work.state.job.id if work.state.job.type == JOB_TYPE else name_refresh_within(work.state.job.id)
    if work.is_full:
        sides = {"production_id": work.production.id, "source_id": work.source.id}
        return make_baseline(job_id=job_id, **sides, **measures)
    names = {*copied.production, *copied.source, *filter(work.is_pulled_key, work.known["resources"])}
    return advance_baseline(work.known, names, job_id=job_id, **measures)


def _keep_quiet(work):
    """Code and options of the source stay as they are, but for what keeps a copy quiet."""
    served = work.source.release(release.read_served(work.source.root))
    quiet.install_plugin(served, production_url=work.production.url)
    quiet.hide_from_search(work.writer, work.source.database, work.source.table(OPTIONS_TABLE))


def _check_health(work, problems):
    health = check_health(work.writer, work.source, wp_cli=work.config.wp_cli)
    met = [{"name": "caches", "ok": False, "detail": problem} for problem in problems if problem]
    return {"healthy": health["healthy"] and not met, "checks": [*health["checks"], *met]}


def _read_prepared(work):
    return work.state.journal().read_detail(PREPARED)


def _make_exchange(work, prepared):
    return Exchange(
        live=work.source.database,
        incoming=work.shadow,
        outgoing=work.retired,
        tables_in=tuple(prepared["tables_in"]),
        tables_out=tuple(prepared["tables_out"]),
    )


def _is_renamed(work):
    """Whether an attempt of this job got as far as the RENAME, by the tables' own word."""
    prepared, journal = _read_prepared(work), work.state.journal()
    if not prepared or work.state.content.get("refresh") not in (work.state.job.id, None):
        return False
    if journal.has(ADVANCED):
        return True
    moved = _make_exchange(work, prepared)
    # Whatever else happened to these tables, production's are copied anew.
    return not moved.is_empty and exchange.find_position(work.writer, moved) == exchange.AFTER


def _find_result(work):
    """What this very job returned, if it was killed between its end and noting it."""
    journal = work.state.journal()
    if work.state.job.type != JOB_TYPE or journal.result is None:
        return None
    work.state.finish_job()
    return journal.result


def _clean_up(work):
    """Drop what this job, or one that never came back, made for its refresh. The memory of it goes first."""
    jobs = {work.state.job.id, work.state.content.get("refresh") or work.state.job.id}
    for job_id in sorted(jobs):
        journal = work.state.journal(job_id)
        if journal.has(PREPARED) or journal.has(ADVANCED):
            journal.forget(PREPARED, ADVANCED)
        for purpose in ("", "old_"):
            name = exchange.make_database_name(work.source.database, purpose, job_id)
            exchange.drop_database(work.writer, name)
        drop_mirror(work.writer, work.source, job_id)
    if work.is_full:
        remove_copy(work)


def _give_up(work, error):
    """Nothing that is served was changed: drop what was made, and say why."""
    _clean_up(work)
    work.state.record(status="active", refresh=None)
    if free_space.is_full(error):
        raise free_space.make_full(str(error)) from error
    raise error
