"""What a table holds, as one digest that no change escapes (design §4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Tuple

if TYPE_CHECKING:
    from pymysql.connections import Connection


class Chunk(NamedTuple):
    """Rows up to and including the key `bound` (the last chunk has none), their number and digest in hex."""

    bound: Tuple[str, ...]
    count: int
    digest: str


class TableDigest(NamedTuple):
    """The digest of a table's rows (`sha256:<hex>`), how many there are, and the chunks it was made of."""

    digest: str
    rows: int
    chunks: Tuple[Chunk, ...]


def digest_table(
    connection: Connection[Any], database: str, table: str, *, chunk_rows: int = 8192
) -> TableDigest:
    """Digest all rows of a table. Raises DatabaseError when any row could not be read."""
    raise NotImplementedError
