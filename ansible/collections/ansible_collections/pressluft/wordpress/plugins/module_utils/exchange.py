"""Exchanging tables: one RENAME of many tables, which the server does wholly or not at all (design §5).

Needs MariaDB >= 10.6.1 or MySQL >= 8.0, where a multi-table RENAME is atomic and survives a crash.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from dataclasses import dataclass
from typing import Tuple

from ansible_collections.pressluft.wordpress.plugins.module_utils.database import (
    DatabaseError,
    quote_name,
    run_query,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.identity import RESERVED
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError

try:
    from pymysql import MySQLError
except ImportError:  # told by `database.connect`

    class MySQLError(Exception):
        """Stands in where Ansible's documentation tools import this file."""


LONGEST_NAME = 64  # of a database or a table, MariaDB and MySQL alike
LOCK_WAIT_TIMEOUT = 1205
_NOT_ALLOWED = "1044:"  # access denied for user to database
RENAME_ATTEMPTS = 15
_RENAME_LOCK_SECONDS = 2  # design §5: the default waits a day and blocks readers
_PAUSE_SECONDS = 0.3
_ALONE_SECONDS = 30

BEFORE, AFTER, MIXED = "before", "after", "mixed"


@dataclass(frozen=True)
class Exchange:
    """Which tables leave `live` for `outgoing` and which come from `incoming`; real names, with prefix."""

    live: str
    incoming: str
    outgoing: str
    tables_in: Tuple[str, ...]
    tables_out: Tuple[str, ...]

    @property
    def is_empty(self):
        """Whether there is nothing to rename."""
        return not self.tables_in and not self.tables_out


def make_database_name(database, purpose, job_id):
    """The name of a job's own database beside `database`: `shop__pressluft_old_1a2b3c4d`, 64 characters at most.

    `purpose` is `""` for the shadow, `old_` for what a cut-over replaced, `back_` for what a rollback did.
    """
    ending = "{0}_{1}{2}".format(RESERVED, purpose, job_id.replace("-", "")[:8])
    if len(database) + len(ending) > LONGEST_NAME:
        kept = LONGEST_NAME - len(ending) - 9
        database = "{0}_{1}".format(database[:kept], hashlib.sha256(database.encode("utf-8")).hexdigest()[:8])
    return database + ending


def create_database(conn, name, *, like):
    """Create an empty database with the character set of `like`; one that is there stays as it is."""
    row = run_query(
        conn,
        "SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA"
        " WHERE SCHEMA_NAME = %s",
        (like,),
    )[0]
    statement = "CREATE DATABASE IF NOT EXISTS {0} CHARACTER SET {1} COLLATE {2}"
    _run_on_own(conn, name, statement.format(quote_name(name), *row))


def drop_database(conn, name):
    """Drop one of Pressluft's own databases, with all that is in it; any other name is a bug and refused."""
    if RESERVED not in name:
        raise ValueError("{0} is not a database of Pressluft's own".format(name))
    _run_on_own(conn, name, "DROP DATABASE IF EXISTS {0}".format(quote_name(name)))


def fetch_tables(conn, database):
    """The names of all tables and views in a database, compared byte for byte."""
    rows = run_query(
        conn,
        "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s",
        (database,),
    )
    return {name for schema, name in rows if schema == database}


def find_position(conn, exchange):
    """Where the tables stand: `before` the exchange, `after` it, or `mixed`, which only a person can have done."""
    waiting = fetch_tables(conn, exchange.incoming) & set(exchange.tables_in)
    retired = fetch_tables(conn, exchange.outgoing) & set(exchange.tables_out)
    arrived = fetch_tables(conn, exchange.live) & set(exchange.tables_in)
    if len(waiting) == len(exchange.tables_in) and not retired:
        return BEFORE
    if not waiting and len(arrived) == len(exchange.tables_in) and len(retired) == len(exchange.tables_out):
        return AFTER
    return MIXED


def exchange_tables(conn, exchange):
    """Bring the incoming tables to life and retire the others. Returns the RENAME's milliseconds.

    Raises `NodeError` (to be retried) when visitors' transactions held the tables all the time.
    """
    create_database(conn, exchange.outgoing, like=exchange.live)
    out = [(exchange.live, exchange.outgoing, name) for name in exchange.tables_out]
    back = [(exchange.incoming, exchange.live, name) for name in exchange.tables_in]
    return _rename(conn, out + back)


