"""Rows in the very bytes in which the server sends them: the encoding under every digest.

The text protocol says of each row how long it is, of each value how long it is or that it is NULL, and gives its raw
bytes: nothing that stands between two values can be taken for a part of one. So a digest of these bytes needs no
encoding of our own, which took the server four times as long. They are read below PyMySQL, which makes an object of
each value and takes ten times as long as the server does.

Source: the text result set in MariaDB's and MySQL's client/server protocol.
"""

from __future__ import annotations

import hashlib
import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Iterator, List, NamedTuple, Optional, Tuple

from ansible_collections.pressluft.wordpress.plugins.module_utils.database import (
    DatabaseError,
    describe_failure,
    run_query,
)

try:
    import pymysql
except ImportError:  # told by `connect`: Ansible's documentation tools import this file without PyMySQL
    pymysql = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from pymysql.connections import Connection

_COM_QUERY = 3
_HEAD = 4  # bytes before each packet: three for its length, one for its number
_FULL = 0xFFFFFF  # a packet of this length goes on in the next one
_END, _ERROR = 0xFE, 0xFF  # first bytes of packets that are no row
_END_LENGTH = 9  # an end is shorter; a longer packet may be a row whose first value is over 16 MB
_READ = 1 << 18
_LENGTHS = {0xFC: 2, 0xFD: 3, 0xFE: 8}  # of the number that says how long a longer value is
_read_head = struct.Struct("<I").unpack_from
_read_start = struct.Struct("<HBxB").unpack_from  # a length in two parts, and the first byte of what follows


class Rows(NamedTuple):
    """Some rows: how many, the packets they came in with their numbers made 0, and where the last one begins."""

    count: int
    packets: bytearray
    last: int


class HashedRows(NamedTuple):
    """A number of rows, the SHA-256 of their packets in hex, and the last of them as `stream_rows` gives it."""

    count: int
    digest: str
    last: bytes


def hash_rows(connection: Connection[Any], sql: str, *, chunk_rows: int) -> Iterator[HashedRows]:
    """Run a query and hash its rows, in their order, `chunk_rows` at a time. Raises DatabaseError.

    Nothing but the rows counts, neither where a chunk begins within the answer nor how it came. The connection can
    run nothing else until the iterator is used up or closed.
    """
    with _ask(connection, sql) as answer:
        digest, count = hashlib.sha256(), 0
        rows = answer.take(chunk_rows)
        while rows is not None:
            digest.update(rows.packets)
            count += rows.count
            last, rows = rows, answer.take(chunk_rows - count or chunk_rows)
            if count == chunk_rows or rows is None:
                yield HashedRows(count, digest.hexdigest(), _join_packets(last.packets, last.last)[0])
                digest, count = hashlib.sha256(), 0


def stream_rows(connection: Connection[Any], sql: str) -> Iterator[bytes]:
    """Run a query and yield its rows, each as `split_row` takes it apart. Raises DatabaseError.

    The connection can run nothing else until the iterator is used up or closed.
    """
    with _ask(connection, sql) as answer:
        rows = answer.take(_READ)
        while rows is not None:
            at = 0
            while at < len(rows.packets):
                row, at = _join_packets(rows.packets, at)
                yield row
            rows = answer.take(_READ)


def split_row(row: bytes, *, first: Optional[int] = None) -> List[Optional[bytes]]:
    """Return a row's values as they are stored, or only the first ones; None is NULL."""
    values: List[Optional[bytes]] = []
    at = 0
    while at < len(row) and len(values) != first:
        length, mark = 0, row[at]
        at += 1
        if mark == 0xFB:
            values.append(None)
            continue
        length, at = _read_length(row, at, mark)
        values.append(row[at : at + length])
        at += length
    return values


