"""What a node that runs on this stack must be told: credentials and places, as docs/reference/node-protocol.md."""

import secrets
from pathlib import Path

from reconciler.stack.account import make_folder, write_file
from reconciler.stack.stack import Stack


def write_node_config(stack: Stack, folder: Path, *, restic_repository: Path) -> Path:
    """Write node.ini, mysql.cnf and restic.password (modes 0700, 0600) for a node of this stack; return `folder`.

    `folder` becomes the node's `config_dir`. The restic repository is only named; `restic init` makes it.
    """
    make_folder(folder, mode=0o700)
    credentials = stack.mariadb.client_file.read_text(encoding="utf-8")
    write_file(folder / "mysql.cnf", credentials, mode=0o600)
    write_file(folder / "restic.password", secrets.token_urlsafe(24) + "\n", mode=0o600)
    cli = stack.wordpress.cli or ""
    node_ini = f"""[mysql]
defaults_file = {folder}/mysql.cnf
[restic]
repository = {restic_repository}
password_file = {folder}/restic.password
environment_file =
[wp]
cli = {cli}
"""
    write_file(folder / "node.ini", node_ini, mode=0o600)
    return folder
