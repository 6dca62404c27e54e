"""What every test may use. The servers are described in tests/servers.py."""

from tests.servers import database, mariadb, server_folder, session_folder

__all__ = ["database", "mariadb", "server_folder", "session_folder"]
