"""What a table is: its definition as text that is the same wherever the table lies, and a digest of it."""

from __future__ import annotations

import difflib
import hashlib
import re
from typing import TYPE_CHECKING, Any, Dict, List, NamedTuple, Optional, Tuple

from ansible_collections.pressluft.wordpress.plugins.module_utils.database import (
    DatabaseError,
    quote_name,
    run_query,
)

if TYPE_CHECKING:
    from pymysql.connections import Connection

_COUNTER = re.compile(r"^(\)[^\n']*?ENGINE=\w+) AUTO_INCREMENT=\d+", re.MULTILINE)
_DEFINER = re.compile(r"^(CREATE )(?:ALGORITHM=\w+ )?(?:DEFINER=\S+ )?(?:SQL SECURITY \w+ )?", re.MULTILINE)
_PREFIX_MARK = "\0"  # cannot stand in a definition, so that no text imitates a prefix
_DIFFERENCES_SHOWN = 6


Trigger = Tuple[Any, ...]
Triggers = Dict[str, List[Trigger]]


class Schema(NamedTuple):
    """A table's or view's definition without what differs from place to place, and its digest in hex."""

    text: str
    digest: str
    is_view: bool


def read_schema(
    connection: Connection[Any],
    database: str,
    table: str,
    *,
    prefix: str = "",
    triggers: Optional[Triggers] = None,
) -> Schema:
    """Read the definition of a table with its triggers, or of a view. Raises DatabaseError.

    Left out: AUTO_INCREMENT (it moves with every row), the database's name, the prefix, and who defined it.
    Kept: columns, generated expressions, keys, collations, engine, partitions, triggers. `triggers` are those of
    the whole database, if they were read already (`read_triggers`).
    """
    name = "%s.%s" % (quote_name(database), quote_name(table))
    row = run_query(connection, "SHOW CREATE TABLE %s" % name)[0]
    text = row[1]
    # A view answers with four columns, a table with two.
    is_view = len(row) > 2
    definition = _DEFINER.sub(r"\1", text) if is_view else _COUNTER.sub(r"\1", text)
    if _PREFIX_MARK in definition:
        raise DatabaseError("the definition of %s holds a NUL character" % name)
    found = read_triggers(connection, database, table=table) if triggers is None else triggers
    parts = [definition, *_describe_triggers(found.get(table, []), prefix)]
    normal = _normalise("\n".join(parts), database=database, prefix=prefix)
    return Schema(normal, hashlib.sha256(normal.encode()).hexdigest(), is_view)


def compare_schemas(production: str, source: str) -> str:
    """Say how two definitions (`Schema.text`) differ, line by line; nothing when they are equal."""
    if production == source:
        return ""
    ours, theirs = (text.replace(_PREFIX_MARK, "").splitlines() for text in (production, source))
    lines = [line for line in difflib.ndiff(ours, theirs) if line[:2] in ("- ", "+ ")]
    words = {"-": "only on production", "+": "only on the source"}
    said = ["%s: %s" % (words[line[0]], line[2:].strip().rstrip(",")) for line in lines]
    more = len(said) - _DIFFERENCES_SHOWN
    if more > 0:
        said = [*said[:_DIFFERENCES_SHOWN], "and %d more" % more]
    return "; ".join(said) or "the definitions differ in their line ends"


def read_triggers(connection: Connection[Any], database: str, *, table: Optional[str] = None) -> Triggers:
    """Read the triggers of one table, or of all tables of a database in one go, by the table's name."""
    rows = run_query(
        connection,
        "SELECT EVENT_OBJECT_SCHEMA, EVENT_OBJECT_TABLE, ACTION_TIMING, EVENT_MANIPULATION, ACTION_ORDER,"
        " TRIGGER_NAME, ACTION_STATEMENT FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA = %s"
        + ("" if table is None else " AND EVENT_OBJECT_TABLE = %s"),
        (database,) if table is None else (database, table),
    )
    found: Triggers = {}
    for schema, of, *trigger in rows:
        if schema == database:
            found.setdefault(of, []).append(tuple(trigger))
    return found


def _describe_triggers(triggers: List[Trigger], prefix: str) -> List[str]:
    # The code of a trigger may name tables without quotes.
    bare = re.compile(r"(?<![\w`$])%s(?=\w)" % re.escape(prefix or _PREFIX_MARK))
    return [
        "TRIGGER %s %s %s %s: %s" % (quote_name(name), timing, event, order, bare.sub(_PREFIX_MARK, code))
        for timing, event, order, name, code in sorted(triggers)
    ]


def _normalise(text: str, *, database: str, prefix: str) -> str:
    text = text.replace(quote_name(database) + ".", "")
    if not prefix:
        return text
    return text.replace("`" + prefix.replace("`", "``"), "`" + _PREFIX_MARK)
