"""restic on a node: one way to run it, with its secrets in files and in its own environment only."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import stat
import subprocess
import time
from collections import Counter

from ansible_collections.pressluft.wordpress.plugins.module_utils import durable_file
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError

COMMAND_SECONDS = 600
TRANSFER_SECONDS = 6 * 3600  # spec.md §5: a backup may take 6 h
_MEMORY = "128MiB"
"""Above this Go's collector works harder. Reading 500 MB back took up to 194 MB without it, 138 MB with it, in the same
time (docs/reference/cut-over-bench.md). An environment_file may set another GOMEMLIMIT: the index of a very large
repository alone takes more."""
INCOMPLETE = 3  # restic backup's exit code when a file vanished or could not be read
_LOCK_ATTEMPTS, _LOCK_PAUSE_SECONDS = 40, 3.0
_LOCKED = "already locked"
_TRIES, _TRIES_FOR_MISSING = 10, 3
"""How often restic may try one thing in vain before it is stopped. A pack that is not there does not come back. restic
0.14 tries everything 10 times, a minute for each lost pack of folders; later ones go on for a quarter of an hour.
"""
_LOOK_SECONDS = 1.0
_END_SECONDS = 30
# Not of locks: another restic takes its own away at any time, and nobody misses it.
_VAIN = re.compile(
    r"^(?P<what>(?:Save\(|Load\(<data/).*?\)) returned error, retrying after [^:]+: (?P<why>.*)$",
    re.MULTILINE,
)
_MISSING = re.compile(r"no such file|not exist|not found", re.IGNORECASE)
# Only lines of these kinds are ever repeated: what a backend prints beside them may hold what it was given. Why a lock
# cannot be written is in a line of its own: a system call and a path, or a call to the storage.
_TELLING = re.compile(
    r"^(Fatal: |error: |unable to |wrong password|repository is |Is there a repository"
    r"|(?:write|open|create|mkdir|rename|sync|close|chmod) /\S+: |client\.\w+: |The specified key does not exist)"
)
_USER_INFO = re.compile(r"://[^/@\s]+@")
_NO_REPOSITORY = re.compile(
    r"unable to open config file.*(does not exist|no such file|not found|404)", re.IGNORECASE
)
_CAUSES = (
    (
        re.compile(
            r"signature|access.?key|access.?denied|permission denied|unsupported algorithm|forbidden"
            r"|unauthorized|unable to authenticate",
            re.IGNORECASE,
        ),
        "the storage refused the credentials",
        "Correct the keys in the environment_file that node.ini names, and what they may do at the storage.",
        False,
    ),
    (
        re.compile(
            r"no space left|quota|disk full|insufficient storage|storage.?full|minimum free", re.IGNORECASE
        ),
        "the storage is full",
        "Make room there (restic cannot even forget without a free byte), or shorten the fleet's retention.",
        False,
    ),
    (
        re.compile(
            r"connection (refused|reset|timed out)|no such host|i/o timeout|no route to host|deadline exceeded"
            r"|network is unreachable|server closed|TLS handshake|service unavailable|bad gateway",
            re.IGNORECASE,
        ),
        "the storage does not answer",
        "Look whether the node reaches the storage; the job can be run again at any time.",
        True,
    ),
    (
        re.compile(r"client\.PutObject: "),
        "the storage does not take what is written to it",
        "Look whether it is full (some servers then speak of an internal error) or out of order; then try again.",
        True,
    ),
)
"""What restic's words mean, what to do, and whether it may pass by itself; the first that fits counts."""


