"""Whether the source's WordPress would ask production's database for an upgrade (which a promotion never runs)."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import Environment
from ansible_collections.pressluft.wordpress.plugins.module_utils.option_row import (
    OptionRow,
    read_option_rows,
)

if TYPE_CHECKING:
    from pymysql.connections import Connection

_VERSION = re.compile(rb"^\$wp_db_version\s*=\s*([0-9]+)\s*;", re.MULTILINE)
VERSION_OPTION = "db_version"
_FILE = os.path.join("wp-includes", "version.php")


def find_pending_upgrade(
    connection: Connection[Any], production: Environment, source: Environment
) -> Optional[str]:
    """Say which upgrade WordPress will ask for once the source's code runs on production's database."""
    rows = read_option_rows(connection, production, [VERSION_OPTION])
    return describe_pending(read_code_version(source), rows.get(VERSION_OPTION), production, source)


def describe_pending(
    needed: Optional[int], row: Optional[OptionRow], production: Environment, source: Environment
) -> Optional[str]:
    """Say the same from what was read already: the code's version and production's option row."""
    if needed is None or row is None or not (row.value or b"").isdigit():
        return None
    installed = int(row.value or b"0")
    if needed <= installed:
        return None
    return (
        "WordPress of %s needs database version %d, %s has %d: run `wp core update-db` on %s after the promotion"
        % (source.name, needed, production.name, installed, production.name)
    )


def read_code_version(environment: Environment) -> Optional[int]:
    """The database version that an environment's code asks for, None where it cannot be told."""
    try:
        with open(os.path.join(environment.current, _FILE), "rb") as stream:
            found = _VERSION.search(stream.read(65536))
    except OSError:  # told by the component that holds it
        return None
    return int(found.group(1)) if found else None
