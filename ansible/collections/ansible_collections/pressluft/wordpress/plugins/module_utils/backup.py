"""Backups of one environment: made, read back, noted on the node, and proved to be in the storage still."""

from __future__ import annotations

import configparser
import contextlib
import hashlib
import json
import os
import re
import shutil
import tarfile

from ansible_collections.pressluft.wordpress.plugins.module_utils import clock, durable_file
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import connect, find_tables
from ansible_collections.pressluft.wordpress.plugins.module_utils.dump import hold_dump
from ansible_collections.pressluft.wordpress.plugins.module_utils.held_folder import find_trusted
from ansible_collections.pressluft.wordpress.plugins.module_utils.identity import is_within
from ansible_collections.pressluft.wordpress.plugins.module_utils.measure import find_protected_paths
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.release import read_current
from ansible_collections.pressluft.wordpress.plugins.module_utils.restic import (
    INCOMPLETE,
    TRANSFER_SECONDS,
    escape_pattern,
    open_repository,
)

FULL, DATABASE, FILES = "full", "db", "files"
SCOPES = (FULL, DATABASE, FILES)
BACKUPS, BASELINE = "backups.json", "baseline.json"
_ATTEMPTS = 3  # on a busy site files vanish between listing and reading
_CACHES = ("wp-content/cache",)
_BLOCK = 1 << 20
_NANOSECONDS = re.compile(r"\.[0-9]+")


def open_storage(state_dir, config_dir, config):
    """The node's repository; see `restic.open_repository`. `initialise = yes` in node.ini lets it be made."""
    parser = configparser.ConfigParser(interpolation=None, inline_comment_prefixes=(";",))
    parser.read(os.path.join(config_dir, "node.ini"), encoding="utf-8")
    allowed = parser.getboolean("restic", "initialise", fallback=False)
    cache_dir = os.path.join(state_dir, "restic-cache")
    return open_repository(config, cache_dir=cache_dir, may_initialise=allowed)


def create_backup(state, restic, *, scope, retention_until, defaults_file, protection):
    """Back up the environment whose lock `state` holds; returns the `backup` of node-protocol.md.

    What `protection` keeps is stored wherever its links lead. A backup counts only after all of it was read back
    from the storage. Raises `NodeError` (`BACKUP_INVALID`).
    """
    environment, job = state.environment, state.job
    tags = ["pressluft", "environment:" + environment.id, "job:" + job.id, "scope:" + scope]
    _forget_unfinished(state, restic)
    began_at = clock.read_now()
    with contextlib.ExitStack() as stack:
        paths, dump = [], None
        if scope in (FULL, DATABASE):
            dump = stack.enter_context(_hold_dump(state, defaults_file))
            paths.append(os.path.dirname(dump.path))
        if scope in (FULL, FILES):
            paths += [os.path.realpath(environment.root), *_find_outside(environment, protection)]
        excludes = _find_excludes(environment, protection.volatile_files)
        summary = _take_snapshot(restic, paths, tags=tags, excludes=excludes)
    ended_at = clock.read_now()
    restic.list_snapshots()
    snapshot = restic.find_snapshot(summary["snapshot_id"])
    if snapshot is None:
        raise _make_error("snapshot {0} is not in the storage".format(summary["snapshot_id"]))
    _read_back(restic, snapshot["id"], summary=summary, dump=dump)
    record = {
        "snapshot_id": snapshot["id"],
        "scope": scope,
        "began_at": began_at,
        "ended_at": ended_at,
        "size_bytes": summary["total_bytes_processed"],
        "read_back_at": clock.read_now(),
        "retention_until": retention_until,
        "job_id": job.id,
    }
    durable_file.write_json(state.path(BACKUPS), [*read_backups(state.folder), record])
    return make_result(record, restic)


def find_present_scope(conn, environment):
    """What of an environment is there to be backed up: one of `SCOPES`, empty where everything is gone."""
    has_tables = bool(find_tables(conn, environment.database, environment.table_prefix))
    has_files = os.path.isdir(os.path.realpath(environment.root))
    return {(True, True): FULL, (True, False): DATABASE, (False, True): FILES}.get(
        (has_tables, has_files), ""
    )


