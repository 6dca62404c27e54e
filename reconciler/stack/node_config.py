"""What a node that runs on this stack must be told: credentials and places, as docs/reference/node-protocol.md."""

import secrets
import shutil
from pathlib import Path

from reconciler.stack.account import make_folder, write_file
from reconciler.stack.stack import Stack


def place_cli(stack: Stack) -> str:
    """Put WP-CLI where the sites' own user can read it, as on a node; empty where there is none.

    The cache it comes from may lie in root's home, and a site's code never runs as root.
    """
    if stack.wordpress.cli is None:
        return ""
    path = stack.folder / "wp-cli.phar"
    shutil.copyfile(stack.wordpress.cli, path)
    path.chmod(0o755)
    return str(path)


def write_node_config(stack: Stack, folder: Path, *, restic_repository: Path) -> Path:
    """Write node.ini, mysql.cnf and restic.password (modes 0700, 0600) for a node of this stack; return `folder`.

    `folder` becomes the node's `config_dir`. The restic repository is only named; `restic init` makes it.
    """
    make_folder(folder, mode=0o700)
    credentials = stack.mariadb.client_file.read_text(encoding="utf-8")
    write_file(folder / "mysql.cnf", credentials, mode=0o600)
    write_file(folder / "restic.password", secrets.token_urlsafe(24) + "\n", mode=0o600)
    cli = place_cli(stack)
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
