"""Forgetting backups that had their time: only the environment's own, and never its newest full one."""

from __future__ import annotations

from ansible_collections.pressluft.wordpress.plugins.module_utils import durable_file
from ansible_collections.pressluft.wordpress.plugins.module_utils.backup import BACKUPS, FULL, read_backups

PRUNE_SECONDS = 6 * 3600
_BEGUN = "forgetting"


def forget_backups(state, restic, snapshot_ids):
    """Forget snapshots of the environment whose lock `state` holds, and give back what only they used.

    restic holds the repository's own lock meanwhile. Returns `{forgotten: [ids that are in the storage no more],
    kept: [{snapshot_id, reason}]}`. Safe to repeat: whatever is gone already counts as forgotten.
    """
    listed = {one["id"]: one for one in restic.snapshots}
    kept = [
        {"snapshot_id": snapshot_id, "reason": reason}
        for snapshot_id, reason in ((one, _find_reason(state, listed, one)) for one in snapshot_ids)
        if reason
    ]
    held = {one["snapshot_id"] for one in kept}
    going = [one for one in snapshot_ids if one in listed and one not in held]
    if going:
        state.journal().record(_BEGUN, {"snapshot_ids": going}, epoch=state.job.epoch)
        restic.run(["forget", *going])
    if state.journal().has(_BEGUN):  # by this attempt, or by one that may have died before it had pruned
        restic.run(["prune"], timeout=PRUNE_SECONDS)
    forgotten = sorted(set(snapshot_ids) - held)
    left = [one for one in read_backups(state.folder) if one["snapshot_id"] not in forgotten]
    durable_file.write_json(state.path(BACKUPS), left)
    return {"forgotten": forgotten, "kept": kept}


def _find_reason(state, listed, snapshot_id):
    """Why a snapshot must stay; empty if it may go, or is gone."""
    snapshot = listed.get(snapshot_id)
    if snapshot is None:
        return ""
    if "environment:" + state.environment.id not in (snapshot.get("tags") or []):
        return "it was not taken of this environment"
    if snapshot_id == _find_newest_full(state, listed):
        return "it is the newest full backup"
    return ""


def _find_newest_full(state, listed):
    """The newest full backup that was read back and is there; on a node without notes, that the storage has."""
    noted = [one["snapshot_id"] for one in read_backups(state.folder) if one["scope"] == FULL]
    there = [one for one in noted if one in listed]
    wanted = {"environment:" + state.environment.id, "scope:" + FULL}
    full = [one["id"] for one in listed.values() if wanted <= set(one.get("tags") or [])]
    return (there or full or [""])[-1]
