# Copyright: The Pressluft authors
# Apache-2.0 (see LICENSE)

"""Tells how far a module is while it runs: a module itself can speak only at its end.

The module keeps a small file in its job's folder on the node (`module_utils/progress.py`). A listener reads it there,
over a connection of its own, and what it says becomes lines that Ansible displays. It is a courtesy: whatever goes
wrong with it takes the lines away and nothing else.
"""

from __future__ import annotations

import contextlib
import json
import posixpath
import subprocess
import threading

MARK = "pressluft progress: "
"""How such a line begins; the controller knows it by that (`reconciler/core/ansible_result.py`)."""
PATIENCE_SECONDS = 2.0
"""What is over by then needs no listener, which costs a login."""
_LINE_BYTES = 4096

# Says what the file holds whenever that changes; ends with its stdin.
_LISTENER = """
import os, select
seen = b""
while not select.select([0], [], [], 0.5)[0]:
    try:
        with open({0!r}, "rb") as stream: now = stream.read(4000)
    except OSError: continue
    if now != seen:
        seen = now
        os.write(1, now.replace(b"\\n", b" ") + b"\\n")
"""


class Listener:
    """Listens while it is open, in a thread; `tell` is called there with each line of text."""

    def __init__(self, address, path, *, job, ssh_options, tell):
        self._command = address.make_command(_LISTENER.format(path), ssh_options)
        self._job, self._tell = job, tell
        self._over = threading.Event()
        self._process = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self):
        """End it. What it ran on the node ends with its connection."""
        self._over.set()
        with self._lock:
            if self._process is not None:
                self._process.kill()
        self._thread.join()

    def _run(self):
        if self._over.wait(PATIENCE_SECONDS):
            return
        with contextlib.suppress(OSError):
            self._listen()

    def _listen(self):
        with self._lock:
            if self._over.is_set():
                return
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        with self._process as process:
            for line in iter(lambda: process.stdout.readline(_LINE_BYTES), b""):
                text = make_line(line, job=self._job)
                if text and not self._over.is_set():
                    self._tell(MARK + text)


def make_path(settings, job, environment):
    """Where the module keeps its file: node-protocol.md, The node's own files."""
    state_dir = str(settings.get("state_dir") or "/var/lib/pressluft")
    return posixpath.join(state_dir, str(environment["id"]), "jobs", str(job["id"]), "progress.json")


def make_line(content, *, job):
    """What the file says, for people; empty where it is none of this very run's, or nonsense.

    It came from a node: nothing of it is shown but numbers and a few plain words.
    """
    try:
        found = json.loads(content.decode("utf-8"))
        if (found["epoch"], found["step"]) != (int(job["epoch"]), str(job["step"])):
            return ""
        parts = [part for part in _find_parts(found) if part]
        doing = "".join(letter for letter in found["doing"][:60] if letter.isalpha() or letter == " ")
    except (ValueError, KeyError, TypeError):
        return ""
    return "{0}: {1}".format(doing, ", ".join(parts)) if parts else doing


def _find_parts(found):
    tables, rows = int(found["tables_total"]), int(found["rows_expected"])
    if tables:
        yield "{0} of {1} tables".format(int(found["tables"]), tables)
    if found["rows"] or rows:
        yield "{0:,}{1} rows".format(int(found["rows"]), " of about {0:,}".format(rows) if rows else "")
    if found["files"]:
        yield "{0:,} files".format(int(found["files"]))
    if found["bytes"]:
        yield "{0:,.1f} MB".format(int(found["bytes"]) / 1e6)
    yield _estimate(float(found["seconds"]), done=int(found["rows"]), expected=rows)


def _estimate(seconds, *, done, expected):
    """How long it may still take, once a twentieth of the rows is done."""
    if not 0.05 * expected < done < expected:
        return ""
    left = seconds * (expected - done) / done
    return "about {0} left".format(
        "{0:.0f} s".format(left) if left < 120 else "{0:.0f} min".format(left / 60)
    )