class Restic:
    """The repository that node.ini names. `cache_dir` is restic's own cache, in Pressluft's folder."""

    def __init__(self, config, *, cache_dir):
        self.repository = config.restic_repository
        self.snapshots = []
        # restic tells how far it is 60 times a second: 300 MB of lines in six hours.
        self._environment = {"GOMEMLIMIT": _MEMORY, "RESTIC_PROGRESS_FPS": "0.1"}
        self._environment.update(_read_environment_file(config.restic_environment_file))
        self._environment.update(
            PATH=os.environ.get("PATH", os.defpath),
            LC_ALL="C.UTF-8",
            RESTIC_REPOSITORY=config.restic_repository,
            RESTIC_PASSWORD_FILE=config.restic_password_file,
            RESTIC_CACHE_DIR=cache_dir,
        )

    @property
    def shown_repository(self):
        """The location as it may be recorded: without a user and password in its address."""
        return _USER_INFO.sub("://", self.repository)

    def list_snapshots(self):
        """Ask the storage for its snapshots and keep them in `snapshots`: `{id, time, tags, paths}`, oldest first."""
        _code, out = self.run(["snapshots", "--json", "--no-lock"])
        self.snapshots = sorted(json.loads(out or b"null") or [], key=lambda one: one["time"])

    def find_snapshot(self, snapshot_id):
        """The listed snapshot of this id or beginning of an id, or None."""
        found = [one for one in self.snapshots if snapshot_id and one["id"].startswith(snapshot_id)]
        return found[0] if len(found) == 1 else None

    def run(self, arguments, *, timeout=COMMAND_SECONDS, allowed=(), descriptors=()):
        """Run `restic <arguments>` and return `(exit code, stdout)`; waits while another restic holds the lock.

        It inherits `descriptors`, for arguments that name folders by them.

        Raises `NodeError` (`BACKUP_INVALID`) for any exit code but 0 and those `allowed`.
        """
        for attempt in range(_LOCK_ATTEMPTS):
            done = self._run_once(arguments, timeout, descriptors)
            said = done.stderr.decode("utf-8", "replace")
            if done.returncode == 0 or done.returncode in allowed:
                return done.returncode, done.stdout
            if _LOCKED not in said or attempt == _LOCK_ATTEMPTS - 1:
                raise self.make_error(arguments[0], said)
            self._run_once(["unlock"], COMMAND_SECONDS)  # only locks of processes that are gone
            time.sleep(_LOCK_PAUSE_SECONDS)
        raise AssertionError("unreachable")

    @contextlib.contextmanager
    def stream(self, arguments):
        """Run `restic <arguments>` and yield its stdout. Raises `NodeError` unless it ended well, wholly read."""
        with self._start(arguments) as process:
            yield process.stdout
            process.stdout.read()
            said = process.stderr.read().decode("utf-8", "replace")
            if process.wait() != 0:
                raise self.make_error(arguments[0], said)

    def make_error(self, command, said):
        """The refusal that says what restic said, as far as it is known to hold no secret."""
        lines = [line.strip() for line in said.splitlines() if _TELLING.match(line.strip())]
        shown = _USER_INFO.sub("://", "; ".join(lines))[-500:] or "it gave no reason that may be shown"
        for signs, cause, remedy, retry in _CAUSES:
            if signs.search("; ".join(lines)):
                text = "{0} ({1}); restic {2} said: {3}".format(cause, self.shown_repository, command, shown)
                return NodeError("BACKUP_INVALID", text, remedy, retry=retry)
        if _NO_REPOSITORY.search(said):
            return NodeError(
                "BACKUP_INVALID",
                "there is no restic repository at {0}".format(self.shown_repository),
                "Create it on the node, as root: RESTIC_PASSWORD_FILE={0} restic -r {1} init".format(
                    self._environment["RESTIC_PASSWORD_FILE"], self.shown_repository
                ),
            )
        return NodeError(
            "BACKUP_INVALID",
            "restic {0} failed: {1}".format(command, shown),
            "Run `restic check` on the node with the settings of node.ini, and correct what it says.",
            retry=_LOCKED in said,
        )

    def _run_once(self, arguments, timeout, descriptors=()):
        """Run restic to its end, or until it tries the same thing in vain; returns what `subprocess.run` would."""
        deadline = time.monotonic() + timeout
        with self._start(arguments, descriptors) as process:
            while time.monotonic() < deadline:
                try:
                    out, said = process.communicate(timeout=_LOOK_SECONDS)
                except subprocess.TimeoutExpired as waiting:
                    reason = find_vain(waiting.stderr or b"")
                    if not reason:
                        continue
                    _end(process)
                    raise self.make_error(arguments[0], reason) from waiting
                return subprocess.CompletedProcess(arguments, process.returncode, out, said)
            raise NodeError(
                "BACKUP_INVALID",
                "restic {0} did not end within {1:.0f} s".format(arguments[0], timeout),
                "Look at the storage that node.ini names.",
                retry=True,
            )

    @contextlib.contextmanager
    def _start(self, arguments, descriptors=()):
        """A restic with pipes for what it says; it does not outlive an error."""
        try:
            started = subprocess.Popen(
                ["restic", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=self._environment,
                pass_fds=descriptors,
            )
        except FileNotFoundError as error:
            raise NodeError(
                "BACKUP_INVALID", "restic is not installed on this node", "Install it: apt install restic."
            ) from error
        with started as process:
            try:
                yield process
            except BaseException:
                process.kill()
                raise


def find_vain(said):
    """Why restic will not succeed, by the lines about its tries so far (bytes); empty while it may."""
    tries = Counter(
        (found["what"], found["why"]) for found in _VAIN.finditer(said.decode("utf-8", "replace"))
    )
    for (_what, why), count in tries.items():
        if count >= (_TRIES_FOR_MISSING if _MISSING.search(why) else _TRIES):
            return why
    return ""


def _end(process):
    """Let restic take its lock away, which it does when interrupted."""
    process.send_signal(signal.SIGINT)
    try:
        process.communicate(timeout=_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def open_repository(config, *, cache_dir, may_initialise):
    """Return a `Restic` whose repository answered; creates it only if there is none and the owner allowed it.

    What it answered is in `snapshots`. Raises `NodeError` (`BACKUP_INVALID`) with what to do.
    """
    durable_file.make_private_folder(cache_dir)
    _check_private(config.restic_password_file)
    restic = Restic(config, cache_dir=cache_dir)
    try:
        restic.list_snapshots()
    except NodeError as error:
        if not may_initialise or "there is no restic repository" not in error.message:
            raise
        restic.run(["init"])
    return restic


def escape_pattern(path):
    """A path as an exclude pattern of restic that matches it alone."""
    return re.sub(r"([\\*?\[])", r"\\\1", path)


def _read_environment_file(path):
    if not path:
        return
    _check_private(path)
    with open(path, encoding="utf-8") as stream:
        for line in stream:
            name, sign, value = line.strip().partition("=")
            if sign and not name.startswith("#"):
                yield name.strip(), value.strip().strip("\"'")


def _check_private(path):
    try:
        mode = stat.S_IMODE(os.stat(path).st_mode)
    except OSError as error:
        raise NodeError(
            "BACKUP_INVALID",
            "cannot read {0}: {1}".format(path, error.strerror),
            "Write the file that node.ini names (docs/reference/node-protocol.md).",
        ) from error
    if mode & 0o077:
        raise NodeError(
            "BACKUP_INVALID",
            "{0} can be read by others than its owner (mode {1:04o})".format(path, mode),
            "chmod 600 {0}".format(path),
        )
