"""After a switch: PHP forgets the old code, and no cache serves an old page."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess

from ansible_collections.pressluft.wordpress.plugins.module_utils.wp_cli import run_wp

_LEVEL = re.compile(r"[0-9a-f]{1,2}")
_PAGE = re.compile(r"[0-9a-f]{32}(?:\.[0-9]+)?")
_RELOAD_SECONDS = 20


def reload_php(fpm_service):
    """Let PHP-FPM start its workers anew; returns "" or what went wrong. Requests under way are finished first.

    A path is a pid file whose process gets SIGUSR2, anything else a systemd unit; empty is nothing to do.
    """
    if not fpm_service:
        return ""
    if os.path.isabs(fpm_service):
        return _signal_master(fpm_service)
    try:
        done = subprocess.run(
            ["systemctl", "reload", fpm_service],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_RELOAD_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return "cannot reload {0}: {1}".format(fpm_service, error)
    said = done.stderr.decode("utf-8", "replace").strip()
    return "" if done.returncode == 0 else "cannot reload {0}: {1}".format(fpm_service, said[-300:])


def purge_pages(cache_path):
    """Delete every page of nginx's FastCGI cache; returns their number.

    Only what has the shape of such a page goes (32 hex digits, in folders of one or two), so that a mistaken
    `cache_path` costs nothing.
    """
    if not cache_path or not os.path.isabs(cache_path):
        return 0
    purged = 0
    for folder, folders, files in os.walk(cache_path):
        folders[:] = [name for name in folders if _LEVEL.fullmatch(name)]
        for name in filter(_PAGE.fullmatch, files):
            with contextlib.suppress(FileNotFoundError):  # nginx deletes pages as well
                os.unlink(os.path.join(folder, name))
                purged += 1
    return purged


def flush_objects(environment, wp_cli):
    """Empty a persistent object cache, where the site has one; returns "" or what went wrong."""
    folder = os.path.realpath(environment.current)
    if not os.path.exists(os.path.join(folder, "wp-content", "object-cache.php")):
        return ""
    answer = run_wp(environment, wp_cli, ["cache", "flush"], folder=folder, timeout=30.0)
    return "" if answer.ok else "cannot flush the object cache: {0}".format(answer.said)


def _signal_master(pid_file):
    """The file may be another's to write: only a PHP-FPM is signalled, and never a group of processes."""
    try:
        with open(pid_file, encoding="ascii") as stream:
            pid = int(stream.read(32).strip())
        if pid <= 1 or not _is_php(pid):
            return "cannot reload PHP-FPM by {0}: process {1} is no php-fpm".format(pid_file, pid)
        os.kill(pid, signal.SIGUSR2)
    except (OSError, ValueError) as error:
        return "cannot reload PHP-FPM by {0}: {1}".format(pid_file, error)
    return ""


def _is_php(pid):
    with open("/proc/{0}/comm".format(pid), encoding="utf-8", errors="replace") as stream:
        return stream.read().startswith("php-fpm")