def find_restorable(restic, environment_id, *, snapshot_id):
    """The full snapshot of this very environment, as the storage lists it now.

    The storage's own word counts, not the node's notes: a node may be new. Whether the data is whole is proved by
    restoring it. Raises `NodeError` (`BACKUP_INVALID`).
    """
    snapshot = restic.find_snapshot(snapshot_id)
    reason = "" if snapshot else "is not in the storage"
    tags = set(snapshot.get("tags") or []) if snapshot else set()
    if snapshot and "environment:" + environment_id not in tags:
        reason = "was not taken of this environment"
    elif snapshot and "scope:" + FULL not in tags:
        reason = "is not a full one"
    if reason:
        raise NodeError(
            "BACKUP_INVALID",
            "the backup with the snapshot {0} {1}".format(snapshot_id, reason),
            "Nothing was changed. Choose another completed full backup of this environment.",
        )
    return snapshot


def make_result(record, restic):
    """The `backup` of node-protocol.md."""
    shown = ("snapshot_id", "scope", "began_at", "ended_at", "size_bytes", "read_back_at")
    return dict({name: record[name] for name in shown}, repository=restic.shown_repository)


def read_backups(folder):
    """The records of an environment's completed backups, newest last."""
    return durable_file.read_json(os.path.join(folder, BACKUPS), default=[])


def verify_backup(folder, restic, *, snapshot_id, last_change_at):
    """Whether a backup may stand behind a promotion: returns the `backup` of node-protocol.md, never raises.

    `restic` opens the storage when called, since a storage that does not answer is a reason too. Without a
    `snapshot_id` the newest full backup is meant. `last_change_at` is when Pressluft last changed the
    environment, None for never.
    """
    answer = {
        "snapshot_id": snapshot_id,
        "began_at": None,
        "ended_at": None,
        "last_change_at": last_change_at,
    }
    record = _find_record(folder, snapshot_id)
    if record is None:
        known = "snapshot {0} is no completed full backup that this node made".format(snapshot_id)
        return dict(answer, valid=False, reason=known if snapshot_id else "there is no completed full backup")
    answer.update({name: record[name] for name in ("snapshot_id", "began_at", "ended_at")})
    reason = _find_fault(
        record, restic, environment_id=os.path.basename(folder), last_change_at=last_change_at
    )
    return dict(answer, valid=not reason, reason=reason)


def _find_record(folder, snapshot_id):
    for record in reversed(read_backups(folder)):
        named = not snapshot_id or record["snapshot_id"].startswith(snapshot_id)
        if named and record["scope"] == FULL and record.get("read_back_at"):
            return record
    return None


def _find_fault(record, restic, *, environment_id, last_change_at):
    """Why a backup is not good enough; what the record says must be what the storage says."""
    began = clock.parse_time(record["began_at"])
    if last_change_at and began <= clock.parse_time(last_change_at):
        return "it began at {0}, before the last change at {1}".format(record["began_at"], last_change_at)
    try:
        storage = restic()
        snapshot = storage.find_snapshot(record["snapshot_id"])
        if snapshot is None:
            return "snapshot {0} is no longer in the storage".format(record["snapshot_id"])
        wanted = {"environment:" + environment_id, "scope:" + FULL}
        if not wanted <= set(snapshot.get("tags") or []):
            return "snapshot {0} is no full backup of this environment".format(record["snapshot_id"])
        if _read_time(snapshot) < began:
            return "snapshot {0} was made at {1}, before the backup it is said to be".format(
                record["snapshot_id"], snapshot["time"]
            )
        storage.run(["check", "--no-lock", "--quiet"], timeout=TRANSFER_SECONDS)
    except NodeError as error:
        return error.message
    return ""


def _read_time(snapshot):
    """When restic made a snapshot; it writes nanoseconds, which older Pythons cannot read."""
    return clock.parse_time(_NANOSECONDS.sub(_cut_to_microseconds, snapshot["time"]))


def _cut_to_microseconds(fraction):
    return fraction.group()[:7].ljust(7, "0")


@contextlib.contextmanager
def _hold_dump(state, defaults_file):
    environment = state.environment
    with contextlib.closing(connect(defaults_file)) as conn:
        held = hold_dump(state.path("dump"), conn, environment)
        with held as dump:
            if not dump.tables:
                what = "database {0} has no tables of this environment".format(environment.database)
                raise _make_error(what)
            with contextlib.suppress(
                FileNotFoundError
            ):  # only copies have one: a restore brings it back as well
                shutil.copyfile(state.path(BASELINE), os.path.join(os.path.dirname(dump.path), BASELINE))
            yield dump


