"""WP-CLI, run as the site's own user: the site's code must never run as root only because we are root."""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass

from ansible_collections.pressluft.wordpress.plugins.module_utils.detached import MARKER

_ENVIRONMENT = {
    "PATH": os.defpath + ":/usr/local/bin:/usr/sbin:/sbin",
    "LC_ALL": "C.UTF-8",
    "HOME": "/nonexistent",
}
_TELLS_THE_OWNER = (
    "wp-config.php",
    "index.php",
)  # the configuration holds a password: its reader runs the site
_MAY_READ = "exit(is_readable($argv[1]) && is_readable($argv[2]) ? 0 : 1);"


@dataclass(frozen=True)
class WpAnswer:
    """How a command ended. `said` is its output, the last 500 characters."""

    ok: bool
    said: str


def run_wp(environment, wp_cli, arguments, *, folder, timeout=10.0):
    """Run `wp <arguments>` on the WordPress in `folder` with the environment's PHP; `timeout` in seconds."""
    owner = find_owner(environment, wp_cli, folder)
    command = [environment.php_cli, wp_cli, *arguments, "--path=" + folder, "--no-color"]
    if owner is None and os.geteuid() == 0:
        command.append("--allow-root")
    try:
        done = _run(command, owner, timeout)
    except subprocess.TimeoutExpired:
        return WpAnswer(False, "no answer within {0:.0f} s".format(timeout))
    except OSError as error:
        return WpAnswer(False, str(error))
    said = (done.stdout + done.stderr).decode("utf-8", "replace").strip()
    return WpAnswer(done.returncode == 0, said[-500:])


def find_owner(environment, wp_cli, folder):
    """Whose rights to take: whoever owns the site's files, if that user can read what it takes. None: ours."""
    if os.geteuid() != 0:
        return None
    for name in _TELLS_THE_OWNER:
        owner = _read_owner(os.path.join(folder, name))
        if owner is not None and _may_read(
            environment, owner, [wp_cli, os.path.join(folder, _TELLS_THE_OWNER[0])]
        ):
            return owner
    return None


def _read_owner(path):
    try:
        owner = pwd.getpwuid(os.stat(path).st_uid)
    except (OSError, KeyError):
        return None
    return owner if owner.pw_uid else None


def _may_read(environment, owner, paths):
    try:
        return _run([environment.php_cli, "-r", _MAY_READ, "--", *paths], owner, 10.0).returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False


def _make_environment():
    """Ours without anything of ours, but for the mark that spares a detached program's children."""
    kept = {MARKER: os.environ[MARKER]} if MARKER in os.environ else {}
    return dict(_ENVIRONMENT, **kept)


def _run(command, owner, timeout):
    def become_owner():
        os.setgroups(os.getgrouplist(owner.pw_name, owner.pw_gid))
        os.setgid(owner.pw_gid)
        os.setuid(owner.pw_uid)

    return subprocess.run(  # Popen's own user= and group= came with Python 3.9
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=_make_environment(),
        cwd="/",
        timeout=timeout,
        check=False,
        preexec_fn=become_owner if owner else None,
    )
