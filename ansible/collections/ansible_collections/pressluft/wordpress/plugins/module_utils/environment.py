"""What a node knows of an environment: its bound identity, its lock, its epochs, its state."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import Tuple

from ansible_collections.pressluft.wordpress.plugins.module_utils import (
    clock,
    durable_file,
    identity,
    reserve,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment_lock import (
    read_holder,
    take_lock,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.journal import Journal, read_journal
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError

LOCK_WAIT_SECONDS = 30.0
GLANCE = 0
"""The epoch of a periodic look, which nobody claimed."""
_EPOCHS_KEPT = 200


@dataclass(frozen=True)
class Job:
    """The job a step belongs to. `controller_time` is ISO 8601, empty where it is not to be compared."""

    id: str
    epoch: int
    type: str
    step: str
    controller_time: str = ""


@dataclass(frozen=True)
class Environment:
    """An isolated runtime of a site as the controller describes it. `stable_for` is in seconds."""

    id: str
    name: str
    type: str
    url: str
    root: str
    database: str
    table_prefix: str
    php_cli: str
    fpm_service: str
    cache_path: str
    health_urls: Tuple[str, ...]
    body_contains: str
    stable_for: float

    def table(self, name):
        """The table's real name: `posts` is `wp_posts`."""
        return self.table_prefix + name

    @property
    def current(self):
        """The link that the web server serves: `<root>/current`."""
        return os.path.join(self.root, "current")

    def release(self, name):
        """The folder of a release."""
        return os.path.join(self.root, "releases", name)


def make_environment(params):
    """Turn an `<environment>` of node-protocol.md into values; what may be absent there gets its default."""
    database = params["database"]
    php = params.get("php") or {}
    health = params.get("health") or {}
    return Environment(
        id=str(params["id"]),
        name=params.get("name") or "",
        type=params["type"],
        url=params["url"],
        root=params["root"],
        database=database["name"],
        table_prefix=database["table_prefix"],
        php_cli=php.get("cli") or "php",
        fpm_service=php.get("fpm_service") or "",
        cache_path=(params.get("web_server") or {}).get("cache_path") or "",
        health_urls=tuple(health.get("urls") or [params["url"]]),
        body_contains=health.get("body_contains") or "",
        stable_for=float(health.get("stable_for") or 0),
    )


class EnvironmentState:
    """An environment under its lock: the only thing through which its folder is changed."""

    def __init__(self, folder, environment, *, job, lock):
        self.folder = folder
        self.environment = environment
        self.job = job
        self.lock = lock

    @property
    def status(self):
        """One of `active cloning deploying restoring failed`; a new environment is `active`."""
        return self._read()["status"]

    @property
    def content(self):
        """The whole of state.json, a copy."""
        return self._read()

    def set_status(self, status):
        """Change the status, durably."""
        self.record(status=status)

    def record(self, **fields):
        """Change fields of state.json; those that are not named stay."""
        reserve.write_json(self.folder, self._path("state.json"), dict(self._read(), **fields))

    def journal(self, job_id=None):
        """The journal of this run's job, or of an earlier one."""
        job = self.job if job_id in (None, self.job.id) else Job(job_id, 0, "", "")
        return Journal(make_job_folder_path(self.folder, job.id), job)

    def finish_job(self):
        """Note that this job ended here, so that it never runs again; a promotion only ends with its cut-over."""
        is_last = self.job.type != "env_promote" or self.job.step == "cut_over"
        if is_last and self.job.id not in read_finished(self.folder):
            durable_file.append_line(self._path("finished.txt"), self.job.id)

    def path(self, name):
        """The path of one of the environment's own files."""
        return self._path(name)

    def report(self):
        """The `node` of every result (node-protocol.md, Results)."""
        return make_report(self.folder, self.job.id)

    def _path(self, name):
        return os.path.join(self.folder, name)

    def _read(self):
        return read_state(self.folder)


@contextlib.contextmanager
def open_environment(state_dir, environment, *, job, conn, lock_wait=LOCK_WAIT_SECONDS, lock_descriptor=None):
    """Lock an environment for one step and yield its `EnvironmentState`.

    Binds the identity on first contact, else compares it (`IDENTITY_MISMATCH`); refuses roots and tables that
    overlap another environment of this node, a clock off by over 30 s, an epoch that was superseded
    (`CLAIM_SUPERSEDED`) and a job that ended here (`JOB_FINISHED`). `conn` is a PyMySQL connection to the
    environment's server; None compares everything but the server and binds nothing. `lock_descriptor` is a
    lock handed down by a parent process. The lock is waited for `lock_wait` seconds.
    """
    clock.check_skew(job.controller_time)
    folder = make_environment_folder_path(state_dir, environment.id)
    durable_file.make_private_folder(folder)
    with take_lock(folder, job, wait=lock_wait, descriptor=lock_descriptor) as lock:
        identity.bind_identity(state_dir, folder, environment, conn)
        _claim(folder, job)
        yield EnvironmentState(folder, environment, job=job, lock=lock)