def find_rows(block: bytearray, *, limit: int) -> Tuple[int, int, int]:
    """Number the packets of up to `limit` whole rows 0; return how many rows, where the last begins, where it ends.

    Their numbers count on from packet to packet of an answer, and would make equal rows differ by their place.
    """
    size, at, row, last, count = len(block), 0, 0, 0, 0
    while count < limit and at + _HEAD < size:
        low, high, mark = _read_start(block, at)
        following = at + _HEAD + low + (high << 16)
        if following > size or (mark >= _END and at == row and _is_no_row(block, at)):
            break
        block[at + 3] = 0
        at = following
        if high < 0xFF or low < 0xFFFF:  # else the row goes on in the next packet
            last, row, count = row, at, count + 1
    return count, last, row


class _Answer:
    """What a server still has to send of its answer to a query."""

    def __init__(self, wire: Any) -> None:
        self._wire = wire
        self._block = bytearray()
        self._is_over = False

    def take(self, limit: int) -> Optional[Rows]:
        """Return the next rows, at least one and as many as are here; None after the last one."""
        while not self._is_over:
            count, last, end = find_rows(self._block, limit=limit)
            if count:
                packets = self._block[:end]
                del self._block[:end]
                return Rows(count, packets, last)
            missing = self._find_missing()
            if missing > 0 or not _is_no_row(self._block, 0):
                self._read(missing)
            else:
                self._end()
        return None

    def _find_missing(self) -> int:
        """How many bytes of the next row have not come yet; 0 when all that tells it has come."""
        at, length = 0, _FULL
        while length == _FULL and at + _HEAD <= len(self._block):
            length = _read_head(self._block, at)[0] & _FULL
            at += _HEAD + length
        return at - len(self._block) if length != _FULL else at + _HEAD - len(self._block)

    def _read(self, missing: int) -> None:
        stream = self._wire._rfile  # noqa: SLF001  # PyMySQL has no door to the bytes
        more = stream.read(missing) if missing > _READ else stream.read1(_READ)
        if not more:
            raise DatabaseError("the connection was lost in the middle of an answer")
        self._block += more

    def _end(self) -> None:
        self._is_over = True
        packet, _end = _join_packets(self._block, 0)
        if packet[0] == _ERROR:
            pymysql.err.raise_mysql_exception(packet)


@contextmanager
def _ask(connection: Connection[Any], sql: str) -> Iterator[_Answer]:
    # Values are wanted as they are stored, in their own charsets.
    run_query(connection, "SET SESSION character_set_results = NULL")
    try:
        answer = _begin(connection, sql)
        try:
            yield answer
        finally:
            while answer.take(_READ) is not None:
                pass
    except (pymysql.MySQLError, OSError) as error:
        raise DatabaseError(describe_failure(error)) from error
    finally:
        run_query(connection, "SET SESSION character_set_results = utf8mb4")


def _begin(wire: Any, sql: str) -> _Answer:
    """Send a query and read up to its first row. Private parts of PyMySQL, the same from 0.9 to 1.2."""
    wire._execute_command(_COM_QUERY, sql)  # noqa: SLF001
    fields = wire._read_packet().read_length_encoded_integer()  # noqa: SLF001
    for _field in range(fields):
        wire._read_packet()  # noqa: SLF001
    if not wire._read_packet().is_eof_packet():  # noqa: SLF001
        raise DatabaseError("this version of PyMySQL reads answers in another way; install one up to 1.2")
    return _Answer(wire)


def _is_no_row(block: bytearray, at: int) -> bool:
    mark = block[at + _HEAD]
    return mark == _ERROR or (mark == _END and _read_head(block, at)[0] & _FULL < _END_LENGTH)


def _join_packets(packets: bytearray, at: int) -> Tuple[bytes, int]:
    """The content of the row whose first packet begins at `at`, and where the next row begins."""
    parts = []
    length = _FULL
    while length == _FULL:
        length = _read_head(packets, at)[0] & _FULL
        parts.append(packets[at + _HEAD : at + _HEAD + length])
        at += _HEAD + length
    return b"".join(parts), at


def _read_length(row: bytes, at: int, mark: int) -> Tuple[int, int]:
    size = _LENGTHS.get(mark, 0)
    if not size:
        return mark, at
    return int.from_bytes(row[at : at + size], "little"), at + size
