"""What every test may use. The servers are described in tests/servers.py."""

from tests.servers import (
    database,
    mariadb,
    node_config,
    server_folder,
    session_folder,
    sshd,
    stack,
    wordpress_pair,
)

__all__ = [
    "database",
    "mariadb",
    "node_config",
    "server_folder",
    "session_folder",
    "sshd",
    "stack",
    "wordpress_pair",
]
