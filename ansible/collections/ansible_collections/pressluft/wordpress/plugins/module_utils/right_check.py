"""What the database login may do, found out beforehand and without doing it.

Each statement is tried on a table that is not there. A server refuses who may not before it looks whether there is one,
also in a database that is not there yet (MariaDB 10.11; tests/integration/node/test_right_check.py). Grants are not
read: roles, patterns and proxies make them another language.
"""

from __future__ import annotations

from ansible_collections.pressluft.wordpress.plugins.module_utils.database import (
    DatabaseError,
    quote_name,
    run_query,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError

_NOWHERE = quote_name("pressluft no such table")
_DENIED = ("1044: ", "1142: ", "1143: ")
"""Access denied to a database, a table, a column; anything else says that it may, or cannot be said beforehand."""
_SIGHT = (
    "SELECT 1 FROM {0}." + _NOWHERE,
    # Who may not make triggers is shown none.
    "CREATE TRIGGER {0}."
    + _NOWHERE
    + " BEFORE INSERT ON {0}."
    + _NOWHERE
    + " FOR EACH ROW SET @pressluft = 1",
)
_WORK = (
    "INSERT INTO {0}." + _NOWHERE + " VALUES (1)",
    "UPDATE {0}." + _NOWHERE + " SET a = 1",
    "DELETE FROM {0}." + _NOWHERE,
    "RENAME TABLE {0}." + _NOWHERE + " TO {0}." + quote_name("pressluft no such table either"),
)


def check_sight(conn, database):
    """Refuse a login that cannot see all of a database: its rows, and the triggers that a copy would lose.

    Ends the transaction that is open on `conn`. Raises `NodeError` (`SCHEMA_UNSUPPORTED`).
    """
    for statement in _SIGHT:
        _try(conn, database, statement)


def check_rights(conn, databases):
    """Refuse a login that cannot fill tables in all of these databases, and rename them from one into the other.

    The databases need not exist. As `check_sight` otherwise.
    """
    for database in databases:
        for statement in _SIGHT + _WORK:
            _try(conn, database, statement)


def _try(conn, database, statement):
    try:
        run_query(conn, statement.format(quote_name(database)))
    except DatabaseError as error:
        if error.message.startswith(_DENIED):
            raise _make_denied(database, error.message) from error


def _make_denied(database, said):
    return NodeError(
        "SCHEMA_UNSUPPORTED",
        "the database login may too little in the database {0}: {1}".format(database, said),
        "Give the login in mysql.cnf the rights that `pressluft doctor` asks for, then run the job again.",
    )
