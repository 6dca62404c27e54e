"""Whether a database server can exchange tables so that a crash leaves all of them or none."""

from __future__ import annotations

import re

from ansible_collections.pressluft.wordpress.plugins.module_utils.database import run_query
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.right_check import check_rights

OLDEST_MARIADB = (10, 6, 1)  # the first whose RENAME TABLE is atomic and crash-safe (design §5)
OLDEST_MYSQL = (8,)  # as above
REMEDY = "Use MariaDB 10.6.1 or newer: RENAME TABLE of an older server does not survive a crash."


def check_server(conn):
    """Refuse a server that a crash in the middle of the exchange would leave half old and half new.

    Raises `NodeError` (`SCHEMA_UNSUPPORTED`).
    """
    server = read_server(conn)
    if not is_new_enough(server):
        raise NodeError("SCHEMA_UNSUPPORTED", "the database server is {0}".format(server), REMEDY)


def check_exchange(conn, databases):
    """Refuse a server that cannot exchange tables between these databases safely, and a login that may not do so.

    As `check_server` and `check_rights`; the databases need not exist.
    """
    check_server(conn)
    check_rights(conn, databases)


def read_server(conn):
    """The server's name and version, as `MariaDB 10.11.14-MariaDB-0+deb12u2`."""
    [(version, comment)] = run_query(conn, "SELECT VERSION(), @@version_comment")
    maker = "MariaDB" if "mariadb" in (str(version) + str(comment)).lower() else "MySQL"
    return "{0} {1}".format(maker, version)


def is_new_enough(server):
    """Whether `server` (as `read_server` gives it) exchanges tables atomically."""
    maker, version = server.split(" ", 1)
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:3])
    return numbers >= (OLDEST_MARIADB if maker == "MariaDB" else OLDEST_MYSQL)
