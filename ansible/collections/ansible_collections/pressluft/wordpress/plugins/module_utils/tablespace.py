"""The proof that a table was not changed, without reading it: its file is still the one that was digested.

`FLUSH TABLES t FOR EXPORT` keeps writers out for a moment and brings every change of the table into its file. A
table is stamped in that state, digested, and stamped again; if both stamps are equal, the digest belongs to the
file as it is. From then on an equal stamp, taken under the same lock, proves that nothing has changed.

Whatever is unclear is no proof, and the table is read instead: another engine, partitions, a file that lies
elsewhere, a file system that is not local, a data directory that is not this server's, another boot of the
machine, prepared XA transactions (they hold no lock after their client is gone), a clock that was set back, a
missing privilege. Writers are disturbed as little as can be: a table in use is never locked, and a lock is never
waited for.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Set

from ansible_collections.pressluft.wordpress.plugins.module_utils.database import (
    DatabaseError,
    TableInfo,
    quote_name,
    run_query,
    server_identity,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.file_clock import (
    FileClock,
    FileStamp,
    is_local,
    read_boot_id,
)

if TYPE_CHECKING:
    from pymysql.connections import Connection

QUIET_SECONDS = 5
"""A table that was written to within this time is in use, and not locked."""
_DIRTY_LIMIT = 64 << 20
"""Bytes that the buffer pool may still have to write; with more, a flush under the lock could take too long."""
_FLUSH_SECONDS = 0.2  # well below the 300 ms that a writer may be stalled
_PLAIN_NAME = re.compile(r"[0-9A-Za-z_]+")  # others are encoded in the names of files
_LOCKED_AT_ONCE = 8
"""Tables for one lock: fewer answers to wait for, while the server syncs each of their files."""
_SECOND = 1_000_000_000


class Stamp(NamedTuple):
    """A table's file under the export lock, and the server's clock's second before which it was taken."""

    file: FileStamp
    taken: int


