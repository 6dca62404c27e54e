"""Which rows of a table differ from a baseline: by their keys, never by their content."""

from __future__ import annotations

import hashlib
from itertools import islice
from typing import (
    TYPE_CHECKING,
    Any,
    Dict,
    Iterable,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Set,
    Tuple,
)

from ansible_collections.pressluft.wordpress.plugins.module_utils.column import (
    decode_key,
    describe_key,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import hold_snapshot
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import SAMPLES
from ansible_collections.pressluft.wordpress.plugins.module_utils.row_stream import split_row, stream_rows
from ansible_collections.pressluft.wordpress.plugins.module_utils.table_digest import (
    Chunk,
    Key,
    Plan,
    digest_range,
    make_plan,
    make_query,
    make_where,
    read_keys,
)

if TYPE_CHECKING:
    from pymysql.connections import Connection

ROWS_KEPT = 2_000_000
"""Tables of up to this many rows keep the beginning of each row's hash in a baseline's evidence: 16 MB a million."""
ROWS_KEPT_IN_JOB = 20_000
"""The same for what only one job remembers, in the moment before a cut-over."""
_HASH_DIGITS = 8  # enough to name a row; the verdict rests on the whole digest
_BETWEEN = "\n"

Packed = List[Optional[List[str]]]
"""For each chunk the keys of its rows and the beginnings of their hashes, each as one text."""
Span = Tuple[Optional[Key], Chunk]


def pack_rows(connection: Connection[Any], database: str, table: str, chunks: Sequence[Chunk]) -> Packed:
    """Return what it takes to name single rows of these chunks later; nothing without a key. Raises DatabaseError.

    Within the snapshot that the chunks were made in.
    """
    with hold_snapshot(connection):
        plan = make_plan(connection, database, table)
        rows = _stream_rows(connection, plan, after=None, up_to=None) if plan.key else iter(())
        return [_pack(islice(rows, chunk.count)) for chunk in chunks]


def find_changed_keys(
    connection: Connection[Any],
    database: str,
    table: str,
    *,
    evidence: Mapping[str, Any],
    now: Iterable[Sequence[Any]] = (),
) -> List[str]:
    """Return up to 20 keys of rows that were added, removed or changed since the evidence was taken.

    `now` are the chunks that were just measured: those that are the same need not be read again. Where the
    evidence holds no row's hash, the range of keys of each chunk that differs is named (`8193..16384`); rows after
    the last chunk are named one by one. Without a usable key: nothing.
    """
    with hold_snapshot(connection):
        plan = make_plan(connection, database, table)
        before = pair_chunks(evidence["chunks"])
        if not plan.key or (before and len(before[0][1].bound) != len(plan.key)):
            return []
        packed = evidence["rows"] or [None] * len(before)
        return _find_changed(connection, plan, before, packed=packed, same=set(pair_chunks(now)))[:SAMPLES]


class ChangedSpan(NamedTuple):
    """Rows after one key and up to another (None: no end), of which some changed; `before` are their hashes by key.

    `before` is None where the evidence holds no hashes for them: then any of these rows may be one that changed.
    """

    after: Optional[Key]
    up_to: Optional[Key]
    before: Optional[Dict[str, str]]


def find_changed_spans(
    connection: Connection[Any], plan: Plan, *, evidence: Mapping[str, Any]
) -> Optional[List[ChangedSpan]]:
    """Return where a table differs from the evidence; None where it has no key by which that could be told.

    The rows after the last chunk are always among them. Within the snapshot that the plan was made in.
    """
    spans = pair_chunks(evidence["chunks"])
    if not plan.key or (spans and len(spans[0][1].bound) != len(plan.key)):
        return None
    packed = evidence["rows"] or [None] * len(spans)
    found = [
        ChangedSpan(after, chunk.bound, None if rows is None else _unpack(rows))
        for rows, (after, chunk) in zip(packed, spans)
        if digest_range(connection, plan, after=after, up_to=chunk.bound) != chunk[1:]
    ]
    return [*found, ChangedSpan(spans[-1][1].bound if spans else None, None, {})]


def name_row(plan: Plan, row: bytes) -> Tuple[str, str]:
    """Return a row's key as a person reads it and the beginning of its hash, as the evidence holds them."""
    key = decode_key(plan.key, split_row(row, first=len(plan.key)))
    return describe_key(plan.key, key), hashlib.sha256(row).hexdigest()[:_HASH_DIGITS]


def _find_changed(
    connection: Connection[Any], plan: Plan, before: Sequence[Span], *, packed: Packed, same: Set[Span]
) -> List[str]:
    found: List[str] = []
    for rows, span in zip(packed, before):
        after, chunk = span
        if span in same or digest_range(connection, plan, after=after, up_to=chunk.bound) == chunk[1:]:
            continue
        found += _describe_changes(connection, plan, span, rows)
        if len(found) >= SAMPLES:
            return found
    last = before[-1][1].bound if before else None
    added = read_keys(connection, plan, after=last, limit=SAMPLES - len(found))
    return found + [describe_key(plan.key, key) for key in added]


def _describe_changes(
    connection: Connection[Any], plan: Plan, span: Span, rows: Optional[List[str]]
) -> List[str]:
    after, chunk = span
    if rows is None:
        return [_describe_range(connection, plan, after, chunk.bound)]
    now = _unpack(_pack(_stream_rows(connection, plan, after=after, up_to=chunk.bound)) or ["", ""])
    before = _unpack(rows)
    changed = [key for key in before if before[key] != now.get(key)]
    return changed + [key for key in now if key not in before]


def _stream_rows(
    connection: Connection[Any], plan: Plan, *, after: Optional[Key], up_to: Optional[Key]
) -> Iterator[Tuple[str, str]]:
    """Each row's key as a person reads it and the beginning of its hash, in the order of the key."""
    query = make_query(plan, make_where(plan.key, after=after, up_to=up_to))
    for row in stream_rows(connection, query):
        yield name_row(plan, row)


def _pack(rows: Iterable[Tuple[str, str]]) -> Optional[List[str]]:
    """The rows of a chunk; nothing where their keys could not be told apart again."""
    pairs = list(rows)
    keys = _BETWEEN.join(key for key, _start in pairs)
    if not pairs or keys.count(_BETWEEN) != len(pairs) - 1:
        return None
    return [keys, "".join(start for _key, start in pairs)]


def _unpack(rows: Sequence[str]) -> Dict[str, str]:
    keys, starts = rows[0].split(_BETWEEN), rows[1]
    if not starts:
        return {}
    return {key: starts[index * _HASH_DIGITS : (index + 1) * _HASH_DIGITS] for index, key in enumerate(keys)}


def pair_chunks(chunks: Iterable[Sequence[Any]]) -> List[Span]:
    """Each chunk with the bound that it begins after."""
    found: List[Span] = []
    after: Optional[Key] = None
    for bound, count, digest in chunks:
        chunk = Chunk(tuple(bound), count, digest)
        found.append((after, chunk))
        after = chunk.bound
    return found


def _describe_range(connection: Connection[Any], plan: Plan, after: Optional[Key], bound: Key) -> str:
    first = read_keys(connection, plan, after=after, limit=1)
    start = first[0] if first else bound
    return "%s..%s" % (describe_key(plan.key, start), describe_key(plan.key, bound))
