"""A consistent dump of one environment's tables, in a private file that never outlives the process."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass

from ansible_collections.pressluft.wordpress.plugins.module_utils import durable_file
from ansible_collections.pressluft.wordpress.plugins.module_utils.detached import MARKER
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError

FILE_NAME = "database.sql"
_COMPLETED = b"-- Dump completed"
_BLOCK = 1 << 20
_OPTIONS = (
    "--single-transaction",
    "--quick",
    "--skip-lock-tables",
    "--hex-blob",
    "--triggers",
    "--default-character-set=utf8mb4",
    "--max-allowed-packet=1G",
    "--dump-date",
)


@dataclass(frozen=True)
class Dump:
    """`path` of the dump, the SHA-256 of its bytes in hex, its size in bytes."""

    path: str
    sha256: str
    size: int


@contextlib.contextmanager
def hold_dump(folder, *, defaults_file, database, tables):
    """Dump tables into `<folder>/database.sql` and yield the `Dump`; the folder is gone afterwards, always.

    Raises `NodeError` (`BACKUP_INVALID`) unless the dump ended well and says so itself.
    """
    shutil.rmtree(folder, ignore_errors=True)
    durable_file.make_private_folder(folder)
    with _remove_after_death(folder):
        try:
            path = os.path.join(folder, FILE_NAME)
            yield _write_dump(path, defaults_file=defaults_file, database=database, tables=tables)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _remove_after_death(folder):
    """Even a killed process leaves no plain copy: a shell waits for the end of a pipe and then removes it."""
    # Marked, so that whoever cleans up after a cancelled run leaves it to its work.
    environment = {"PATH": os.environ.get("PATH", os.defpath), MARKER: "dump"}
    with subprocess.Popen(
        ["/bin/sh", "-c", 'cat >/dev/null; rm -rf -- "$1"', "sh", folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env=environment,
        start_new_session=True,
    ):
        yield


def _write_dump(path, *, defaults_file, database, tables):
    program = shutil.which("mariadb-dump") or shutil.which("mysqldump")
    if program is None:
        raise _make_error("mariadb-dump is not installed on this node")
    command = [program, "--defaults-file=" + defaults_file, *_OPTIONS, "--", database, *tables]
    digest, size, end = hashlib.sha256(), 0, b""
    with open(path, "wb") as target, open(path + ".errors", "w+b") as errors:
        os.chmod(path, 0o600)
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=_make_environment()
        ) as process:
            try:
                block = process.stdout.read(_BLOCK)
                while block:
                    target.write(block)
                    digest.update(block)
                    size, end = size + len(block), (end + block)[-200:]
                    block = process.stdout.read(_BLOCK)
            except BaseException:
                process.kill()
                raise
        errors.seek(0)
        said = errors.read().decode("utf-8", "replace").strip()[-300:]
    os.unlink(path + ".errors")
    if process.returncode != 0:
        raise _make_error(
            "{0} ended with {1}: {2}".format(os.path.basename(program), process.returncode, said)
        )
    if _COMPLETED not in end:
        raise _make_error("the dump does not say at its end that it is complete")
    return Dump(path, digest.hexdigest(), size)


def _make_environment():
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"}


def _make_error(message):
    return NodeError(
        "BACKUP_INVALID",
        message,
        "Nothing was backed up. Look at the database server on the node, then run the job again.",
        retry=True,
    )