def reverse_tables(conn, exchange):
    """Undo `exchange_tables`, to the letter. Returns the RENAME's milliseconds."""
    create_database(conn, exchange.incoming, like=exchange.live)
    out = [(exchange.live, exchange.incoming, name) for name in exchange.tables_in]
    back = [(exchange.outgoing, exchange.live, name) for name in exchange.tables_out]
    return _rename(conn, out + back)


def raise_auto_increment(conn, names, *, of, to):
    """Let no table of database `to` give a number that its namesake in `of` already gave."""
    given, own = _fetch_auto_increment(conn, of), _fetch_auto_increment(conn, to)
    for name in names:
        if given.get(name) and own.get(name) and given[name] > own[name]:
            statement = "ALTER TABLE {0}.{1} AUTO_INCREMENT = {2}"
            run_query(conn, statement.format(quote_name(to), quote_name(name), int(given[name])))


@contextlib.contextmanager
def exchange_alone(conn, environment_id):
    """Hold the server's own lock for this environment's tables on `conn`.

    A statement outlives the process that sent it. Whoever comes after a killed program waits here until the
    server has let go of that program's session, so that no RENAME of it can still happen.
    """
    name = "pressluft {0}".format(environment_id)
    holder = run_query(conn, "SELECT IS_USED_LOCK(%s)", (name,))[0][0]
    if holder is not None:
        with contextlib.suppress(NodeError):  # it may have ended by itself, which is as good
            run_query(conn, "KILL CONNECTION {0}".format(int(holder)))
    if run_query(conn, "SELECT GET_LOCK(%s, %s)", (name, _ALONE_SECONDS))[0][0] != 1:
        raise NodeError(
            "ANSIBLE_HOST_FAILED",
            "another session of the database server still works on environment {0}".format(environment_id),
            "Look at SHOW PROCESSLIST for a RENAME TABLE that does not end.",
            retry=True,
        )
    try:
        yield
    finally:
        with contextlib.suppress(NodeError):  # a session that broke has let go already
            run_query(conn, "DO RELEASE_LOCK(%s)", (name,))


def _run_on_own(conn, name, statement):
    """Make or drop a database of ours; a login that may not is refused by the database's name."""
    try:
        run_query(conn, statement)
    except DatabaseError as error:
        if not error.message.startswith(_NOT_ALLOWED):
            raise
        raise NodeError(
            "SCHEMA_UNSUPPORTED",
            "the database login may not make and drop the database {0}: {1}".format(name, error.message),
            "Give the user of mysql.cnf all rights on databases of such names.",
        ) from error


def _rename(conn, moves):
    if not moves:
        return 0.0
    statement = "RENAME TABLE " + ", ".join(
        "{0}.{2} TO {1}.{2}".format(quote_name(source), quote_name(target), quote_name(name))
        for source, target, name in moves
    )
    run_query(conn, "SET SESSION lock_wait_timeout = {0}".format(_RENAME_LOCK_SECONDS))
    for attempt in range(RENAME_ATTEMPTS):
        if attempt:
            time.sleep(_PAUSE_SECONDS)
        began = time.monotonic()
        try:
            with conn.cursor() as cursor:
                cursor.execute(statement)
        except MySQLError as error:
            if error.args[0] != LOCK_WAIT_TIMEOUT:
                raise _make_refused(error) from error
        else:
            return (time.monotonic() - began) * 1000
    raise NodeError(
        "ANSIBLE_HOST_FAILED",
        "the tables were in use by long transactions during {0} attempts to rename them".format(
            RENAME_ATTEMPTS
        ),
        "Find the long transaction with SHOW PROCESSLIST, end it, and run the job again.",
        retry=True,
    )


def _make_refused(error):
    return NodeError(
        "ANSIBLE_HOST_FAILED",
        "the server refused to rename the tables: {0}".format(": ".join(map(str, error.args))),
        "Nothing was renamed. Correct what the message names, then run the job again.",
    )


def _fetch_auto_increment(conn, database):
    if run_query(conn, "SHOW SESSION VARIABLES LIKE 'information_schema_stats_expiry'"):
        run_query(conn, "SET SESSION information_schema_stats_expiry = 0")  # MySQL shows numbers of yesterday
    rows = run_query(
        conn,
        "SELECT TABLE_SCHEMA, TABLE_NAME, AUTO_INCREMENT FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s",
        (database,),
    )
    return {name: number for schema, name, number in rows if schema == database}
