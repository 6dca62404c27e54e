"""The rows of `options`, each a resource of its own: its value's bytes and whether it is loaded early."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Dict, List, NamedTuple, Optional, Sequence

from ansible_collections.pressluft.wordpress.plugins.module_utils.database import (
    DatabaseError,
    quote_name,
    run_query,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import Environment
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import (
    OPTIONS_TABLE,
    Measure,
    Protection,
)

if TYPE_CHECKING:
    from pymysql.connections import Connection


class OptionRow(NamedTuple):
    """One row as it is stored: the value's raw bytes (None for NULL) and `autoload` as text."""

    name: str
    value: Optional[bytes]
    autoload: str


def measure_options(
    connection: Connection[Any], environment: Environment, protection: Protection
) -> Dict[str, Measure]:
    """Measure every row but the volatile ones, keyed by its name. Raises DatabaseError.

    Names are compared here, byte for byte: in the database `Blogname` and `blogname` may be the same. Rows of
    the same name (the table lost its unique key) are one resource.
    """
    rows = run_query(
        connection,
        "SELECT option_name, option_value IS NULL, SHA2(CAST(option_value AS BINARY), 256), autoload FROM %s"
        % _quote_table(environment),
    )
    grouped: Dict[str, List[List[str]]] = {}
    for name, is_null, value, autoload in rows:
        if protection.is_volatile_option(name):
            continue
        if value is None and not is_null:
            raise DatabaseError("the value of option %s is too large to be read" % name)
        grouped.setdefault(name, []).append(["NULL" if is_null else value, str(autoload)])
    return {name: Measure(_digest(parts)) for name, parts in grouped.items()}


def read_option_rows(
    connection: Connection[Any], environment: Environment, names: Sequence[str]
) -> Dict[str, OptionRow]:
    """Read rows by their exact names; those that are not there are left out. Raises DatabaseError."""
    if not names:
        return {}
    rows = run_query(
        connection,
        "SELECT option_name, CAST(option_value AS BINARY), option_value IS NULL, autoload FROM %s"
        " WHERE option_name IN (%s)" % (_quote_table(environment), ", ".join(["%s"] * len(names))),
        list(names),
    )
    wanted = set(names)
    found = {}
    for name, value, is_null, autoload in rows:
        if value is None and not is_null:
            raise DatabaseError("the value of option %s is too large to be read" % name)
        if name in wanted:
            found[name] = OptionRow(name, value, str(autoload))
    return found


def digest_option(row: OptionRow) -> str:
    """Return the digest of one row, the same that `measure_options` gives it."""
    value = "NULL" if row.value is None else hashlib.sha256(row.value).hexdigest()
    return _digest([[value, row.autoload]])


def _digest(parts: List[List[str]]) -> str:
    return "sha256:%s" % hashlib.sha256(json.dumps(sorted(parts)).encode()).hexdigest()


def _quote_table(environment: Environment) -> str:
    return "%s.%s" % (quote_name(environment.database), quote_name(environment.table(OPTIONS_TABLE)))
