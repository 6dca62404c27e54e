"""Staging: all that a promotion brings, put together beside what is live; nothing live changes (spec.md §6)."""

from __future__ import annotations

import dataclasses
import os
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

from ansible_collections.pressluft.wordpress.plugins.module_utils import (
    durable_file,
    exchange,
    free_space,
    release,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.component import find_component_paths
from ansible_collections.pressluft.wordpress.plugins.module_utils.cut import PROMOTION, Cut, dump_cut
from ansible_collections.pressluft.wordpress.plugins.module_utils.cut_end import (
    CUT_FILE,
    NEXT_FILE,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import connect
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import (
    EnvironmentState,
    open_environment,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.journal import STAGED
from ansible_collections.pressluft.wordpress.plugins.module_utils.kept import drop_expired
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_config import read_node_config
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.plan_check import (
    check_plan,
    list_keys,
    make_plan,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.preflight import (
    close_access,
    run_preflight,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.progress import SILENT, open_progress
from ansible_collections.pressluft.wordpress.plugins.module_utils.refresh_peer import refuse_status
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import (
    COMPONENT,
    OPTION,
    OPTIONS_TABLE,
    TABLE,
    make_key,
    make_protection,
    split_key,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.sealed_file import write_sealed
from ansible_collections.pressluft.wordpress.plugins.module_utils.shadow import (
    fill_shadow,
    make_source_changed,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.site_measure import (
    find_changed,
    measure_release,
    measure_rows,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.stage_check import (
    check_active,
    check_names,
    check_not_cut,
    check_server_side,
    check_work,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.stream_mirror import Mirror, drop_mirror
from ansible_collections.pressluft.wordpress.plugins.module_utils.stream_peer import open_peer

KEPT_SECONDS = 7 * 24 * 3600
"""How long what is replaced is kept, unless the cut-over is asked otherwise (spec.md §1, `keep_old_release`)."""


@dataclass(frozen=True)
class _Work:
    """What staging works with: the request, the locked production, two connections, what was observed."""

    call: Any
    state: EnvironmentState
    reader: Any
    writer: Any
    plan: dict
    seen: dict
    baseline_id: str
    progress: Any

    @property
    def job_id(self):
        return self.call.job.id

    @property
    def shadow(self):
        return exchange.make_database_name(self.call.production.database, "", self.job_id)

    def digests(self, side, *kinds, named):
        """The observation's digests of one side by key: of those the plan names, or of all of these kinds."""
        keys = {key for key, _ in list_keys(self.plan)} if named else self.seen
        return {key: self.seen[key][side] for key in keys if split_key(key)[0] in kinds}


def stage(call):
    """Carry out a `stage` request (node-protocol.md): the result's `staged`. A second run finds the first."""
    defaults_file = read_node_config(call.config_dir).mysql_defaults_file
    with ExitStack() as stack:
        reader, writer = (stack.enter_context(closing(connect(defaults_file))) for _ in range(2))
        here = (call.production,) if call.peer else (call.production, call.source)
        states = [
            stack.enter_context(open_environment(call.state_dir, side, job=call.job, conn=writer))
            for side in here
        ]
        for state in states:
            check_active(state)
        peer = _open_source(call, stack) if call.peer else None
        check_not_cut(states[0])
        if not call.check_mode:
            drop_expired(states[0], writer)
        check_names(states[0])
        observation = _read_observation(call, states[0])
        seen = {make_key(found["kind"], found["name"]): found for found in observation["resources"]}
        baseline_id = (observation["baseline"] or {"id": ""})["id"]
        progress = SILENT if call.check_mode else stack.enter_context(open_progress(states[0]))
        work = _Work(call, states[0], reader, writer, make_plan(call.request), seen, baseline_id, progress)
        if peer is None:
            check_work(work, observation)
        check_server_side(work)
        staged = _find_staged(work)
        if staged is not None or call.check_mode:
            return {"staged": staged, "changed": staged is None, "node": work.state.report()}
        staged = _stage_anew(work) if peer is None else _stage_from_peer(work, observation, peer)
        return {"staged": staged, "changed": True, "node": work.state.report()}


def discard(call):
    """Drop what this job staged. Refused once its cut-over has started."""
    defaults_file = read_node_config(call.config_dir).mysql_defaults_file
    with ExitStack() as stack:
        conn = stack.enter_context(closing(connect(defaults_file)))
        state = stack.enter_context(
            open_environment(call.state_dir, call.production, job=call.job, conn=conn)
        )
        check_not_cut(state)
        staged = state.journal().has(STAGED)
        if not call.check_mode:
            _drop(conn, state, call.production)
            drop_mirror(conn, call.production, call.job.id)  # of a step that was killed
        return {"changed": staged, "node": state.report()}


def _stage_anew(work):
    """Everything from the beginning; whatever fails leaves nothing behind."""
    _drop(work.writer, work.state, work.call.production)
    try:
        detail = _put_together(work)
    except (NodeError, OSError) as error:
        _drop(work.writer, work.state, work.call.production)
        if free_space.is_full(error):
            raise free_space.make_full(str(error)) from error
        raise
    journal = work.state.journal()
    journal.record(
        STAGED, dict(detail, observation_id=work.call.request["observation_id"]), epoch=work.call.job.epoch
    )
    return detail


def _open_source(call, stack):
    """The source on the other node, locked for this step as production is here."""
    peer = stack.enter_context(open_peer(call, call.source, other=call.production))
    refuse_status(call.source, peer.ask("report")["status"], ("active",))
    return peer


def _stage_from_peer(work, observation, peer):
    """Fetch what the plan takes, stage it as if the source were here, and keep nothing of it but what was staged."""
    mirror = Mirror(peer, work.writer, local=work.call.production, call=work.call)
    options = [*work.plan["options"]["take"], *work.plan["options"]["delete"]]
    try:
        check_plan(work.plan, observation, make_protection(work.call.protection), job_id=work.call.job.id)
        sizes = mirror.open_snapshot()
        wanted = [name for name in work.plan["tables"] if name in sizes]
        peer.ask("check_tables", names=[*wanted, *([OPTIONS_TABLE] if options else [])])
        mirror.fetch_tables(wanted, sizes=sizes, progress=work.progress)
        if options:
            mirror.fetch_options(options)
        peer.ask("find_paths")  # refuses a release that holds live data
        components = work.plan["components"]["take"]
        work.progress.begin("fetch the code from the other node")
        mirror.fetch_code([path for name in components for path in find_component_paths(name)])
        here = dataclasses.replace(work, call=dataclasses.replace(work.call, source=mirror.environment))
        check_work(here, observation)
        return _stage_anew(here)
    finally:
        mirror.drop()


def _put_together(work):
    production, source, plan = work.call.production, work.call.source, work.plan
    shadow = fill_shadow(
        work.reader,
        work.writer,
        production=production,
        source=source,
        plan=plan,
        expected=work.digests("source", TABLE, OPTION, named=True),
        database=work.shadow,
        progress=work.progress,
    )
    work.progress.begin("build the release")
    release.build_release(
        production.root,
        work.job_id,
        source=source,
        components=plan["components"],
        protection=make_protection(work.call.protection),
    )
    work.progress.begin("measure what was staged")
    installed = _measure_installed(work)
    work.progress.begin("ask the new release before it is served")
    asked = run_preflight(
        work.writer,
        production,
        listen=read_node_config(work.call.config_dir).fastcgi_listen,
        release=work.job_id,
        shadow=work.shadow,
        source_url=source.url,
    )
    _write_cut(work, installed)
    components = sum(len(names) for names in plan["components"].values())
    return dict(dataclasses.asdict(shadow), components=components, release=work.job_id, preflight=asked)


def _measure_installed(work):
    """Measure what was staged; code must be the source's where the plan says so, production's everywhere else."""
    rows = [key for key, _ in list_keys(work.plan) if split_key(key)[0] != COMPONENT]
    installed = measure_rows(work.writer, work.call.production, rows, database=work.shadow)
    code = measure_release(work.call.production, work.job_id, make_protection(work.call.protection))
    named = work.digests("source", COMPONENT, named=True)
    kept = work.digests("production", COMPONENT, named=False)
    changed = find_changed(code, dict(kept, **named))
    if changed and set(changed) <= set(named):
        raise make_source_changed(changed)
    if changed:
        raise NodeError(
            "OVERWRITE_BLOCKED",
            "production's code changed after it was checked: {0}".format(", ".join(changed)),
            "Nothing live was changed. Check again: what production has now is kept.",
        )
    find_changed(installed, {})  # refuses what could not be read
    return dict(installed, **code)


def _write_cut(work, installed):
    """Write down all that whoever finishes or reverses the cut-over will need; beside it, the next baseline."""
    journal = work.state.journal()
    sources = work.digests("source", TABLE, OPTION, COMPONENT, named=True)
    changes = {
        key: {
            "production": installed[key].digest if key in installed else None,
            "evidence": installed[key].evidence if key in installed else None,
            "source": digest,
        }
        for key, digest in sources.items()
    }
    write_sealed(os.path.dirname(work.state.folder), journal.make_path(NEXT_FILE), changes)
    durable_file.write_json(journal.make_path("plan.json"), work.plan)
    durable_file.write_json(journal.make_path(CUT_FILE), dump_cut(_make_cut(work, installed)))


def _make_cut(work, installed):
    production = work.call.production
    named = [*work.plan["options"]["take"], *work.plan["options"]["delete"]]
    tables_in = [production.table(name) for name in work.plan["tables"]]
    tables_out = [
        production.table(name)
        for name in work.plan["tables"]
        if work.seen[make_key(TABLE, name)]["production"]
    ]
    options = [production.table(OPTIONS_TABLE)] if named else []
    expected = work.digests("production", TABLE, OPTION, named=True)
    return Cut(
        kind=PROMOTION,
        environment=production,
        source_id=work.call.source.id,
        source_url=work.call.source.url,
        exchange=exchange.Exchange(
            live=production.database,
            incoming=work.shadow,
            outgoing=exchange.make_database_name(production.database, "old_", work.job_id),
            tables_in=tuple(tables_in + options),
            tables_out=tuple(tables_out + options),
        ),
        options_table=options[0] if options else "",
        named_options=tuple(named),
        release_old=release.read_current(production.root),
        release_new=work.job_id,
        expected=dict(expected, **work.digests("production", COMPONENT, named=False)),
        installed={key: measure.digest for key, measure in installed.items()},
        unchecked=(),
        protection=work.call.protection,
        kept_job=(work.state.content.get("kept") or {}).get("job_id") or "",
        keep_old=KEPT_SECONDS,
        baseline_id=work.baseline_id,
    )


def _find_staged(work):
    """What an earlier run of this very request staged, if all of it is still there."""
    journal = work.state.journal()
    detail = journal.read_detail(STAGED)
    if detail.pop("observation_id", None) != work.call.request["observation_id"]:
        return None
    plan = durable_file.read_json(os.path.join(journal.folder, "plan.json"))
    cut = durable_file.read_json(os.path.join(journal.folder, CUT_FILE))
    is_whole = plan == work.plan and cut and os.path.isdir(work.call.production.release(work.job_id))
    is_filled = is_whole and set(cut["exchange"]["tables_in"]) <= exchange.fetch_tables(
        work.writer, work.shadow
    )
    return detail if is_filled else None


def _read_observation(call, state):
    observation = durable_file.read_json(os.path.join(state.journal().folder, "observation.json"))
    wanted = call.request.get("observation_id")
    if observation is not None and observation["id"] == wanted:
        return observation
    raise NodeError(
        "SOURCE_CHANGED",
        "the plan names observation {0}, the node's last one is {1}".format(
            wanted, observation["id"] if observation else None
        ),
        "Check again and plan from that.",
    )


def _drop(conn, state, production):
    """Drop this job's shadow and release, and the memory of them."""
    job_id = state.job.id
    for purpose in ("", "old_"):
        exchange.drop_database(conn, exchange.make_database_name(production.database, purpose, job_id))
    release.remove_release(production.root, job_id)
    close_access(conn, production)
    state.journal().restart()
