"""`pressluft-recover`: finishes or reverses what a killed cut-over left half done, without a controller (spec.md §6).

One small process on each node looks at every environment every few seconds, and so right after boot as well. The
lock tells who is alive: while a program or a module holds it, nothing is done. What is found half done is gone on
with by the code that began it, in a process of its own, at the epoch that the node saw last; so a controller that
comes back with a higher one overtakes it, and one that waits for the lock finds the job ended.
"""

from __future__ import annotations

import argparse
import os
import sys
import time

from ansible_collections.pressluft.wordpress.plugins.module_utils.cut_over import make_arguments
from ansible_collections.pressluft.wordpress.plugins.module_utils.detached import restart_program
from ansible_collections.pressluft.wordpress.plugins.module_utils.durable_file import BrokenFile
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import (
    Job,
    make_job_folder_path,
    read_finished,
    read_state,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment_lock import take_lock
from ansible_collections.pressluft.wordpress.plugins.module_utils.journal import ENDED_CUTS, read_journal
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError

LOOK_SECONDS = 3.0
"""Between two looks: well under the 10 s in which a half-done cut-over must be gone on with (spec.md §6)."""
_STEP = "cut_over"


def find_half_done(folder):
    """The `Job` whose cut-over is half done in an environment's folder, or None. Needs no lock.

    One that ended as `failed` with an error is not: it waits for a person and a Reset.
    """
    state = read_state(folder)
    if not state["job"]:
        return None
    noted = read_journal(make_job_folder_path(folder, state["job"])) or {"cut": {}}
    stands = noted["cut"].get("state")
    if stands is None or state["job"] in read_finished(folder):
        return None
    if noted.get("error") and stands not in ENDED_CUTS:
        return None
    return Job(state["job"], int(dict(state["epochs"])[state["job"]]), noted["type"], _STEP)


def find_environments(state_dir):
    """The folders of the environments that this node knows, in order of id."""
    try:
        names = sorted(os.listdir(state_dir))
    except FileNotFoundError:
        return []
    folders = [os.path.join(state_dir, name) for name in names]
    return [folder for folder in folders if os.path.isfile(os.path.join(folder, "identity.json"))]


def recover_environment(folder, config_dir):
    """Start what goes on with an environment's half-done cut-over; returns its process, None if there is none.

    A lock that is held means that somebody is at work, so there is nothing to recover.
    """
    job = find_half_done(folder)
    if job is None:
        return None
    try:
        with take_lock(folder, job, wait=0) as lock:
            if find_half_done(folder) != job:
                return None
            state_dir, environment_id = os.path.split(folder)
            arguments = [*make_arguments(state_dir, config_dir, environment_id, job=job), "--resume"]
            return restart_program(make_job_folder_path(folder, job.id), _STEP, arguments, lock=lock)
    except NodeError:
        return None


class Watch:
    """The node's environments and the processes that go on with some of them, at most one for each."""

    def __init__(self, state_dir, config_dir, *, say):
        self._state_dir, self._config_dir, self._say = os.path.abspath(state_dir), config_dir, say
        self._running = {}

    def look(self):
        """Let go of processes that ended, and start those that are wanted."""
        for folder, process in list(self._running.items()):
            if process.poll() is not None:
                del self._running[folder]
                self._say("{0}: ended with exit code {1}".format(folder, process.returncode))
        for folder in find_environments(self._state_dir):
            if folder not in self._running:
                self._recover(folder)

    def finish(self):
        """Wait for all that was started; returns whether every one ended well."""
        codes = [process.wait() for process in self._running.values()]
        return not any(codes)

    def _recover(self, folder):
        try:
            process = recover_environment(folder, self._config_dir)
        except (OSError, BrokenFile) as error:  # one broken environment must not keep the others waiting
            self._say("{0}: {1}".format(folder, error))
            return
        if process is not None:
            self._running[folder] = process
            self._say("{0}: going on with a half-done cut-over".format(folder))


def main(arguments):
    """The loop; with `--once` a single look, which waits for what it started and exits 1 if that went wrong."""
    parser = argparse.ArgumentParser(prog="pressluft-recover")
    parser.add_argument("--state-dir", default="/var/lib/pressluft")
    parser.add_argument("--config-dir", default="/etc/pressluft")
    parser.add_argument("--once", action="store_true")
    given = parser.parse_args(arguments)
    watch = Watch(given.state_dir, given.config_dir, say=_say)
    watch.look()
    if given.once:
        return 0 if watch.finish() else 1
    while True:
        time.sleep(LOOK_SECONDS)
        watch.look()


def _say(line):
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
