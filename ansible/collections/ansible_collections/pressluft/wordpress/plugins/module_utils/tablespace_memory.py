"""Which digest belongs to which version of a table's file: what a node remembers from one check to the next."""

from __future__ import annotations

import os
from typing import Dict, Mapping, NamedTuple

from ansible_collections.pressluft.wordpress.plugins.module_utils.database import TableInfo
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import (
    Environment,
    make_environment_folder_path,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.file_clock import FileStamp
from ansible_collections.pressluft.wordpress.plugins.module_utils.schema_digest import (
    Schema,
    read_schema,
    read_triggers,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.sealed_file import read_sealed, write_sealed
from ansible_collections.pressluft.wordpress.plugins.module_utils.table_digest import DIGEST_FORMAT
from ansible_collections.pressluft.wordpress.plugins.module_utils.tablespace import Stamp, Tablespaces

Remembered = Dict[str, "Known"]
"""By the table's name without prefix."""


class Known(NamedTuple):
    """The digests of a table's definition (hex) and rows (`sha256:<hex>`), and the file they are true of."""

    schema: str
    rows: str
    stamp: Stamp


def read_memory(state_dir: str, environment_id: str, *, origin: str) -> Remembered:
    """Read what is known of the tables of an environment; nothing that another origin has seen."""
    content = read_sealed(state_dir, _make_path(state_dir, environment_id))
    if not origin or content.get("origin") != _make_origin(origin):
        return {}
    return {
        name: Known(schema, rows, Stamp(FileStamp(*file), taken))
        for name, (schema, rows, (file, taken)) in content["tables"].items()
    }


def write_memory(state_dir: str, environment_id: str, known: Remembered, *, origin: str) -> None:
    """Keep what is known, durably. Raises OSError."""
    content = {"origin": _make_origin(origin), "tables": known}
    write_sealed(state_dir, _make_path(state_dir, environment_id), content)


def find_proved(
    spaces: Tablespaces,
    environment: Environment,
    tables: Mapping[str, TableInfo],
    *,
    memory: Remembered,
) -> Dict[str, Schema]:
    """Find the tables that are proved to be what they were when `memory` was written, with their definitions.

    `tables` are those that are there now, by name without prefix. Raises DatabaseError.
    """
    connection, database = spaces.connection, environment.database
    triggers = read_triggers(connection, database) if memory else {}
    # Definitions are read before the proof: what it proves of the rows is then true of that moment too.
    found = {
        name: read_schema(
            connection, database, tables[name].name, prefix=environment.table_prefix, triggers=triggers
        )
        for name, known in memory.items()
        if name in tables and spaces.has_stamp(tables[name], known.stamp)
    }
    same = {name for name, schema in found.items() if schema.digest == memory[name].schema}
    proved = spaces.find_unchanged({tables[name]: memory[name].stamp for name in same})
    return {name: found[name] for name in same if tables[name] in proved}


def _make_origin(origin: str) -> str:
    return "%d %s" % (DIGEST_FORMAT, origin)


def _make_path(state_dir: str, environment_id: str) -> str:
    return os.path.join(make_environment_folder_path(state_dir, environment_id), "tablespaces.json")
