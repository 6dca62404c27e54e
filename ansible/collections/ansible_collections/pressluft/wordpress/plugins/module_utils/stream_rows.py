"""Tables from one node to another: only the pieces that differ travel, and each is proved equal afterwards.

A piece is a run of rows by primary key with its digest (`table_digest`). Rows cross as the literals that the server
printed (`row_literal`), and are let in only in the few shapes that such a literal has.
"""

from __future__ import annotations

import re

from ansible_collections.pressluft.wordpress.plugins.module_utils.database import (
    hold_snapshot,
    quote_name,
    run_query,
    stream_query,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.progress import SILENT
from ansible_collections.pressluft.wordpress.plugins.module_utils.row_copy import (
    BATCH,
    Insert,
    adapt_definition,
    define_table,
    make_row_select,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.row_literal import (
    LARGE_VALUE,
    READER_SESSION,
    WRITER_SESSION,
    fetch_columns,
    fetch_packet_size,
    session,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.row_rewrite import rewrite_table
from ansible_collections.pressluft.wordpress.plugins.module_utils.schema_digest import read_schema
from ansible_collections.pressluft.wordpress.plugins.module_utils.table_digest import (
    digest_range,
    digest_table,
    make_plan,
    make_where,
)

PIECE_ROWS = 1000
"""Rows of one piece: one changed row makes so many cross."""
_PART_BYTES = 1 << 19
_LITERAL = re.compile(
    rb"\((?:NULL|x'[0-9A-F]*'|'[0-9A-Za-z:. +/-]*'|[0-9]+|@pressluft_[0-9]+)"
    rb"(?:,(?:NULL|x'[0-9A-F]*'|'[0-9A-Za-z:. +/-]*'|[0-9]+|@pressluft_[0-9]+))*\)"
)


def describe_table(conn, environment, name):
    """What the other node needs to know of a table, in the open snapshot."""
    table = environment.table(name)
    with session(conn, READER_SESSION):
        place = "{0}.{1}".format(quote_name(environment.database), quote_name(table))
        definition = run_query(conn, "SHOW CREATE TABLE {0}".format(place))[0][1]
        found = digest_table(conn, environment.database, table, chunk_rows=PIECE_ROWS)
    return {"definition": definition, "digest": found.digest, "rows": found.rows, "pieces": found.chunks}


def read_rows(conn, environment, name, *, span, room):
    """Yield the rows of a piece: lists of literals, and a row with large values as `[literal, which are large]`,
    followed by these values in pieces of bytes, an empty one after each.
    """
    table = environment.table(name)
    with session(conn, READER_SESSION):
        columns = fetch_columns(conn, environment.database, table)
        large = min(LARGE_VALUE, min(room, fetch_packet_size(conn)) // (4 * len(columns)))
        plan = make_plan(conn, environment.database, table)
        after, up_to = (tuple(key) if key else None for key in span)
        select = "{0} WHERE {1}".format(
            make_row_select((environment.database, table), columns, large),
            make_where(plan.key, after=after, up_to=up_to),
        )
        waiting, size = [], 0
        for literal, *values in stream_query(conn, select):
            if literal is None:
                raise _make_refused(table, "has a row that does not fit into max_allowed_packet")
            text = literal.decode("ascii")
            if any(value is not None for value in values):
                yield {"large": [text, [value is not None for value in values]]}
                yield from _cut_up(value for value in values if value is not None)
                continue
            waiting.append(text)
            size += len(text)
            if size > _PART_BYTES:
                yield {"rows": waiting}
                waiting, size = [], 0
        yield {"rows": waiting}


def _cut_up(values):
    for value in values:
        for start in range(0, len(value), _PART_BYTES):
            yield value[start : start + _PART_BYTES]
        yield b""


def fetch_table(peer, writer, *, name, database, seed=None, rewriter=None, progress=SILENT):
    """Make `database` hold the other node's table `name` as its snapshot shows it; returns the rows that crossed.

    `seed` is this node's environment, whose table of that name may hold the same rows under other addresses:
    `rewriter` leads to the other node's. What it makes of them is only ever a guess that saves sending. `progress`
    counts what crosses.
    Raises `NodeError`.
    """
    found = peer.ask("describe_table", name=name)
    table = peer.environment.table(name)
    create_table(writer, database, table, definition=found["definition"])
    with session(writer, WRITER_SESSION):
        if seed is not None and found["pieces"]:
            _plant(writer, database, table, seed=(seed, name, peer.environment.table_prefix))
            if rewriter is not None:
                rewrite_table(writer, database, table, rewriter, needles=rewriter.cores)
        place, watch = (database, table), {"name": name, "progress": progress}
        crossed = _settle_pieces(peer, writer, place, pieces=found["pieces"], **watch)
        if not found["pieces"] and found["rows"]:
            crossed = _fetch_rows(peer, writer, place, span=(None, None), **watch)
        with hold_snapshot(writer):
            proved = digest_table(writer, database, table, chunk_rows=PIECE_ROWS)
    if proved.digest != found["digest"]:
        raise NodeError(
            "ANSIBLE_HOST_FAILED",
            "table {0} is not the same after it crossed to this node".format(table),
            "Compare both database servers' versions and settings, then run the job again.",
        )
    progress.add(tables=1)
    return crossed


def create_table(writer, database, table, *, definition):
    """Create the table as it was defined on the other node, empty."""
    with session(writer, WRITER_SESSION):
        run_query(writer, "USE {0}".format(quote_name(database)))
        define_table(writer, table, adapt_definition(definition, table, table, renamed={}))


def _plant(writer, database, table, *, seed):
    """Fill the new table with this node's own rows, where both are defined alike."""
    environment, name, prefix = seed
    own = environment.table(name)
    there = run_query(
        writer,
        "SELECT COUNT(*) FROM information_schema.TABLES"
        " WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s AND TABLE_TYPE = 'BASE TABLE'",
        (environment.database, own),
    )[0][0]
    if not there:
        return
    ours = read_schema(writer, environment.database, own, prefix=environment.table_prefix, triggers={})
    if ours.text != read_schema(writer, database, table, prefix=prefix, triggers={}).text:
        return
    columns = ", ".join(
        quote_name(column.name) for column in fetch_columns(writer, environment.database, own)
    )
    run_query(writer, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")  # blocks no visitor's write
    run_query(
        writer,
        "INSERT INTO {0}.{1} ({4}) SELECT {4} FROM {2}.{3}".format(
            *map(quote_name, (database, table, environment.database, own)), columns
        ),
    )
    run_query(writer, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")


def _settle_pieces(peer, writer, place, *, name, pieces, progress):
    """Fetch the pieces that this node does not have. Returns the rows that crossed."""
    crossed, after = 0, None
    plan = make_plan(writer, *place)
    spans = []
    for number, (bound, count, digest) in enumerate(pieces):
        up_to = None if number == len(pieces) - 1 else tuple(bound)
        if digest_range(writer, plan, after=after, up_to=up_to) != (count, digest):
            spans.append((after, up_to))
        after = tuple(bound)
    for after, up_to in spans:
        where = make_where(plan.key, after=after, up_to=up_to)
        run_query(writer, "DELETE FROM {0} WHERE {1}".format(plan.table, where))
        crossed += _fetch_rows(peer, writer, place, name=name, span=(after, up_to), progress=progress)
    return crossed


def _fetch_rows(peer, writer, place, *, name, span, progress):
    columns = fetch_columns(writer, *place)
    room = fetch_packet_size(writer)
    insert = Insert(writer, place, columns=columns, limit=min(BATCH, room // 4), progress=progress)
    parts = peer.stream("read_rows", name=name, after=span[0], up_to=span[1], room=room)
    for part in parts:
        if "rows" in part:
            for literal in part["rows"]:
                insert.add(check_literal(literal, place[1]), ())
        else:
            literal, which = part["large"]
            values = [_gather(parts) if is_large else None for is_large in which]
            insert.add(check_literal(literal, place[1]), values)
    insert.flush()
    return insert.rows


def _gather(parts):
    value = bytearray()
    for piece in parts:
        if not piece:
            break
        value += piece
    return bytes(value)


def check_literal(literal, table):
    """Only literals are let in: text of the other node must never become a statement here."""
    content = literal.encode("ascii")
    if _LITERAL.fullmatch(content) is None:
        raise _make_refused(table, "came with a row that is no plain literal")
    return content


def _make_refused(table, reason):
    return NodeError(
        "SCHEMA_UNSUPPORTED",
        "table {0} {1}".format(table, reason),
        "Change the table so that it can be copied exactly, or protect it on both environments.",
    )
