"""What a promotion replaced is kept for a while, and goes with the first step after that (spec.md §6)."""

from __future__ import annotations

from datetime import datetime, timezone

from ansible_collections.pressluft.wordpress.plugins.module_utils import clock, exchange, release
from ansible_collections.pressluft.wordpress.plugins.module_utils.cut_end import load_kept_cut


def drop_expired(state, conn):
    """Drop the kept tables and release of an environment whose lock `state` holds, if their time is over.

    Only while nothing is half done there, since a rollback under way needs them. Returns whether anything went.
    Safe to repeat: that they are kept is forgotten last.
    """
    kept = state.content.get("kept")
    if not kept or state.status != "active" or state.journal().cut:
        return False
    if clock.parse_time(kept["until"]) > datetime.now(timezone.utc):
        return False
    cut = load_kept_cut(state)
    if cut is not None:
        exchange.drop_database(conn, cut.exchange.outgoing)
        release.remove_release(state.environment.root, cut.release_old)
    state.record(kept=None, previous_release=None)
    return True