class Tablespaces:
    """The files of one database's tables, as far as they can prove anything; on a `connection` of its own."""

    def __init__(
        self, connection: Connection[Any], database: str, *, clock: Optional[FileClock] = None
    ) -> None:
        self.connection = connection
        self._database = database
        self._clock = clock or FileClock()
        self._folder = _find_folder(connection, database)
        self._updates = _read_updates(connection, database)
        self._may_flush: Optional[bool] = None
        run_query(connection, "SET SESSION lock_wait_timeout = 0")

    def describe_origin(self) -> str:
        """What a stamp is only good with: this server, its data directory, this boot; empty without proofs."""
        if not self._folder:
            return ""
        found = os.stat(self._folder)
        identity = server_identity(self.connection)
        return "%s %s %d:%d" % (identity, read_boot_id(), found.st_dev, found.st_ino)

    def is_quiet(self, info: TableInfo) -> bool:
        """Whether nobody seems to be writing to a table, so that a lock of a moment disturbs nobody: no proof."""
        return not self._was_updated(info, int(time.time()) - QUIET_SECONDS)

    def has_stamp(self, info: TableInfo, stamp: Stamp) -> bool:
        """Whether it looks as if the table were unchanged, without a lock: no proof, but a lock is worth it."""
        path = self._find_file(info)
        if not path or self._clock.read_stamp(path) != stamp.file or self._was_updated(info, stamp.taken):
            return False
        # With a clock that was set back, a new change could be stamped with an old time.
        return stamp.file.ctime <= self._clock.read_now() and stamp.taken <= time.time()

    def find_unchanged(self, stamps: Mapping[TableInfo, Stamp]) -> Set[TableInfo]:
        """Return the tables that are proved to be what they were when they were stamped. A doubt is a no."""
        waiting = [info for info, stamp in stamps.items() if self.has_stamp(info, stamp)]
        found: Set[TableInfo] = set()
        for start in range(0, len(waiting), _LOCKED_AT_ONCE):
            batch = waiting[start : start + _LOCKED_AT_ONCE]
            # One table in use, and the server locks none of a batch.
            found |= self._find_same(batch, stamps) or {
                info for alone in batch for info in self._find_same([alone], stamps)
            }
        return found

    def _find_same(self, infos: Sequence[TableInfo], stamps: Mapping[TableInfo, Stamp]) -> Set[TableInfo]:
        with self._export(infos) as locked:
            return {
                info for info in locked if self._clock.read_stamp(self._find_file(info)) == stamps[info].file
            }

    def take_stamp(self, info: TableInfo) -> Optional[Stamp]:
        """Stamp a table that nobody is writing to; None when it is in use or nothing could be proved."""
        path = self._find_file(info)
        if not path or not self.is_quiet(info) or not self._is_flush_short():
            return None
        with self._export([info]) as locked:
            if not locked or run_query(self.connection, "XA RECOVER"):
                return None
            file = self._clock.read_stamp(path)
            wait = self._clock.find_wait(file) if file else _SECOND
            if wait > 4 * self._clock.tick:
                return None
            if wait > 0:
                time.sleep((wait + self._clock.tick) / _SECOND)  # the clock itself lags by up to a tick
            # Only what is still the same after the ticks was stamped before them.
            if file is None or self._clock.find_wait(file) > 0 or self._clock.read_stamp(path) != file:
                return None
            return Stamp(file, int(time.time()))

    def _find_file(self, info: TableInfo) -> str:
        """The table's file, if it is an InnoDB table with one of its own in the data directory; else nothing."""
        is_plain = info.type == "BASE TABLE" and info.engine == "InnoDB"
        if not self._folder or not is_plain or not _PLAIN_NAME.fullmatch(info.name):
            return ""
        return os.path.join(self._folder, info.name + ".ibd")

    def _was_updated(self, info: TableInfo, since: int) -> bool:
        """Whether the server remembers a later write (seconds). That it does not is no proof: a restart forgets."""
        return self._updates.get(info.name, 0) > since

    def _is_flush_short(self) -> bool:
        if self._may_flush is None:
            dirty, page = (
                int(run_query(self.connection, statement)[0][1])
                for statement in (
                    "SHOW GLOBAL STATUS LIKE 'Innodb_buffer_pool_pages_dirty'",
                    "SHOW GLOBAL VARIABLES LIKE 'innodb_page_size'",
                )
            )
            self._may_flush = dirty * page <= _DIRTY_LIMIT
        return self._may_flush

    @contextmanager
    def _export(self, infos: Sequence[TableInfo]) -> Iterator[List[TableInfo]]:
        """Hold the export lock of tables, and yield those whose files we see; none where it cannot be had at once."""
        marks = {info: self._find_file(info)[: -len(".ibd")] + ".cfg" for info in infos}
        new = [info for info, mark in marks.items() if not os.path.lexists(mark)]
        tables = ", ".join("%s.%s" % (quote_name(self._database), quote_name(info.name)) for info in infos)
        try:
            run_query(
                self.connection,
                "SET STATEMENT max_statement_time = %s FOR FLUSH TABLES %s FOR EXPORT"
                % (_FLUSH_SECONDS, tables),
            )
        except DatabaseError:
            yield []
            return
        try:
            # The server writes this file while it holds the lock: proof that we look at its own folder.
            yield [info for info in new if os.path.lexists(marks[info])]
        finally:
            run_query(self.connection, "UNLOCK TABLES")


def _find_folder(connection: Connection[Any], database: str) -> str:
    """The folder of a database's files, if this process can see it on a local file system; else nothing."""
    if not _PLAIN_NAME.fullmatch(database):
        return ""
    folder = os.path.join(str(run_query(connection, "SELECT @@datadir")[0][0]), database)
    try:
        return folder if os.access(folder, os.R_OK | os.X_OK) and is_local(os.stat(folder).st_dev) else ""
    except OSError:
        return ""


def _read_updates(connection: Connection[Any], database: str) -> Dict[str, int]:
    rows: List[Any] = run_query(
        connection,
        "SELECT TABLE_SCHEMA, TABLE_NAME, UNIX_TIMESTAMP(UPDATE_TIME) FROM information_schema.TABLES"
        " WHERE TABLE_SCHEMA = %s AND UPDATE_TIME IS NOT NULL",
        (database,),
    )
    return {name: int(moment) for schema, name, moment in rows if schema == database}
