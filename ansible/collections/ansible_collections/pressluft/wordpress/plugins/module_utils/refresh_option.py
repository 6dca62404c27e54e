"""The options of a fresh copy: production's rows, but those by which the source is itself stay its own."""

from __future__ import annotations

from ansible_collections.pressluft.wordpress.plugins.module_utils.database import quote_name, run_query
from ansible_collections.pressluft.wordpress.plugins.module_utils.exchange import fetch_tables
from ansible_collections.pressluft.wordpress.plugins.module_utils.option_row import (
    OptionRow,
    read_option_rows,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import (
    OPTIONS_TABLE,
    PRESERVED,
    Patterns,
)

FOLLOW_DATA = Patterns(["*user_roles", "*db_version", "_transient_*", "_site_transient_*"])
"""Preserved options that describe tables, rights and caches which came from production: its rows are right."""
_ADDRESSES = ("siteurl", "home")
_ROLES = "user_roles"


def settle_options(work):
    """Give the shadow's options the source's own rows; on the first set-up, its address. `blog_public` is 0."""
    _rename_roles(work)
    own = _read_own(work)
    copied = _fetch_names(work.writer, work.copy)
    if own:
        for name in copied:
            if _is_own(work, name) and name not in own:
                _delete(work, name)
    for row in own.values():
        _put(work, row)
    _check_addresses(work)
    _put(work, OptionRow("blog_public", b"0", _find_autoload(work, "blog_public")))


def _read_own(work):
    """The rows of the source's live options that make it itself; none where it has no options yet."""
    table = work.source.table(OPTIONS_TABLE)
    if table not in fetch_tables(work.writer, work.source.database):
        return {}
    names = [name for name in _fetch_names(work.writer, work.source) if _is_own(work, name)]
    return read_option_rows(work.writer, work.source, names)


def _is_own(work, name):
    return work.protection.classify_option(name) == PRESERVED and not FOLLOW_DATA.match(name)


def _check_addresses(work):
    """Where rewriting did not lead to the source (a first set-up under another address), say it outright."""
    rows = read_option_rows(work.writer, work.copy, _ADDRESSES)
    for name in _ADDRESSES:
        value = rows[name].value if name in rows else None
        address = (value or b"").decode("utf-8", "replace").rstrip("/") + "/"
        if not address.startswith(work.source.url.rstrip("/") + "/"):
            _put(work, OptionRow(name, work.source.url.rstrip("/").encode(), _find_autoload(work, name)))


def _rename_roles(work):
    """The row of all roles carries the table prefix in its name."""
    ours, own = (side.table_prefix + _ROLES for side in (work.production, work.source))
    if ours == own:
        return
    found = read_option_rows(work.writer, work.copy, [ours])
    if ours in found:
        _put(work, found[ours]._replace(name=own))
        _delete(work, ours)


def _find_autoload(work, name):
    rows = read_option_rows(work.writer, work.copy, [name])
    return rows[name].autoload if name in rows else "yes"


def _fetch_names(conn, environment):
    place = _place(environment)
    return [name for (name,) in run_query(conn, "SELECT option_name FROM {0}".format(place))]


def _delete(work, name):
    place = _place(work.copy)
    run_query(work.writer, "DELETE FROM {0} WHERE option_name = %s".format(place), (name,))


def _put(work, row):
    value = "NULL" if row.value is None else "x'{0}'".format(row.value.hex())
    run_query(
        work.writer,
        "INSERT INTO {0} (option_name, option_value, autoload) VALUES (%s, {1}, %s) ON DUPLICATE KEY UPDATE"
        " option_value = VALUES(option_value), autoload = VALUES(autoload)".format(_place(work.copy), value),
        (row.name, row.autoload),
    )


def _place(environment):
    return "{0}.{1}".format(quote_name(environment.database), quote_name(environment.table(OPTIONS_TABLE)))
