"""What a node needs of Pressluft's own before the first job: the program and the unit of `pressluft-recover`."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile

from ansible_collections.pressluft.wordpress.plugins.module_utils import durable_file, recover
from ansible_collections.pressluft.wordpress.plugins.module_utils.detached import find_code
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError

UNIT = "pressluft-recover.service"
PROGRAM = "pressluft-recover.zip"
_OURS = "ansible_collections/pressluft/wordpress/plugins/module_utils/"
_MAIN = "import sys\nfrom {0} import main\nsys.exit(main(sys.argv[1:]))\n".format(recover.__name__)
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first date that a zip archive knows: equal code must be equal bytes
_SYSTEMD_SECONDS = 30
# systemd's own mark that it is the running init (sd_booted(3)).
_BOOTED, _UNITS = "/run/systemd/system", "/etc/systemd/system"


def prepare_node(state_dir, config_dir, *, service, check_mode):
    """Install the recovery; returns `{changed, recover}`, `changed` the paths that were or would be written.

    `service` asks for a unit of systemd. `recover` is `{program, unit, command, running, hint}`: `unit` is empty where
    none was asked for or systemd does not run, and `hint` says what to do then.
    """
    program, unit = os.path.join(state_dir, PROGRAM), os.path.join(_UNITS, UNIT)
    command = [sys.executable, program, "--state-dir", state_dir, "--config-dir", config_dir]
    wanted = {program: pack_code(find_code())}
    has_systemd = service and os.path.isdir(_BOOTED)
    if has_systemd:
        wanted[unit] = make_unit(command).encode("utf-8")
    changed = sorted(path for path, content in wanted.items() if _read(path) != content)
    if not check_mode:
        durable_file.make_private_folder(state_dir)
        for path in changed:
            durable_file.write_bytes(path, wanted[path], 0o644 if path == unit else 0o600)
        if has_systemd:
            _start_unit(anew=bool(changed))
    return {
        "changed": changed,
        "recover": {
            "program": program,
            "unit": unit if has_systemd else "",
            "command": command,
            "running": has_systemd and _is_running(),
            "hint": "" if has_systemd else make_hint(command),
        },
    }


def pack_code(code):
    """Pressluft's own part of an archive or a source tree, as an archive that Python runs as `pressluft-recover`.

    The same bytes for the same code.
    """
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted({**_read_code(code), "__main__.py": _MAIN.encode("utf-8")}.items()):
            member = zipfile.ZipInfo(name, _EPOCH)
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, content)
    return packed.getvalue()


def make_unit(command):
    """The unit's text. Stopping it leaves alone what goes on with a cut-over: that must come to its end."""
    return """[Unit]
Description=Pressluft: finish or reverse a half-done cut-over
After=mariadb.service mysql.service

[Service]
ExecStart={0}
Restart=always
RestartSec=2
KillMode=process

[Install]
WantedBy=multi-user.target
""".format(" ".join(command))


def make_hint(command):
    """What to do without a unit."""
    return (
        "no unit of systemd was started: let what supervises services on this node run this all the time, from boot"
        " on: {0}".format(" ".join(command))
    )


def _read_code(code):
    """Our modules by their names in an archive, with the empty files that make packages of the folders."""
    steps = _OURS.strip("/").split("/")
    found = {"/".join([*steps[:depth], "__init__.py"]): b"" for depth in range(1, len(steps) + 1)}
    if os.path.isdir(code):
        folder = os.path.join(code, _OURS)
        for name in os.listdir(folder):
            if name.endswith(".py"):
                with open(os.path.join(folder, name), "rb") as stream:
                    found[_OURS + name] = stream.read()
        return found
    with zipfile.ZipFile(code) as archive:
        for name in archive.namelist():
            if name.startswith(_OURS) and name.endswith(".py") and "/" not in name[len(_OURS) :]:
                found[name] = archive.read(name)
    return found


def _read(path):
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except FileNotFoundError:
        return None


def _start_unit(*, anew):
    if anew:
        _run_systemctl("daemon-reload")
    _run_systemctl("enable", UNIT)
    _run_systemctl("restart" if anew else "start", UNIT)


def _is_running():
    done = subprocess.run(["systemctl", "is-active", "--quiet", UNIT], timeout=_SYSTEMD_SECONDS, check=False)
    return done.returncode == 0


def _run_systemctl(*words):
    done = subprocess.run(
        ["systemctl", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_SYSTEMD_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise NodeError(
            "ANSIBLE_HOST_FAILED",
            "systemctl {0} failed: {1}".format(
                " ".join(words), done.stderr.decode("utf-8", "replace").strip()[-300:]
            ),
            "Look at it on the node with systemctl status {0}, then prepare the node again.".format(UNIT),
        )
