"""The one door to the database server of a node: connecting, reading, naming.

Everything that talks SQL on a node goes through `connect` and `run_query`, so that every session has the same
time zone, SQL mode and limits, and every failure is a `DatabaseError` with the server's own words.
"""

from __future__ import annotations

import configparser
import hashlib
import os
import re
from contextlib import contextmanager
from typing import (
    TYPE_CHECKING,
    Any,
    Dict,
    Iterable,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Set,
    Tuple,
)

from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError

try:
    import pymysql
    import pymysql.cursors
except ImportError:  # told by `connect`: Ansible's documentation tools import this file without PyMySQL
    pymysql = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from pymysql.connections import Connection

Row = Tuple[Any, ...]

_IN_TRANSACTION = 1  # SERVER_STATUS_IN_TRANS of the protocol, the same on MariaDB and MySQL
_ANOTHER_SITE = re.compile(r"[0-9]+_")
_TABLES_OF_EVERY_SITE = ("options", "posts", "postmeta", "comments", "terms")

# Server-wide settings must not change what a digest sees: `sql_select_limit` would cut results short,
# `PAD_CHAR_TO_FULL_LENGTH` and `ANSI_QUOTES` change values and SHOW CREATE, a local time zone folds hours. A limit for
# visitors' statements (its name is MariaDB's or MySQL's) is none for reading a table of many gigabytes.
_SESSION = """SET SESSION time_zone = '+00:00', sql_mode = 'NO_AUTO_VALUE_ON_ZERO', sql_quote_show_create = 1,
    sql_select_limit = 18446744073709551615, sql_big_selects = 1,
    lock_wait_timeout = 2, innodb_lock_wait_timeout = 2, wait_timeout = 86400, net_write_timeout = 600
    /*M! , max_statement_time = 0 */ /*!50708 , max_execution_time = 0 */"""


class DatabaseError(NodeError):
    """The server could not be reached, refused, or gave an answer that proves nothing."""

    def __init__(self, message: str) -> None:
        super().__init__(
            "ANSIBLE_HOST_FAILED",
            message,
            "Look at the database server on the node and at the login in mysql.cnf, then try again.",
            retry=True,
        )


class TableInfo(NamedTuple):
    """One table or view: its full name, its type (`BASE TABLE`, `VIEW`, MariaDB has more), engine, estimates.

    `rows` is the server's estimate, `data_length` is in bytes: good for ordering work, never for proof.
    """

    name: str
    type: str
    engine: str
    rows: int
    data_length: int


def connect(defaults_file: str, *, database: Optional[str] = None) -> Connection[Any]:
    """Open a session as `[client]` of `defaults_file` says: autocommit, UTC, utf8mb4, short lock waits.

    Raises DatabaseError when PyMySQL or the file is missing, or the server refuses.
    """
    if pymysql is None:
        raise DatabaseError("PyMySQL is missing on this node: install python3-pymysql")
    if not os.path.isfile(defaults_file):  # PyMySQL would go on without it, as somebody else
        raise DatabaseError("the file %s does not exist" % defaults_file)
    try:
        connection = pymysql.connect(
            read_default_file=defaults_file,
            database=database,
            charset="utf8mb4",
            autocommit=True,
            connect_timeout=10,
            ssl_disabled=_is_by_socket(defaults_file),
        )
        with connection.cursor() as cursor:
            cursor.execute(_SESSION)
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    except (pymysql.MySQLError, configparser.Error, OSError) as error:
        raise DatabaseError("cannot connect as %s says: %s" % (defaults_file, error)) from error
    return connection


