"""What Ansible reads for one run: a folder in memory that only we can enter, and an environment of ours alone.

Everything from the fleet repo is written below YAML's `!unsafe`: Ansible then takes it as text. Without it,
`{{ lookup('pipe', ...) }}` in the name of a site would run on the controller.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from reconciler.adapters.process_tree import RUN_ID
from reconciler.ports import Json, NodeAddress, RunSpec

INVENTORY = "inventory.yml"
_EXTRA_VARS = "env/extravars"
"""Where ansible-runner looks for them; it hands them over as a file."""
_MAX_RESULT_BYTES = 16 * 1024 * 1024
"""ansible-runner silently empties larger results of a task; its own limit is 700 kB."""
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_HOST = re.compile(r"[A-Za-z0-9:][A-Za-z0-9.:%_-]*")


@dataclass(frozen=True, slots=True)
class SshTrust:
    """How nodes are logged in to: the key (else the agent's), and the file of host keys (else ssh's own)."""

    ssh_key: Path | None
    known_hosts: Path | None


def make_private_folder(spec: RunSpec, *, prefix: str, trust: SshTrust) -> Path:
    """Create the folder (0700) with inventory and variables. Raises ValueError for an address that is none."""
    inventory: dict[str, Json] = {"all": {"hosts": {spec.node.name: _make_host(spec.node, trust)}}}
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=find_private_parent()))
    for name in ("home", "tmp", "control", "env"):
        (folder / name).mkdir(mode=0o700)
    _write_unsafe(folder / INVENTORY, inventory)
    _write_unsafe(folder / _EXTRA_VARS, dict(spec.variables))
    return folder


def find_private_parent() -> Path:
    """Return a folder in memory if this machine has one, else the one for temporary files."""
    in_memory = _find_tmpfs()
    for name in (os.environ.get("XDG_RUNTIME_DIR"), "/dev/shm"):  # noqa: S108 - mkdtemp makes it ours alone
        if name and name in in_memory and os.access(name, os.W_OK | os.X_OK):
            return Path(name)
    return Path(tempfile.gettempdir())


def make_environment(folder: Path, *, playbook_root: Path, run_id: str, trust: SshTrust) -> dict[str, str]:
    """Return all that a run sees of an environment; of the daemon's own, only PATH and perhaps the agent."""
    environment = {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "HOME": str(folder / "home"),
        "LANG": "C.UTF-8",
        RUN_ID: run_id,
        "ANSIBLE_CONFIG": str(playbook_root / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(playbook_root / "collections"),
        "ANSIBLE_GATHERING": "explicit",
        "ANSIBLE_HOST_KEY_CHECKING": "True",
        "ANSIBLE_INVENTORY_ENABLED": "yaml",
        "ANSIBLE_LOCAL_TEMP": str(folder / "tmp"),
        "ANSIBLE_NOCOLOR": "True",
        "ANSIBLE_PIPELINING": "True",
        "ANSIBLE_SSH_ARGS": _make_ssh_arguments(trust),
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(folder / "control"),
        "MAX_EVENT_RES": str(_MAX_RESULT_BYTES),
    }
    agent = os.environ.get("SSH_AUTH_SOCK")
    return environment if trust.ssh_key or not agent else {**environment, "SSH_AUTH_SOCK": agent}


def _make_host(node: NodeAddress, trust: SshTrust) -> dict[str, Json]:
    """Return the host's variables. What ssh or Ansible could take for an option or a pattern is refused."""
    if not _WORD.fullmatch(node.name):
        raise ValueError(f"not a name for a node: {node.name!r}")
    python: dict[str, Json] = {"ansible_python_interpreter": node.python_interpreter}
    if node.host == "localhost" and node.port is None:
        return {"ansible_connection": "local", **python}
    if not _HOST.fullmatch(node.host) or not _WORD.fullmatch(node.user):
        raise ValueError(f"not an address for ssh: {node.user!r} at {node.host!r}")
    key: dict[str, Json] = {"ansible_ssh_private_key_file": str(trust.ssh_key)} if trust.ssh_key else {}
    return {
        "ansible_connection": "ssh",
        "ansible_host": node.host,
        "ansible_port": node.port or 22,
        "ansible_user": node.user,
        **key,
        **python,
    }


def _make_ssh_arguments(trust: SshTrust) -> str:
    """Return ssh's options. Given here they win over the operator's ssh_config, which may name jump hosts."""
    options = {
        "ControlMaster": "auto",
        "ControlPersist": "60s",
        "StrictHostKeyChecking": "yes",
        "BatchMode": "yes",
        "ForwardAgent": "no",
        "ForwardX11": "no",
        "ServerAliveInterval": "15",
        "ServerAliveCountMax": "3",
    }
    if trust.known_hosts:
        options |= {"UserKnownHostsFile": f'"{trust.known_hosts}"', "GlobalKnownHostsFile": os.devnull}
    if trust.ssh_key:
        # Ansible names it for its own connections; the action plugins that join two nodes have only these.
        options |= {"IdentitiesOnly": "yes", "IdentityFile": f'"{trust.ssh_key}"'}
    return shlex.join(part for name, value in options.items() for part in ("-o", f"{name}={value}"))


def _write_unsafe(path: Path, value: Mapping[str, Json]) -> None:
    """Write a document that Ansible takes as it is. The tag is on the whole: on a lone "1" it makes a number."""
    path.write_text("--- !unsafe\n" + yaml.safe_dump(dict(value)), encoding="utf-8")


def _find_tmpfs() -> set[str]:
    mounts = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    return {fields[1] for fields in mounts if fields[2] == "tmpfs"}
