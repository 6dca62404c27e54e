"""The single effects of a cut-over, each safe to repeat; `cut_over` says in which order."""

from __future__ import annotations

import dataclasses
import os
import time
from dataclasses import dataclass
from typing import Any, Callable

from ansible_collections.pressluft.wordpress.plugins.module_utils import exchange, place, release, reload
from ansible_collections.pressluft.wordpress.plugins.module_utils.cut import RESTORE, ROLLBACK
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import EnvironmentState
from ansible_collections.pressluft.wordpress.plugins.module_utils.free_space import is_full
from ansible_collections.pressluft.wordpress.plugins.module_utils.health import (
    Reference,
    check_health,
    take_reference,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.localise import find_changed_keys
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.option_merge import (
    carry_kept_rows,
    copy_kept_rows,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import (
    COMPONENT,
    OPTION,
    TABLE,
    make_protection,
    split_key,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.saved_row import (
    save_changed_rows,
    save_options,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.site_measure import (
    find_changed,
    measure_release,
    measure_rows,
)


@dataclass(frozen=True)
class Bench:
    """What a cut-over works with: the locked environment, a connection, WP-CLI's path.

    `on_step` is called with a step's name right after each durable effect.
    """

    state: EnvironmentState
    conn: Any
    wp_cli: str
    on_step: Callable[[str], None]

    @property
    def journal(self):
        """The journal of the job that cuts over."""
        return self.state.journal()


def verify_production(bench, cut):
    """Refuse to go on when what is to be replaced is no longer what was observed; return its measures.

    Code is compared as a whole: the new release was made from it, so a component that production got since
    would be lost. A restore replaces whatever there is; only what it moves must still be where it was found.
    Raises `NodeError` `OVERWRITE_BLOCKED` that names what changed.
    """
    if cut.kind == RESTORE:
        return _verify_places(cut)
    rows = [key for key in cut.expected if split_key(key)[0] in (TABLE, OPTION)]
    measures = measure_rows(bench.conn, cut.environment, rows, database=cut.exchange.live)
    code = measure_release(cut.environment, cut.release_old, make_protection(cut.protection))
    expected_code = {key: digest for key, digest in cut.expected.items() if split_key(key)[0] == COMPONENT}
    expected_rows = {key: cut.expected[key] for key in rows}
    changed = find_changed(measures, expected_rows) + find_changed(code, expected_code)
    changed = [key for key in changed if split_key(key)[1] not in cut.unchecked]
    if changed or release.read_current(cut.environment.root) != cut.release_old:
        names = ", ".join(changed) or "the current release"
        raise NodeError(
            "OVERWRITE_BLOCKED",
            "production changed while the {0} was prepared: {1}".format(cut.kind, names),
            _make_remedy(cut),
        )
    return measures


def _verify_places(cut):
    moved = [found.live for found in cut.places if not place.is_as_found(found)]
    if release.read_served(cut.environment.root) != cut.release_old:
        moved.append(cut.environment.current)
    if moved:
        raise NodeError(
            "OVERWRITE_BLOCKED",
            "somebody replaced these while the restore was prepared: {0}".format(", ".join(moved)),
            "Nothing was changed. Let nobody work on the site's folders meanwhile, then restore again.",
        )
    return {}


def take_look(cut):
    """What the pages show before the cut-over, as JSON. What a restore replaces excuses nothing: it may be broken."""
    if cut.kind == RESTORE:
        return dataclasses.asdict(Reference())
    return dataclasses.asdict(take_reference(cut.environment, cut.source_url))


def prepare_tables(bench, cut):
    """Bring what comes up to date: kept option rows, and numbers that were given meanwhile."""
    if cut.options:
        copy_kept_rows(bench.conn, cut.options)
    both = set(cut.exchange.tables_in) & set(cut.exchange.tables_out)
    exchange.raise_auto_increment(bench.conn, both, of=cut.exchange.live, to=cut.exchange.incoming)
    exchange.create_database(bench.conn, cut.exchange.outgoing, like=cut.exchange.live)
    if cut.kind != RESTORE:
        _carry_files(cut, live=cut.release_old, to=cut.release_new)


def switch_all(bench, cut):
    """The RENAME and, right after it, the link. Returns milliseconds: of the RENAME, and between both."""
    rename_ms = exchange.exchange_tables(bench.conn, cut.exchange)
    renamed = time.monotonic()
    bench.on_step("renamed")
    switch_files(bench, cut)
    return {"rename_ms": round(rename_ms, 3), "gap_ms": round((time.monotonic() - renamed) * 1000, 3)}


def switch_files(bench, cut):
    """Bring in what no release owns, and serve the new release. Safe to repeat."""
    for found in cut.places:
        place.put_in(found)
        bench.on_step("place exchanged")
    release.switch_release(cut.environment.root, cut.release_new)


def settle_site(bench, cut, options):
    """After either switch: PHP anew, late option rows carried, caches emptied. Returns rows and problems."""
    problems = [reload.reload_php(cut.environment.fpm_service)]
    bench.on_step("reloaded")
    carried = carry_kept_rows(bench.conn, options) if options else 0
    bench.on_step("carried")
    problems.append(reload.flush_objects(cut.environment, bench.wp_cli))
    reload.purge_pages(cut.environment.cache_path)
    bench.on_step("purged")
    return {"carried_options": carried, "problems": [problem for problem in problems if problem]}


def check_site(bench, cut, noted):
    """The site's health with what reloading and purging met; `noted` is the journal's cut."""
    reference = Reference(**noted["reference"]) if noted.get("reference") else None
    health = check_health(
        bench.conn, cut.environment, wp_cli=bench.wp_cli, source_url=cut.source_url, reference=reference
    )
    problems = noted.get("problems") or []
    health["checks"] += [{"name": "caches", "ok": False, "detail": problem} for problem in problems]
    return dict(health, healthy=health["healthy"] and not problems)


def turn_back(bench, cut):
    """Undo `switch_all` with all that visitors wrote into kept options meanwhile. Safe to repeat."""
    conn, moved = bench.conn, cut.exchange
    if exchange.find_position(conn, moved) == exchange.AFTER:
        if cut.options:
            carry_kept_rows(conn, cut.options)
            copy_kept_rows(conn, cut.options_back)
        both = set(moved.tables_in) & set(moved.tables_out)
        exchange.raise_auto_increment(conn, both, of=moved.live, to=moved.outgoing)
        bench.on_step("prepared back")
        exchange.reverse_tables(conn, moved)
    bench.on_step("renamed back")
    _turn_files_back(bench, cut)
    bench.on_step("switched back")


def _turn_files_back(bench, cut):
    for found in cut.places:
        place.put_back(found)
        bench.on_step("place put back")
    root = cut.environment.root
    if cut.kind != RESTORE and release.read_current(root) == cut.release_new:
        _carry_files(cut, live=cut.release_new, to=cut.release_old)
    if cut.release_old:
        release.switch_release(root, cut.release_old)
    else:
        release.serve_nothing(root)


def is_back(bench, cut):
    """Whether tables, places and the link are what they were before, whatever else there is to do."""
    tables_are = cut.exchange.is_empty or exchange.find_position(bench.conn, cut.exchange) == exchange.BEFORE
    places_are = all(place.find_position(found) == exchange.BEFORE for found in cut.places)
    return tables_are and places_are and release.read_served(cut.environment.root) == cut.release_old


def find_late_writes(bench, cut, measures, *, database):
    """Which tables were written after `measures`: `[{table, rows}]`, rows up to 20, `database` is where they are."""
    now = measure_rows(bench.conn, cut.environment, list(measures), database=database, rows_kept=0)
    written = []
    for key in find_changed(now, {key: measure.digest for key, measure in measures.items()}):
        kind, name = split_key(key)
        evidence = measures[key].evidence
        if kind == TABLE and evidence:
            table = cut.environment.table(name)
            rows = find_changed_keys(bench.conn, database, table, evidence=evidence)
            written.append({"table": name, "rows": len(rows), "samples": rows})
        else:
            written.append({"table": name if kind == TABLE else "options", "rows": 1, "samples": [name]})
    return written


def save_writes(bench, cut, database, *, since):
    """Keep what was written to the tables that go, in files beside the journal. Returns what the journal notes.

    `since` are measures by key, as these were when nobody had written yet. `saved` are the keys of what was
    written. Where the disk is full the tables must stay: then `unsaved` names their database and why.
    """
    keys = [key for key in since if split_key(key)[0] in (TABLE, OPTION)]
    present = exchange.fetch_tables(bench.conn, database)
    keys = [key for key in keys if _table_of(cut, key) in present]
    now = measure_rows(bench.conn, cut.environment, keys, database=database, rows_kept=0)
    changed = find_changed(now, {key: since[key].digest for key in keys})
    try:
        _save_changed(bench, cut, database, {key: since[key] for key in changed})
    except (NodeError, OSError) as error:
        if not is_full(error):
            raise
        return {"saved": [], "unsaved": {"database": database, "reason": str(error)}}
    return {"saved": changed, "unsaved": None}


def _save_changed(bench, cut, database, changed):
    folder = bench.journal.make_path("saved")
    names = [split_key(key)[1] for key in changed if split_key(key)[0] == OPTION]
    if names:
        path = os.path.join(folder, cut.options_table + ".jsonl.gz")
        save_options(bench.conn, database, cut.options_table, path, names=names)
    for key, measure in changed.items():
        if split_key(key)[0] == TABLE:
            table = _table_of(cut, key)
            path = os.path.join(folder, table + ".jsonl.gz")
            save_changed_rows(bench.conn, database, table, path, evidence=measure.evidence)


def _carry_files(cut, *, live, to):
    """Preserved files are edited in the release that is served, until the very switch."""
    patterns = make_protection(cut.protection).preserved_files
    release.carry_kept_files(cut.environment.root, patterns, live=live, to=to)


def _table_of(cut, key):
    kind, name = split_key(key)
    return cut.environment.table(name) if kind == TABLE else cut.options_table


def _make_remedy(cut):
    if cut.kind == ROLLBACK:
        return "Look at what was written; name it in the intent's overwrite if it may be lost."
    return "Nothing was changed. Check the drift again; what production has now must be merged or refreshed first."