def run_query(connection: Connection[Any], sql: str, args: Optional[Sequence[Any]] = None) -> List[Row]:
    """Run one statement and return all its rows. Raises DatabaseError with the server's message."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql, args)
            return list(cursor.fetchall())
    except pymysql.MySQLError as error:
        raise DatabaseError(describe_failure(error)) from error


def stream_query(connection: Connection[Any], sql: str) -> Iterator[Row]:
    """Run one statement and yield its rows without holding them all. Raises DatabaseError.

    The connection can run nothing else until the iterator is used up or closed.
    """
    try:
        with connection.cursor(pymysql.cursors.SSCursor) as cursor:
            cursor.execute(sql)
            yield from cursor
    except pymysql.MySQLError as error:
        raise DatabaseError(describe_failure(error)) from error


def open_snapshot(connection: Connection[Any]) -> None:
    """Start a transaction in which every read of an InnoDB table sees one moment, this one."""
    run_query(connection, "START TRANSACTION WITH CONSISTENT SNAPSHOT")


@contextmanager
def hold_snapshot(connection: Connection[Any]) -> Iterator[None]:
    """Read within the snapshot that is open, or within one of its own that ends with the block."""
    if connection.server_status & _IN_TRANSACTION:
        yield
        return
    open_snapshot(connection)
    try:
        yield
    finally:
        connection.rollback()


@contextmanager
def hold_same_snapshot(
    connections: Sequence[Connection[Any]], *, gate: Connection[Any], database: str, table: str
) -> Iterator[Sequence[Connection[Any]]]:
    """Yield the connections that see the same rows of a table until the block ends: all of them, or the first only.

    No server hands a snapshot on to another connection, so writers are kept out of the table while they are opened:
    less than a millisecond. A table in use is not waited for. `gate` is one more connection with nothing open.
    """
    place = "%s.%s" % (quote_name(database), quote_name(table))
    if len(connections) < 2 or not _open_behind_gate(connections, gate, place):
        yield connections[:1]
        return
    try:
        yield connections
    finally:
        for connection in connections:
            connection.rollback()


def quote_name(name: str) -> str:
    """Quote an identifier. Raises DatabaseError for a name that no table can have."""
    if not name or "\0" in name:
        raise DatabaseError("%r is not a name" % name)
    return "`%s`" % name.replace("`", "``")


def find_tables(connection: Connection[Any], database: str, prefix: str) -> Dict[str, TableInfo]:
    """Return the tables and views of one site, keyed by their names without `prefix`, in order of name.

    The prefix is compared here, byte for byte: in SQL `wp_` would match `wpx_posts` (LIKE) or `WP_posts`
    (collation). Tables of a site within the site (`wp_2_posts`, `wp_shop_posts`) are not ours.
    """
    found = {}
    for info in _read_tables(connection, database):
        if info.name.startswith(prefix) and info.name != prefix:
            found[info.name[len(prefix) :]] = info
    nested = find_nested_prefixes(found)
    return {name: found[name] for name in sorted(found) if not _starts_with_any(name, nested)}


def find_nested_prefixes(names: Iterable[str]) -> Set[str]:
    """Return the prefixes of other sites among names without prefix: `2_`, or `shop_` of a whole site."""
    known = set(names)
    numbered = {match.group() for match in map(_ANOTHER_SITE.match, known) if match}
    candidates = {name[: -len("options")] for name in known if name.endswith("options")} - {""}
    return numbered | {
        prefix for prefix in candidates if all(prefix + name in known for name in _TABLES_OF_EVERY_SITE)
    }


def detect_multisite(connection: Connection[Any], database: str, prefix: str) -> bool:
    """Whether the tables are those of a WordPress network, which Pressluft refuses: `blogs` and `site`."""
    tables = find_tables(connection, database, prefix)
    return "blogs" in tables and "site" in tables


def server_identity(connection: Connection[Any]) -> str:
    """Return an id of the server that is the same after a restart or an upgrade and no other server's.

    MySQL has a `server_uuid`. MariaDB has none that lasts (`server_uid` came in 10.6.19 and follows the MAC
    address), but two servers never share a data directory, so it is the host's name and that directory.
    """
    uuid = run_query(connection, "SHOW GLOBAL VARIABLES WHERE Variable_name = 'server_uuid'")
    if uuid and uuid[0][1]:
        return "mysql:%s" % uuid[0][1]
    host, folder = run_query(connection, "SELECT @@hostname, @@datadir")[0]
    place = "%s\0%s" % (host, folder.rstrip("/"))
    return "mariadb:%s" % hashlib.sha256(place.encode()).hexdigest()[:32]


def _open_behind_gate(connections: Sequence[Connection[Any]], gate: Connection[Any], place: str) -> bool:
    # InnoDB gives this lock only while no transaction has written to the table that has not ended: none can become
    # visible to one snapshot and not to the next. Without autocommit, or it would give its own lock back at once.
    run_query(
        gate,
        "SET SESSION autocommit = 0, innodb_table_locks = 1, lock_wait_timeout = 0, innodb_lock_wait_timeout = 0",
    )
    try:
        run_query(gate, "LOCK TABLES %s READ" % place)
        for connection in connections:
            open_snapshot(connection)
    except DatabaseError:  # in use, or we may not lock
        return False
    else:
        return True
    finally:
        run_query(gate, "UNLOCK TABLES")
        run_query(gate, "SET SESSION autocommit = 1")


def _is_by_socket(defaults_file: str) -> bool:
    """Whether `[client]` leads to a socket, where TLS protects nothing and costs PyMySQL 25 ms of the CPU."""
    parser = configparser.RawConfigParser(allow_no_value=True, strict=False)
    parser.read(defaults_file)
    host = parser.get("client", "host", fallback=None) or "localhost"
    return host.strip("'\"") == "localhost" and bool(parser.get("client", "socket", fallback=""))


def _read_tables(connection: Connection[Any], database: str) -> List[TableInfo]:
    rows = run_query(
        connection,
        "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, ENGINE, TABLE_ROWS, DATA_LENGTH"
        " FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s",
        (database,),
    )
    return [
        TableInfo(name, kind, engine or "", int(count or 0), int(length or 0))
        for schema, name, kind, engine, count, length in rows
        if schema == database
    ]


def _starts_with_any(name: str, prefixes: Set[str]) -> bool:
    return any(name.startswith(prefix) for prefix in prefixes)


def describe_failure(error: Exception) -> str:
    """Return the server's own words for what went wrong."""
    return ": ".join(str(part) for part in error.args) or type(error).__name__
