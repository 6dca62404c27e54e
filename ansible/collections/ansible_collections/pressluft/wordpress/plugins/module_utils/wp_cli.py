"""WP-CLI, run as the site's own user: the site's code must never run as root only because we are root."""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass

_ENVIRONMENT = {
    "PATH": os.defpath + ":/usr/local/bin:/usr/sbin:/sbin",
    "LC_ALL": "C.UTF-8",
    "HOME": "/nonexistent",
}
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
    """Whose rights to take: the owner of the site's index.php, if that user can read what it takes. None: ours."""
    if os.geteuid() != 0:
        return None
    index = os.path.join(folder, "index.php")
    try:
        owner = pwd.getpwuid(os.stat(index).st_uid)
    except (OSError, KeyError):
        return None
    if owner.pw_uid == 0:
        return None
    try:
        readable = _run([environment.php_cli, "-r", _MAY_READ, "--", wp_cli, index], owner, 10.0)
    except (OSError, subprocess.SubprocessError):
        return None
    return owner if readable.returncode == 0 else None


def _run(command, owner, timeout):
    def become_owner():
        os.setgroups(os.getgrouplist(owner.pw_name, owner.pw_gid))
        os.setgid(owner.pw_gid)
        os.setuid(owner.pw_uid)

    return subprocess.run(  # Popen's own user= and group= came with Python 3.9
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=_ENVIRONMENT,
        cwd="/",
        timeout=timeout,
        check=False,
        preexec_fn=become_owner if owner else None,
    )
