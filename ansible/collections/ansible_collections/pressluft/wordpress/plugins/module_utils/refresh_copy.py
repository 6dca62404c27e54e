"""The data of a copy: production's rows of one moment in a shadow database, made the source's own.

All that will be the next baseline is measured here: production in the snapshot that is copied, the copy in the
shadow before anybody can write to it.
"""

from __future__ import annotations

import os
import stat
import subprocess
from dataclasses import dataclass, field
from typing import Any, Dict, List, Set

from ansible_collections.pressluft.wordpress.plugins.module_utils import exchange, quiet, release
from ansible_collections.pressluft.wordpress.plugins.module_utils.baseline import read_evidence
from ansible_collections.pressluft.wordpress.plugins.module_utils.chunk_copy import copy_by_chunks, find_spans
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import (
    open_snapshot,
    quote_name,
    run_query,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.equality import make_rewriter
from ansible_collections.pressluft.wordpress.plugins.module_utils.file_copy import copy_file, copy_folder
from ansible_collections.pressluft.wordpress.plugins.module_utils.free_space import estimate_rows
from ansible_collections.pressluft.wordpress.plugins.module_utils.held_folder import find_trusted
from ansible_collections.pressluft.wordpress.plugins.module_utils.localise import ROWS_KEPT
from ansible_collections.pressluft.wordpress.plugins.module_utils.manifest import measure_folder
from ansible_collections.pressluft.wordpress.plugins.module_utils.manifest_cache import open_cache
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.option_row import measure_options
from ansible_collections.pressluft.wordpress.plugins.module_utils.refresh_option import settle_options
from ansible_collections.pressluft.wordpress.plugins.module_utils.refresh_unchanged import (
    find_proved_tables,
    find_read_tables,
    is_rewritten_alike,
    may_tables_stay,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.refresh_work import find_place
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import (
    OPTION,
    OPTIONS_TABLE,
    PATH,
    TABLE,
    Measure,
    add_kind,
    make_key,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.row_copy import copy_table
from ansible_collections.pressluft.wordpress.plugins.module_utils.row_rewrite import rewrite_table
from ansible_collections.pressluft.wordpress.plugins.module_utils.site_measure import find_changed
from ansible_collections.pressluft.wordpress.plugins.module_utils.table_measure import measure_tables

ANONYMISE = "anonymise"
_ANONYMISE_SECONDS = 3600
_NEVER_REWRITTEN = ("guid", "user_pass")  # design §5
LEFT_ALONE_SHOWN = 50


@dataclass
class Copied:
    """What was copied (names without prefix), what differed too little to be, and the measures of both sides."""

    names: List[str] = field(default_factory=list)
    unchanged: Set[str] = field(default_factory=set)
    rows: int = 0
    files: int = 0
    left_alone: List[Any] = field(default_factory=list)
    production: Dict[str, Measure] = field(default_factory=dict)
    source: Dict[str, Measure] = field(default_factory=dict)

    def find_chunks(self):
        """The copy's measures by which a later refresh knows what is still good: those of tables."""
        return {
            key: self.source[key]
            for key in (make_key(TABLE, name) for name in self.names)
            if key in self.source
        }


def copy_data(work, incoming):
    """Fill the shadow with the tables `incoming` (without prefix) as one moment of production shows them."""
    copied = Copied()
    exchange.drop_database(work.writer, work.shadow)
    exchange.create_database(work.writer, work.shadow, like=work.source.database)
    _copy_rows(work, incoming, copied)
    work.on_step("rows copied")
    _rewrite(work, copied)
    _rename_prefixed_keys(work, copied)
    if work.is_full:
        settle_options(work)
    _anonymise(work, copied)
    work.on_step("rewritten")
    _measure_copy(work, copied)
    return copied


def copy_paths(work, copied):
    """Make every protected path of the source the copy of production's; absent ones stay as they are."""
    for path in work.find_paths():
        linked = os.path.join(work.production.current, path)
        origin, place = find_trusted(linked), find_place(work, path)
        if not os.path.lexists(linked):
            sides = Measure(None), measure_folder(place)
        elif os.path.isdir(origin):
            done = copy_folder(
                origin,
                place,
                read_source=_open_cache(work, work.production, path).read_tree,
                read_target=_open_cache(work, work.source, path).read_tree,
                progress=work.progress,
            )
            copied.files += done.copied + done.removed
            if done.changes:
                release.sync_tree(place)
            sides = done.source, done.target
        else:
            copy_file(origin, place)
            copied.files += 1
            sides = measure_folder(origin), measure_folder(place)
        copied.production[make_key(PATH, path)], copied.source[make_key(PATH, path)] = sides


def _open_cache(work, side, path):
    return open_cache(work.state_dir, side.id, path)


def _copy_rows(work, incoming, copied):
    production, source = work.production, work.source
    renamed = {production.table(name): source.table(name) for name in incoming}
    open_snapshot(work.reader)
    try:
        work.progress.begin("measure production")
        may_stay = may_tables_stay(work)
        proved = find_proved_tables(work, incoming) if may_stay else set()
        read = [name for name in incoming if name not in proved]
        _measure_production(work, read, copied)
        for key in (make_key(TABLE, name) for name in proved):
            copied.production[key] = Measure(work.known["resources"][key]["production"], proof="tablespace")
        copied.unchanged = proved | (find_read_tables(work, copied, read) if may_stay else set())
        copied.names = [name for name in incoming if name not in copied.unchanged]
        rows = estimate_rows(work.writer, production, copied.names)
        work.progress.begin("copy tables", tables=len(copied.names), rows=rows)
        for name in copied.names:
            copied.rows += _copy_table(work, name, copied, renamed=renamed).rows
    finally:
        run_query(work.reader, "ROLLBACK")


def _copy_table(work, name, copied, *, renamed):
    """Copy a table, by its chunks where some of an earlier copy may still be good."""
    origin = (work.production.database, work.production.table(name))
    place = (work.shadow, work.source.table(name))
    spans = _find_spans(work, name, copied)
    if not any(span.expected for span in spans):
        return copy_table(work.reader, work.writer, *origin, *place, renamed=renamed, progress=work.progress)
    earlier = (work.source.database, work.source.table(name))
    return copy_by_chunks(
        *(work.reader, work.writer, origin, place),
        earlier=earlier,
        spans=spans,
        renamed=renamed,
        progress=work.progress,
    )


def _find_spans(work, name, copied):
    """What of a table the source may still have from its last refresh; nothing where it was rewritten otherwise."""
    key = make_key(TABLE, name)
    known = work.known["resources"].get(key) if is_rewritten_alike(work) else None
    # Keys of users' rights are renamed in the copy, and one prefix may be the beginning of the other.
    renames = name == "usermeta" and work.production.table_prefix != work.source.table_prefix
    if name == OPTIONS_TABLE or renames or not known or None in known.values():
        return []
    kept = [read_evidence(work.state_dir, work.source.id, known[side]) for side in ("production", "source")]
    now = copied.production[key].evidence
    if not now or not all(kept):
        return []
    return find_spans(now["chunks"], before=kept[0]["chunks"], copied=kept[1]["chunks"])


def _measure_production(work, incoming, copied):
    wanted = [name for name in incoming if name != OPTIONS_TABLE]
    measures = measure_tables(work.reader, work.production, wanted, rows_kept=ROWS_KEPT)
    copied.production.update(add_kind(TABLE, measures))
    if OPTIONS_TABLE in incoming:
        options = measure_options(work.reader, work.production, work.protection)
        copied.production.update(add_kind(OPTION, options))
    find_changed(copied.production, {})  # refuses what could not be read


def _rewrite(work, copied):
    try:
        rewriter = make_rewriter(work.source, work.production)  # to the source's addresses
    except ValueError as error:
        raise NodeError(
            "INTENT_INVALID",
            "production's addresses cannot be rewritten to the source's: {0}".format(error),
            "Correct url and root of both environments.",
        ) from error
    work.progress.begin("rewrite addresses", tables=len(copied.names))
    for name in copied.names:
        skipped = (*_NEVER_REWRITTEN, "option_name") if name == OPTIONS_TABLE else _NEVER_REWRITTEN
        done = rewrite_table(
            work.writer,
            work.shadow,
            work.source.table(name),
            rewriter,
            needles=rewriter.cores,
            skip_columns=skipped,
        )
        work.progress.add(tables=1)
        copied.left_alone += done.left_alone[: LEFT_ALONE_SHOWN - len(copied.left_alone)]


def _rename_prefixed_keys(work, copied):
    """Users' rights are kept under keys with the table prefix in them (`wp_capabilities`)."""
    ours, own = work.production.table_prefix, work.source.table_prefix
    if ours == own or "usermeta" not in copied.names:
        return
    run_query(
        work.writer,
        "UPDATE {0}.{1} SET meta_key = CONCAT(%s, SUBSTRING(meta_key, {2}))"
        " WHERE LEFT(CAST(meta_key AS BINARY), {3}) = %s".format(
            quote_name(work.shadow), quote_name(work.source.table("usermeta")), len(ours) + 1, len(ours)
        ),
        (own, ours.encode("ascii")),
    )


def check_anonymise(work):
    """Refuse a script that cannot be trusted, and its absence where the refresh was asked to run it."""
    program = os.path.join(work.config_dir, ANONYMISE)
    if not os.path.exists(program):
        if work.must_anonymise:
            raise _make_anonymise_error("is not there, but this refresh asks for it")
        return
    found = os.stat(program)
    if found.st_uid not in (0, os.geteuid()) or stat.S_IMODE(found.st_mode) & 0o022:
        raise _make_anonymise_error("can be changed by others than its owner, so it is not run")


def _anonymise(work, copied):
    """Run the owner's `<config_dir>/anonymise` on the shadow, if there is one, whoever asked for the refresh.

    It is given PRESSLUFT_DATABASE, PRESSLUFT_TABLE_PREFIX, PRESSLUFT_DEFAULTS_FILE, PRESSLUFT_ENVIRONMENT and
    PRESSLUFT_TABLES (names without prefix, one blank between), and must end with 0.
    """
    program = os.path.join(work.config_dir, ANONYMISE)
    if not os.path.exists(program) or not copied.names:
        return
    work.progress.begin("run the script that anonymises")
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C.UTF-8",
        "PRESSLUFT_DATABASE": work.shadow,
        "PRESSLUFT_TABLE_PREFIX": work.source.table_prefix,
        "PRESSLUFT_DEFAULTS_FILE": work.config.mysql_defaults_file,
        "PRESSLUFT_ENVIRONMENT": work.source.id,
        "PRESSLUFT_TABLES": " ".join(copied.names),
    }
    try:
        done = subprocess.run(
            [program],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd="/",
            env=environment,
            timeout=_ANONYMISE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _make_anonymise_error("cannot be run: {0}".format(error)) from error
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip()[-300:]
        raise _make_anonymise_error("ended with {0}: {1}".format(done.returncode, said))


def _measure_copy(work, copied):
    work.progress.begin("measure the copy")
    wanted = [name for name in copied.names if name != OPTIONS_TABLE]
    copied.source.update(add_kind(TABLE, measure_tables(work.writer, work.copy, wanted, rows_kept=0)))
    if OPTIONS_TABLE in copied.names:
        quiet.hide_from_search(work.writer, work.shadow, work.source.table(OPTIONS_TABLE))
        options = measure_options(work.writer, work.copy, work.protection)
        copied.source.update(add_kind(OPTION, options))
    find_changed(copied.source, {})
    for key in (make_key(TABLE, name) for name in copied.unchanged):
        copied.source[key] = Measure(work.known["resources"][key]["source"])


def _make_anonymise_error(reason):
    return NodeError(
        "ANSIBLE_HOST_FAILED",
        "the script {0} {1}".format(ANONYMISE, reason),
        "Correct the script in the node's config_dir. Nothing on the copy was changed.",
    )
