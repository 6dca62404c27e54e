"""What a node's owner wrote into `/etc/pressluft/node.ini`: where credentials lie, never what they are."""

from __future__ import annotations

import configparser
import os
from dataclasses import dataclass

from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError


@dataclass(frozen=True)
class NodeConfig:
    """Paths only; `environment_file` is empty where restic needs no variables. See node-protocol.md."""

    mysql_defaults_file: str
    restic_repository: str
    restic_password_file: str
    restic_environment_file: str
    wp_cli: str
    fastcgi_listen: str


def read_node_config(config_dir):
    """Read `<config_dir>/node.ini`; keys that are left out have the documented defaults.

    Raises `NodeError` when the file is missing or not an INI file.
    """
    path = os.path.join(config_dir, "node.ini")
    parser = configparser.ConfigParser(interpolation=None, inline_comment_prefixes=(";",))
    try:
        with open(path, encoding="utf-8") as stream:
            parser.read_file(stream)
    except (OSError, configparser.Error) as error:
        raise NodeError(
            "ANSIBLE_HOST_FAILED",
            "cannot read {0}: {1}".format(path, error),
            "Write node.ini as docs/reference/node-protocol.md describes, readable by root alone.",
        ) from error

    def value(section, name, default):
        return parser.get(section, name, fallback=default).strip()

    return NodeConfig(
        mysql_defaults_file=value("mysql", "defaults_file", os.path.join(config_dir, "mysql.cnf")),
        restic_repository=value("restic", "repository", "/var/backups/pressluft"),
        restic_password_file=value("restic", "password_file", os.path.join(config_dir, "restic.password")),
        restic_environment_file=value("restic", "environment_file", ""),
        wp_cli=value("wp", "cli", "/usr/local/bin/wp"),
        fastcgi_listen=value("fastcgi", "listen", ""),
    )
