"""Every refusal of a refresh that needs no copy."""

from __future__ import annotations

import os

from ansible_collections.pressluft.wordpress.plugins.module_utils import (
    free_space,
    release,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.baseline import (
    find_expected,
    find_misfit,
    read_baseline,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.refresh_copy import (
    check_anonymise,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.refresh_work import (
    PROTECTED_SCOPE,
    find_place,
    find_pulled_tables,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.right_check import check_sight
from ansible_collections.pressluft.wordpress.plugins.module_utils.schema_check import (
    check_lengths,
    check_tables,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.server_check import check_exchange


def check_work(work):
    """Every refusal that needs no copy; returns the names of the tables that come and go, without prefix."""
    check_anonymise(work)
    check_sight(work.reader, work.production.database)
    check_exchange(work.writer, [work.source.database, work.shadow, work.retired])
    incoming, outgoing = find_pulled_tables(work)
    check_lengths(work.source, incoming)
    check_tables(work.reader, work.production, incoming)
    check_tables(work.writer, work.source, outgoing)
    if work.mirror is None:
        release.read_current(work.production.root)
    served = release.read_served(work.source.root)
    paths = work.find_paths()
    release.check_links(work.production.current, paths)
    if served:
        release.check_links(work.source.current, paths)
    elif not work.is_full:
        raise _make_unready(work, "has no release yet")
    for path in paths:
        find_place(work, path)
    os.makedirs(os.path.join(work.source.root, "releases"), exist_ok=True)
    needs = free_space.measure_needs(
        work.writer,
        work.source,
        work.production,
        tables=incoming,
        components=["."] if work.is_full else [],
        state_dir=work.state.folder,
    )
    free_space.check_space([*needs, *_find_file_needs(work, paths)])
    return incoming, outgoing


def read_known(call, scope, mirror):
    """The baseline there is; a protected refresh can only advance the true one of this very production."""
    try:
        known = mirror.peer.ask("read_baseline") if mirror else read_baseline(call.state_dir, call.source.id)
        expected = find_expected(call.request, call.source.id)
        misfit = find_misfit(known, production_id=call.production.id, expected=expected)
    except NodeError as error:
        if error.retry:  # the other node cannot be asked now
            raise
        known, misfit = None, error.message
    if known is not None and not misfit:
        return known
    if scope == PROTECTED_SCOPE:
        raise NodeError(
            "DRIFT_CHECK_FAILED",
            "{0} has no baseline of {1} that could be advanced{2}".format(
                call.source.name, call.production.name, misfit and ": " + misfit
            ),
            "Refresh it with scope full first.",
        )
    return None


def _find_file_needs(work, paths):
    """By how many bytes production's protected folders outgrow the source's, wherever those lie."""
    for path in paths:
        place = find_place(work, path)
        size = free_space.measure_folder(os.path.realpath(os.path.join(work.production.current, path)))
        grown = max(0, size - free_space.measure_folder(place))
        while not os.path.exists(place):
            place = os.path.dirname(place)
        yield place, grown


def _make_unready(work, reason):
    return NodeError(
        "SCHEMA_UNSUPPORTED",
        "{0} {1}".format(work.source.name, reason),
        "Refresh it with scope full first.",
    )
