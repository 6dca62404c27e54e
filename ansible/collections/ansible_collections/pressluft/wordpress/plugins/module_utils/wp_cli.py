"""WP-CLI, run as the site's own user: the site's code must never run as root only because we are root."""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass

from ansible_collections.pressluft.wordpress.plugins.module_utils.detached import MARKER
from ansible_collections.pressluft.wordpress.plugins.module_utils.held_folder import find_controller

_ENVIRONMENT = {
    "PATH": os.defpath + ":/usr/local/bin:/usr/sbin:/sbin",
    "LC_ALL": "C.UTF-8",
    "HOME": "/nonexistent",
}
_CONFIG, _INDEX = "wp-config.php", "index.php"
# The configuration holds a password: its reader runs the site. Where all code is root's, whoever writes uploads does.
_TELLS_THE_OWNER = (_CONFIG, _INDEX, "wp-content/uploads", ".", "..")
_MAY_READ = "foreach (array_slice($argv, 1) as $path) { if (!is_readable($path)) exit(1); }"


@dataclass(frozen=True)
class WpAnswer:
    """How a command ended. `said` is its output, the last 500 characters."""

    ok: bool
    said: str


def run_wp(environment, wp_cli, arguments, *, folder, timeout=10.0):
    """Run `wp <arguments>` on the WordPress in `folder` with the environment's PHP; `timeout` in seconds."""
    try:
        owner = find_owner(environment, wp_cli, folder)
    except OSError as error:
        return WpAnswer(False, "cannot run {0}: {1}".format(environment.php_cli, error))
    command = [environment.php_cli, wp_cli, *arguments, "--path=" + folder, "--no-color"]
    if owner is None and os.geteuid() == 0:
        command.append("--allow-root")
    try:
        done = _run(command, owner, timeout)
    except subprocess.TimeoutExpired:
        return WpAnswer(False, "no answer within {0:.0f} s".format(timeout))
    except OSError as error:
        return WpAnswer(False, "cannot run {0}: {1}".format(environment.php_cli, error))
    said = (done.stdout + done.stderr).decode("utf-8", "replace").strip()
    return WpAnswer(done.returncode == 0, said[-500:])


def find_owner(environment, wp_cli, folder):
    """Whose rights to take: whoever decides which code runs, if that user can read what it takes. None: ours.

    As root it is root only where nobody else owns any of it. Raises `OSError` where nobody who does can read it, or
    there is no such PHP.
    """
    if os.geteuid() != 0:
        return None
    wanted = [wp_cli, os.path.join(folder, _INDEX), os.path.join(folder, _CONFIG)]
    uids = [find_controller(os.path.join(folder, name)) for name in _TELLS_THE_OWNER]
    owners = [owner for owner in map(_read_account, filter(None, uids)) if owner]
    for owner in owners:
        if _may_read(environment, owner, [path for path in wanted if os.path.exists(path)]):
            return owner
    if any(uids):
        names = ", ".join(sorted({owner.pw_name for owner in owners})) or "nobody that this system knows"
        raise PermissionError(
            "{0} owns the site but may not read {1}, and its code never runs as root".format(
                names, " and ".join(wanted)
            )
        )
    return None


def _read_account(uid):
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        return None


def _may_read(environment, owner, paths):
    try:
        return _run([environment.php_cli, "-r", _MAY_READ, "--", *paths], owner, 10.0).returncode == 0
    except subprocess.SubprocessError:
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
