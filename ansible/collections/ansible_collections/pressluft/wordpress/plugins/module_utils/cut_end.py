"""How a cut-over ends: the new release stays, the old one is back, or nothing was ever changed. Safe to repeat."""

from __future__ import annotations

import contextlib
import json
import os
from datetime import datetime, timedelta, timezone

from ansible_collections.pressluft.wordpress.plugins.module_utils import (
    clock,
    durable_file,
    exchange,
    place,
    release,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.baseline import (
    advance_baseline,
    read_baseline,
    write_baseline,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.cut import (
    PROMOTION,
    RESTORE,
    ROLLBACK,
    load_cut,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.cut_step import (
    check_site,
    find_late_writes,
    save_writes,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import (
    make_environment_folder_path,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment_lock import take_lock
from ansible_collections.pressluft.wordpress.plugins.module_utils.health import describe_failures
from ansible_collections.pressluft.wordpress.plugins.module_utils.journal import REVERSED
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import Measure
from ansible_collections.pressluft.wordpress.plugins.module_utils.saved_file import save_files
from ansible_collections.pressluft.wordpress.plugins.module_utils.sealed_file import (
    read_sealed,
    write_sealed,
)

RESTORED_FILE = "baseline-restored.json"
"""The baseline that a copy's backup held, beside the journal of its restore."""
CUT_FILE, MEASURED_FILE, NEXT_FILE = "cut.json", "measured.json", "baseline-next.json"
BEFORE_FILE = "baseline-before.json"
_SOURCE_LOCK_SECONDS = 60.0


def end_healthy(bench, cut):
    """Make the new release the site's: baseline, records, and what is no longer needed goes."""
    journal, outgoing = bench.journal, cut.exchange.outgoing
    if "late_writes" not in journal.cut:
        measures = load_measures(journal)
        written = find_late_writes(bench, cut, measures, database=outgoing)
        since = measures
        if cut.kind != PROMOTION:  # all that nothing else holds
            since = load_installed(bench, cut) if cut.kind == ROLLBACK else _make_measures(cut.expected)
        noted = save_writes(bench, cut, outgoing, since=since)
        noted["saved"] += save_late_files(cut, journal, since=_find_backup_time(bench))
        journal.record_cut(late_writes=written, **noted)
    baseline_id = advance_memory(bench, cut)
    bench.on_step("baseline advanced")
    _record_release(bench, cut)
    bench.on_step("release recorded")
    _drop_what_is_replaced(bench, cut)
    bench.on_step("replaced dropped")
    noted = journal.cut
    report = dict(_make_report(noted), baseline=_name_baseline(cut, baseline_id))
    journal.record_end({"cut_over": report, "health": noted["health"]})
    bench.on_step("end recorded")
    bench.state.finish_job()


def end_reversed(bench, cut):
    """Record that production is what it was, or that it is not: then the environment is `failed`."""
    journal = bench.journal
    if "saved" not in journal.cut:
        since = load_installed(bench, cut) if cut.is_staged else {}
        noted = save_writes(bench, cut, cut.exchange.incoming, since=since)
        noted["saved"] += save_late_files(cut, journal, since=journal.cut.get("switched_at"))
        health = check_site(bench, cut, {"problems": journal.cut.get("problems_back")})
        journal.record_cut(health_after=health, **noted)
    bench.on_step("writes saved")
    noted = journal.cut
    status = "active" if noted["health_after"]["healthy"] else "failed"
    bench.state.record(status=status, last_change_at=clock.read_now())
    exchange.drop_database(bench.conn, cut.exchange.outgoing)
    if cut.is_staged:
        drop_staged(bench, cut)
    bench.on_step("staged dropped")
    journal.record_cut(state=REVERSED)
    error = make_unhealthy(cut, noted)
    health = {name: noted[name] for name in ("health", "health_after")}
    journal.record_end(dict(health, cut_over=_make_report(noted)), error.as_result())
    bench.on_step("end recorded")
    bench.state.finish_job()


def give_up(bench, cut, error):
    """Nothing live was changed: drop what was staged and leave the job as if it had never been staged.

    `error` is the `pressluft_error` to end with. It is written down first: once the shadow is gone, the tables
    no longer say that nothing was exchanged.
    """
    bench.journal.record_cut(given_up=error)
    bench.on_step("giving up")
    if cut.is_staged:
        drop_staged(bench, cut)
    exchange.drop_database(bench.conn, cut.exchange.outgoing)
    bench.on_step("staged dropped")
    bench.state.set_status("active")
    journal = bench.journal
    journal.restart()
    journal.record_end({}, error)


def drop_staged(bench, cut):
    """Drop a release that nobody serves, the boxes of places, and a shadow unless it alone holds late writes."""
    if not bench.journal.cut.get("unsaved"):
        exchange.drop_database(bench.conn, cut.exchange.incoming)
    release.remove_release(cut.environment.root, cut.release_new)
    drop_boxes(cut)


def drop_boxes(cut):
    """Delete what waits beside the places: what did not come in, or what was replaced."""
    for box in sorted({found.box for found in cut.places}):
        place.drop_box(box)


def make_unhealthy(cut, noted):
    """The error of a cut-over that was reversed; `noted` is the journal's cut."""
    failed = describe_failures(noted["health"]["checks"])
    back = "The old release is back and healthy."
    if not noted["health_after"]["healthy"]:
        back = "The old release is back but is not healthy either, so the environment is failed."
    next_step = "Correct it on the source and promote again"
    if cut.kind == RESTORE:
        next_step = (
            "Correct what the checks say, such as a database password that changed, or restore another backup"
        )
    return NodeError(
        "HEALTH_CHECK_FAILED",
        "after the {0} the site was not healthy: {1}. {2}".format(cut.kind, failed, back),
        "{0}; {1}".format(next_step, _tell_writes(noted.get("unsaved"))),
    )


def _tell_writes(unsaved):
    if not unsaved:
        return "what visitors wrote meanwhile is in the job's folder saved/."
    return (
        "what visitors wrote meanwhile could not be set aside ({0}), so it is still in the database {1}: take from it"
        " what is wanted, then drop it.".format(unsaved["reason"], unsaved["database"])
    )


def advance_memory(bench, cut):
    """Set the source's baseline of what was promoted to what was installed (of a rollback: as it was before).

    Returns the id it then has, None where there is none that could be advanced: one that is not `cut.baseline_id`
    stays as it is, and goes on to be refused.
    """
    if cut.kind == RESTORE:
        return _restore_memory(bench, cut)
    state_dir = os.path.dirname(bench.state.folder)
    folder = make_environment_folder_path(state_dir, cut.source_id)
    if not os.path.isdir(folder):
        return None
    changes = read_sealed(state_dir, os.path.join(bench.journal.folder, NEXT_FILE))
    with take_lock(folder, bench.state.job, wait=_SOURCE_LOCK_SECONDS):
        before = _read_advanceable(state_dir, cut)
        if before is None or before["job_id"] == bench.state.job.id:
            return before and before["id"]
        if cut.baseline_id and before["id"] != cut.baseline_id:
            return None
        write_sealed(state_dir, bench.journal.make_path(BEFORE_FILE), before)
        production = {
            key: Measure(sides["production"], "", sides.get("evidence")) for key, sides in changes.items()
        }
        source = {key: Measure(sides["source"]) for key, sides in changes.items()}
        names = list(changes)
        after = advance_baseline(
            before, names, job_id=bench.state.job.id, production=production, source=source
        )
        write_baseline(state_dir, cut.source_id, after, production=production)
        return after["id"]


def _read_advanceable(state_dir, cut):
    """A baseline that cannot be trusted is no reason to leave a healthy site half recorded."""
    try:
        return read_baseline(state_dir, cut.source_id)
    except NodeError:
        return None


def _name_baseline(cut, baseline_id):
    """Whose baseline a cut-over advanced or brought back; None where it concerned none."""
    source_id = cut.environment.id if cut.kind == RESTORE else cut.source_id
    is_concerned = cut.kind != RESTORE or cut.environment.type != "production"
    return {"source_id": source_id, "id": baseline_id} if is_concerned else None


def _restore_memory(bench, cut):
    """A copy is what its backup held, so it is compared with what production was then; where nobody knows, with none.

    Returns the id of that baseline, None for none.

    A production has no baseline of its own. Those of its copies stay: that it is not what they were copied from any
    more is true.
    """
    if cut.environment.type == "production":
        return None
    kept = os.path.join(bench.journal.folder, RESTORED_FILE)
    path = bench.state.path("baseline.json")
    if os.path.exists(kept):
        with open(kept, "rb") as stream:
            content = stream.read()
        durable_file.write_bytes(path, content)
        return json.loads(content.decode("utf-8"))["id"]
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
        durable_file.sync_folder(bench.state.folder)
    return None


def _find_backup_time(bench):
    """When the backup that this job took began; None where there was nothing to back up."""
    for record in reversed(durable_file.read_json(bench.state.path("backups.json"), default=[])):
        if record.get("job_id") == bench.state.job.id:
            return record["began_at"]
    return None


def save_late_files(cut, journal, *, since):
    """Keep what was written to replaced places after `since` (ISO 8601, None where there was nothing before).

    Returns the paths, as `path:<place>/<path>`.
    """
    names = []
    for number, found in enumerate(cut.places):
        if os.path.isdir(found.waiting) and since is not None:
            folder = os.path.join(journal.make_path("saved"), "files-{0}".format(number))
            names += [
                "path:{0}".format(os.path.join(found.live, path))
                for path in save_files(found.waiting, folder, since=clock.parse_time(since))
            ]
    return names


def save_measures(journal, measures):
    """Keep what production's rows were right before the RENAME, for whoever counts late writes."""
    content = {key: [measure.digest, measure.evidence] for key, measure in measures.items()}
    durable_file.write_json(journal.make_path(MEASURED_FILE), content)


def load_measures(journal):
    """What `save_measures` kept."""
    content = durable_file.read_json(os.path.join(journal.folder, MEASURED_FILE)) or {}
    return {key: Measure(digest, "", evidence) for key, (digest, evidence) in content.items()}


def load_installed(bench, cut):
    """Measures of what was installed by the cut-over that goes: its own, or of a rollback the one it undoes."""
    job_id = cut.kept_job if cut.kind == ROLLBACK else bench.state.job.id
    folder = bench.state.journal(job_id).folder
    changes = read_sealed(os.path.dirname(bench.state.folder), os.path.join(folder, NEXT_FILE))
    return _make_measures(cut.installed, changes)


def _make_measures(digests, changes=None):
    """Measures by key of digests by key, with the evidence that `changes` hold of some."""
    known = changes or {}
    return {key: Measure(digest, "", known.get(key, {}).get("evidence")) for key, digest in digests.items()}


def load_kept_cut(state):
    """The cut-over whose old tables and release are kept, and its job's id; None where nothing is."""
    kept = state.content.get("kept")
    if not kept:
        return None
    content = durable_file.read_json(os.path.join(state.journal(kept["job_id"]).folder, CUT_FILE))
    return load_cut(content) if content else None


def _make_report(noted):
    """The `cut_over` of a result (node-protocol.md)."""
    names = ("rename_ms", "gap_ms", "carried_options", "late_writes", "saved", "unsaved")
    return dict({name: noted.get(name) for name in names}, baseline=None)


def _record_release(bench, cut):
    until = datetime.now(timezone.utc) + timedelta(seconds=cut.keep_old)
    kept = {"job_id": bench.state.job.id, "until": until.strftime("%Y-%m-%dT%H:%M:%SZ")}
    is_kept = cut.kind == PROMOTION and cut.keep_old > 0
    bench.state.record(
        status="active",
        last_change_at=bench.journal.cut["switched_at"],
        current_release=cut.release_new,
        previous_release=cut.release_old if is_kept else None,
        cut=bench.state.job.id,
        kept=kept if is_kept else None,
    )


def _drop_what_is_replaced(bench, cut):
    """The shadow is empty by now; an earlier promotion's old tables and release can never be wanted again."""
    exchange.drop_database(bench.conn, cut.exchange.incoming)
    if cut.kind == ROLLBACK or cut.keep_old <= 0:
        if not bench.journal.cut.get("unsaved"):
            exchange.drop_database(bench.conn, cut.exchange.outgoing)
        if cut.release_old:
            _remove_release(cut, cut.release_old)
    drop_boxes(cut)
    if cut.is_staged and cut.kept_job:
        content = durable_file.read_json(os.path.join(bench.state.journal(cut.kept_job).folder, CUT_FILE))
        if content:
            earlier = load_cut(content)
            exchange.drop_database(bench.conn, earlier.exchange.outgoing)
            if earlier.release_old != cut.release_old:
                _remove_release(cut, earlier.release_old)


def _remove_release(cut, name):
    with contextlib.suppress(OSError):  # what is left costs space, not safety
        release.remove_release(cut.environment.root, name)
