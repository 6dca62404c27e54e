"""A program that outlives the connection, the module and the controller that started it (design §5).

It is the module's own code: the archive that Ansible sent is copied beside the job's journal, and the same
interpreter runs it in a session of its own. It inherits the environment's lock, so nobody can step in between.
"""

from __future__ import annotations

import os
import subprocess
import sys

from ansible_collections.pressluft.wordpress.plugins.module_utils import durable_file

MARKER = "PRESSLUFT_DETACHED"
"""In the environment of the program and its children, with the job's id: who cleans up processes spares them."""

_PACKAGE = "ansible_collections.pressluft.wordpress.plugins.module_utils"
_START = "import sys; sys.path.insert(0, sys.argv[1]); from {0}.{1} import main; sys.exit(main(sys.argv[2:]))"
_LOG_KEPT = 4000
_CARRIED = "program.zip"


def start_program(journal, name, arguments, *, lock):
    """Start `module_utils/<name>.py`'s `main(arguments)` detached, and hand it the lock. Returns at once.

    `lock` is the lock's descriptor: the caller may close its own afterwards. The program's output goes to
    `program.log` beside the journal.
    """
    command = [*_make_command(_keep_code(journal), name, arguments), "--lock", str(lock)]
    log = _open_log(journal.make_path("program.log"))
    try:
        # Two forks and a session of its own: the shell between ends at once, and whoever started us can neither
        # wait for the program nor reach it by process group or terminal.
        launcher = subprocess.Popen(
            ["/bin/sh", "-c", '"$@" & exit 0', "sh", *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=_make_environment(journal.job_id),
            pass_fds=(lock,),
            start_new_session=True,
        )
        launcher.wait()
    finally:
        os.close(log)


def restart_program(folder, name, arguments, *, lock):
    """Start the program of a job again, as a child of ours, with the very code that was carried for it.

    `folder` is the job's. Where nothing was carried, this very code is used. Returns the `Popen`; the lock is the
    child's as well from now on.
    """
    carried = os.path.join(folder, _CARRIED)
    code = carried if os.path.isfile(carried) else find_code()
    log = _open_log(os.path.join(folder, "program.log"))
    try:
        return subprocess.Popen(
            [*_make_command(code, name, arguments), "--lock", str(lock)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=_make_environment(os.path.basename(folder)),
            pass_fds=(lock,),
            start_new_session=True,
        )
    finally:
        os.close(log)


def read_log(folder):
    """The end of what the program printed: only what went wrong unforeseen."""
    try:
        with open(os.path.join(folder, "program.log"), "rb") as stream:
            return stream.read()[-_LOG_KEPT:].decode("utf-8", "replace").strip()
    except FileNotFoundError:
        return ""


def find_code():
    """Where this very code is: the archive that Ansible sent, or the folder that holds `ansible_collections`."""
    archive = getattr(__loader__, "archive", None)
    return archive or os.path.abspath(os.path.join(__file__, *[os.pardir] * 6))


def _keep_code(journal):
    """The archive is deleted when the module ends, so the program runs a copy; a source tree is used as it is."""
    code = find_code()
    if os.path.isdir(code):
        return code
    path = journal.make_path(_CARRIED)
    if os.path.realpath(code) != os.path.realpath(path):
        with open(code, "rb") as stream:
            durable_file.write_bytes(path, stream.read())
    return path


def _make_command(code, name, arguments):
    """The command that runs `module_utils/<name>.py`'s `main(arguments)` out of an archive or a source tree."""
    return [sys.executable, "-c", _START.format(_PACKAGE, name), code, *arguments]


def _make_environment(job_id):
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", MARKER: job_id}


def _open_log(path):
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