def _find_outside(environment, protection):
    """What the environment keeps outside of its root: folders and files that its links lead to."""
    root, found = os.path.realpath(environment.root), set()
    kept = [*protection.protected_paths, *protection.preserved_files]
    for path in find_protected_paths(environment, kept):
        linked = os.path.join(environment.current, path)
        place = find_trusted(linked)
        if os.path.lexists(linked) and not is_within(place, root):
            found.add(place)
    return sorted(found)


def _find_excludes(environment, volatile_files):
    """Caches of the served release, and every release that is not served."""
    root = os.path.realpath(environment.root)
    try:
        current = read_current(root)
    except NodeError:
        return []  # not yet in the layout of releases: all of it
    releases = os.path.join(root, "releases")
    others = [os.path.join(releases, name) for name in os.listdir(releases) if name != current]
    others += [os.path.join(root, name) for name in os.listdir(root) if name.startswith(".pressluft-")]
    plain = {*_CACHES, *(path for path in volatile_files if "*" not in path)}
    return [*others, *(os.path.join(releases, current, path) for path in sorted(plain))]


def _take_snapshot(restic, paths, *, tags, excludes):
    """Run `restic backup` until no file vanished under it; returns its summary."""
    for path in paths:
        if not os.path.exists(path):  # restic would skip it and be content
            raise _make_error("{0} is not there".format(path))
    # Not --exclude-caches: whoever can upload a file could take a folder out of every backup.
    arguments = ["backup", "--json", "--host", "pressluft"]
    arguments += [part for tag in tags for part in ("--tag", tag)]
    arguments += [part for path in excludes for part in ("--exclude", escape_pattern(path))]
    for _attempt in range(_ATTEMPTS):
        code, out = restic.run([*arguments, "--", *paths], timeout=TRANSFER_SECONDS, allowed=(INCOMPLETE,))
        summary = _find_summary(out)
        if code == 0:
            return summary
        restic.run(["forget", summary["snapshot_id"]])
    raise _make_error("files could not be read, {0} times in a row".format(_ATTEMPTS))


def _find_summary(out):
    for line in reversed(out.splitlines()):
        with contextlib.suppress(ValueError):
            message = json.loads(line)
            if message.get("message_type") == "summary":
                return message
    raise _make_error("restic did not say what it stored")


def _read_back(restic, snapshot_id, *, summary, dump):
    """Read every byte of the snapshot from the storage; restic itself checks each piece against its name."""
    files, found = 0, None
    with restic.stream(["dump", "--no-lock", snapshot_id, "/"]) as stream, _open_tar(stream) as tar:
        for member in tar:
            files += member.isreg()
            if dump is not None and "/" + member.name.lstrip("/") == dump.path:
                found = _hash_member(tar, member)
    if dump is not None and found != dump.sha256:
        raise _make_error("the dump that was read back is not the one that was stored")
    if files < summary["total_files_processed"]:
        raise _make_error(
            "{0} files were stored, but {1} could be read back".format(
                summary["total_files_processed"], files
            )
        )


@contextlib.contextmanager
def _open_tar(stream):
    try:
        with tarfile.open(fileobj=stream, mode="r|", bufsize=_BLOCK) as tar:
            yield tar
    except tarfile.TarError as error:
        raise _make_error("the snapshot cannot be read back: {0}".format(error)) from error


def _hash_member(tar, member):
    digest = hashlib.sha256()
    content = tar.extractfile(member)
    block = content.read(_BLOCK)
    while block:
        digest.update(block)
        block = content.read(_BLOCK)
    return digest.hexdigest()


def _forget_unfinished(state, restic):
    """Remove what an earlier attempt of this job stored of this environment but never read back."""
    known = {record["snapshot_id"] for record in read_backups(state.folder)}
    # A job may back up both its environments: the other one's backup is none of ours.
    tags = {"job:" + state.job.id, "environment:" + state.environment.id}
    left = [
        one["id"] for one in restic.snapshots if tags <= set(one.get("tags") or []) and one["id"] not in known
    ]
    if left:
        restic.run(["forget", *left])


def _make_error(message):
    return NodeError(
        "BACKUP_INVALID", message, "Correct what the message names, then run the backup again.", retry=True
    )