def check_rest(state_dir, environment):
    """Return the state of an environment that no step of a job works on. Takes no lock and changes nothing.

    Raises `NodeError`: one is at work, the environment is not `active`, its identity differs or was never bound.
    """
    folder = make_environment_folder_path(state_dir, environment.id)
    if not os.path.exists(os.path.join(folder, "identity.json")):
        raise make_restless(environment, "no job was ever let in there")
    identity.bind_identity(state_dir, folder, environment, None)
    state, holder = read_state(folder), read_holder(folder)
    if holder is not None or state["status"] != "active":
        raise make_restless(environment, "a job is at work there" if holder else "it is " + state["status"])
    return state


def make_restless(environment, reason):
    """The error of a periodic look at a bad moment."""
    return NodeError(
        "ENVIRONMENT_NOT_ACTIVE",
        "{0} was not looked at: {1}".format(environment.name, reason),
        "Nothing to do: it is looked at again later.",
    )


def make_environment_folder_path(state_dir, environment_id):
    """The environment's own folder. Ids are checked, since they come from a repository."""
    return os.path.join(state_dir, check_name(environment_id))


def make_job_folder_path(folder, job_id):
    """The folder of one job's journal."""
    return os.path.join(folder, "jobs", check_name(job_id))


def check_name(text):
    """Return `text` if it is safe as one component of a path (ids are UUIDs). Raises `NodeError`."""
    if text and text[0] != "." and all(letter.isalnum() or letter in "-_." for letter in text):
        return text
    raise NodeError("INTENT_INVALID", "{0!r} is not an id".format(text), "Use the ids that Pressluft gave.")


def read_state(folder):
    """state.json with every field there; read without the lock by those who only look."""
    empty = {
        "status": "active",
        "epoch": 0,
        "job": None,
        "epochs": [],  # pairs of job id and highest epoch, newest last
        "last_change_at": None,
        "current_release": None,
        "previous_release": None,
        "cut": None,
    }
    return dict(empty, **(durable_file.read_json(os.path.join(folder, "state.json")) or {}))


def read_finished(folder):
    """The ids of the jobs that ended here."""
    try:
        with open(os.path.join(folder, "finished.txt"), encoding="utf-8") as stream:
            return set(stream.read().split())
    except FileNotFoundError:
        return set()


def make_report(folder, job_id):
    """The `node` part of a result, from the files alone: needs no lock and changes nothing."""
    state = read_state(folder)
    journal = read_journal(make_job_folder_path(folder, job_id)) or {"steps": [], "cut": {}}
    shown = ("status", "epoch", "last_change_at", "current_release", "previous_release")
    report = {name: state[name] for name in shown}
    report["now"] = clock.read_now()
    report["journal"] = [step["name"] for step in journal["steps"]]
    report["cut"] = journal["cut"].get("state")
    return report


def make_job_word(folder, job_id):
    """The `job` part of a probe: where the job stands by its journal. Needs no lock and changes nothing."""
    journal = read_journal(make_job_folder_path(folder, job_id)) or {"cut": {}}
    return {
        "finished": job_id in read_finished(folder),
        "cut": journal["cut"].get("state"),
        "running": read_holder(folder) == job_id,
        "result": journal.get("result"),
        "error": journal.get("error"),
    }


def _claim(folder, job):
    """Refuse a claim that a newer one overtook, and remember this one.

    A claim of the same job with a higher epoch overtakes; so does any other job that was let in since,
    because a site runs one job at a time.
    """
    state = read_state(folder)
    seen = dict(state["epochs"]).get(job.id)
    overtaken = seen is not None and (job.epoch < seen or (state["job"] != job.id and job.epoch == seen))
    if overtaken:
        raise NodeError(
            "CLAIM_SUPERSEDED",
            "epoch {0} of job {1} was superseded here by epoch {2} of job {3}".format(
                job.epoch, job.id, state["epoch"], state["job"]
            ),
            "Nothing to do: another worker carries on.",
        )
    if job.id in read_finished(folder):
        raise NodeError(
            "JOB_FINISHED",
            "job {0} already ended on this node".format(job.id),
            "Nothing to do: write a new intent to run it again.",
            partial={"node": make_report(folder, job.id), "job": make_job_word(folder, job.id)},
        )
    if state["job"] != job.id or seen != job.epoch:
        others = [pair for pair in state["epochs"] if pair[0] != job.id][-_EPOCHS_KEPT:]
        fields = {"epoch": job.epoch, "job": job.id, "epochs": [*others, [job.id, job.epoch]]}
        durable_file.write_json(os.path.join(folder, "state.json"), dict(state, **fields))
