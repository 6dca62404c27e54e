"""A job's diary on the node: one file, written whole and fsynced after every step (node-protocol.md)."""

from __future__ import annotations

import os

from ansible_collections.pressluft.wordpress.plugins.module_utils import clock, durable_file, reserve

# Where a cut-over stands, in its order; `reversed` is the other end (node-protocol.md, Results).
STARTED, RENAMED, SWITCHED, HEALTHY, REVERSED = "started", "renamed", "switched", "healthy", "reversed"
STAGED = "staged"
"""The step after which a cut-over may begin."""
ENDED_CUTS = frozenset({HEALTHY, REVERSED})


class Journal:
    """The steps of one job on one environment. Only the holder of the environment's lock may record."""

    def __init__(self, folder, job):
        self.folder = folder
        self._path = os.path.join(folder, "journal.json")
        self._environment_folder = os.path.dirname(os.path.dirname(folder))
        empty = {
            "job_id": job.id,
            "type": job.type,
            "epoch": job.epoch,
            "steps": [],
            "cut": {},
            "result": None,
        }
        self._content = read_journal(folder) or empty

    @property
    def job_id(self):
        """The job whose diary this is."""
        return self._content["job_id"]

    @property
    def steps(self):
        """Names of the finished steps, oldest first."""
        return [step["name"] for step in self._content["steps"]]

    @property
    def cut(self):
        """What the cut-over noted so far, a copy; empty before it started."""
        return dict(self._content["cut"])

    @property
    def result(self):
        """What the job's last step returned, or None."""
        return self._content["result"]

    def has(self, name):
        """Whether a step was finished."""
        return name in self.steps

    def read_detail(self, name):
        """What a finished step left for later ones; empty if it did not run."""
        found = [step["detail"] for step in self._content["steps"] if step["name"] == name]
        return dict(found[-1]) if found else {}

    def record(self, name, detail=None, epoch=None):
        """Note a finished step; one that is repeated takes the place of its earlier self."""
        steps = [step for step in self._content["steps"] if step["name"] != name]
        steps.append({"name": name, "at": clock.read_now(), "detail": dict(detail or {})})
        self._write(steps=steps, epoch=epoch or self._content["epoch"])

    def forget(self, *names):
        """Drop steps whose effects were undone."""
        self._write(steps=[step for step in self._content["steps"] if step["name"] not in names])

    def record_cut(self, **fields):
        """Note where the cut-over stands; fields that are not named stay."""
        self._write(cut=dict(self._content["cut"], **fields))

    @property
    def error(self):
        """The `pressluft_error` that the job's last step ended with, or None."""
        return self._content["error"]

    def record_end(self, result, error=None):
        """Note how the job ended on this node: what it returned and, if it failed, its `pressluft_error`."""
        self._write(result=result, error=error)
        reserve.give_back(self._environment_folder)

    def restart(self):
        """Forget what was staged and cut: the job begins again, and nothing live is left of it."""
        kept = [step for step in self._content["steps"] if step["name"] != STAGED]
        self._write(steps=kept, cut={}, result=None, error=None)

    def make_path(self, name):
        """The path of a file beside the journal; its folder exists after the first record."""
        durable_file.make_private_folder(self.folder)
        return os.path.join(self.folder, name)

    def _write(self, **fields):
        durable_file.make_private_folder(self.folder)
        self._content = dict(self._content, **fields)
        reserve.write_json(self._environment_folder, self._path, self._content)


def read_journal(folder):
    """The content of a job's journal, or None: without any lock, for those who only look."""
    return durable_file.read_json(os.path.join(folder, "journal.json"))
