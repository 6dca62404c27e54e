"""A table copied by its chunks: what is still as it was copied last time is taken from the earlier copy.

The earlier copy lies on the server that is written to, so its rows never pass through this process. Nothing is
believed of it: what was taken is digested where it arrived, and a chunk that is not what the last copy held (somebody
wrote to the copy) comes from production after all.
"""

from __future__ import annotations

from typing import NamedTuple, Optional, Tuple

from ansible_collections.pressluft.wordpress.plugins.module_utils.database import (
    DatabaseError,
    quote_name,
    run_query,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.localise import pair_chunks
from ansible_collections.pressluft.wordpress.plugins.module_utils.progress import SILENT
from ansible_collections.pressluft.wordpress.plugins.module_utils.row_copy import (
    CopiedTable,
    copy_rows,
    create_copy,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.row_literal import (
    READER_SESSION,
    WRITER_SESSION,
    fetch_columns,
    session,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.table_digest import (
    Key,
    digest_range,
    make_plan,
    make_where,
)


class Span(NamedTuple):
    """Rows between two keys, the first excluded. `expected`: number and digest of them in the earlier copy, if good."""

    after: Optional[Key]
    up_to: Optional[Key]
    expected: Optional[Tuple[int, str]]


def find_spans(now, *, before, copied):
    """Divide a table into what can be taken from the earlier copy and what must come from production.

    `now` are production's chunks in the snapshot, `before` those that were copied last time, `copied` those of the
    copy that was made of them; as in a measure's evidence. Spans that must come from production are joined.
    """
    known = set(pair_chunks(before))
    held = {(after, chunk.bound): (chunk.count, chunk.digest) for after, chunk in pair_chunks(copied)}
    spans = []
    for after, chunk in pair_chunks(now):
        expected = held.get((after, chunk.bound)) if (after, chunk) in known else None
        if expected is None and spans and spans[-1].expected is None:
            spans[-1] = spans[-1]._replace(up_to=chunk.bound)
        else:
            spans.append(Span(after, chunk.bound, expected))
    return spans


def copy_by_chunks(reader, writer, source, target, *, earlier, spans, renamed, progress=SILENT):
    """Create `target` and fill it with what the reader's snapshot holds of `source`; each is (database, table).

    `spans` are all of the table's in that snapshot (`find_spans`), `earlier` is where the copy of last time lies, on
    the writer's server; `progress` counts all. Returns a `CopiedTable` of what came from `source`. Raises as
    `row_copy.copy_table` does.
    """
    with session(reader, READER_SESSION), session(writer, WRITER_SESSION):
        columns = fetch_columns(reader, *source)
        create_copy(reader, writer, source, target, renamed=renamed)
        read, write = make_plan(reader, *source), make_plan(writer, *target)
        rows = size = 0
        for span in spans:
            if span.expected and _take(writer, write, span, earlier=earlier, columns=columns):
                progress.add(rows=span.expected[0])
                continue
            where = make_where(read.key, after=span.after, up_to=span.up_to)
            done = copy_rows(reader, writer, source, target, columns=columns, where=where, progress=progress)
            rows, size = rows + done.rows, size + done.bytes
    progress.add(tables=1)
    return CopiedTable(rows, size)


def _take(writer, plan, span, *, earlier, columns):
    """Take a span from the earlier copy; whether it is what the last copy held. Else nothing of it stays."""
    names = ", ".join(quote_name(column.name) for column in columns)
    where = make_where(plan.key, after=span.after, up_to=span.up_to)
    place = "{0}.{1}".format(*map(quote_name, earlier))
    run_query(writer, "BEGIN")
    try:
        run_query(
            writer,
            "INSERT INTO {0} ({1}) SELECT {1} FROM {2} WHERE {3}".format(plan.table, names, place, where),
        )
        is_good = digest_range(writer, plan, after=span.after, up_to=span.up_to) == span.expected
    except DatabaseError:  # a column it does not have, a lock: production has the rows
        is_good = False
    run_query(writer, "COMMIT" if is_good else "ROLLBACK")
    return is_good
