"""What the drift check sees of each adversarial change, beside what else checks tables. Run by `make bench-drift`."""

import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import connect

from reconciler.stack.mariadb import Login, MariaDB
from tests.bench.rival import run_shell
from tests.integration.node.conftest import admin
from tests.integration.node.measuring import measure, run
from tests.integration.node.table_changes import CHANGES, SAME

__all__ = ["admin"]

Look = Callable[[], object]
SEEN: dict[str, dict[str, list[str]]] = {}


@pytest.fixture(scope="module", autouse=True)
def summary() -> Iterator[None]:
    """Print, at the end, what each of them missed and what it was wrong about."""
    yield
    sys.stdout.write(f"\n\n{len(CHANGES)} changes, {len(SAME)} that are none\n")
    for name, seen in SEEN.items():
        sys.stdout.write(
            f"  {name}: missed {len(seen['missed'])} ({', '.join(seen['missed'])});"
            f" false alarms {len(seen['false'])} ({', '.join(seen['false'])})\n"
        )


def look_with_pressluft(server: MariaDB, database: Login) -> object:
    with closing(connect(str(server.client_file))) as connection:
        return {name: found.digest for name, found in measure(connection, database).items()}.get("t")


def look_with_checksum_table(server: MariaDB, database: Login) -> object:
    with server.connect(database.user) as cursor:
        cursor.execute("CHECKSUM TABLE wp_t")
        return cursor.fetchall()


def look_with_pt_table_checksum(server: MariaDB, database: Login) -> object:
    run_shell(
        f"pt-table-checksum --defaults-file={server.client_file} --databases={database.user} --tables=wp_t --quiet"
        " --recursion-method=none --no-check-binlog-format --no-check-replication-filters",
        accepted=range(256),  # it has a status for each kind of table that it leaves out
    )
    with server.connect("percona") as cursor:
        cursor.execute(
            "SELECT chunk, this_cnt, this_crc FROM checksums WHERE db = %s ORDER BY chunk", (database.user,)
        )
        found = cursor.fetchall()
        cursor.execute("DELETE FROM checksums WHERE db = %s", (database.user,))
        return found


LOOKS = {
    "pressluft": look_with_pressluft,
    "CHECKSUM TABLE": look_with_checksum_table,
    "pt-table-checksum": look_with_pt_table_checksum,
}


@pytest.mark.parametrize(
    ("before", "change", "differs"),
    [pytest.param(*case.values, True, id=case.id) for case in CHANGES]
    + [pytest.param(*case.values, False, id=case.id) for case in SAME],
)
def test_who_sees_it(
    request: pytest.FixtureRequest, mariadb: MariaDB, admin: Any, database: Login, *,
    before: list[str], change: list[str], differs: bool,
) -> None:  # fmt: skip
    label = request.node.callspec.id
    run(admin, before)
    first = {name: look(mariadb, database) for name, look in LOOKS.items()}
    run(admin, change)
    for name, look in LOOKS.items():
        is_seen = look(mariadb, database) != first[name]
        seen = SEEN.setdefault(name, {"missed": [], "false": []})
        if is_seen != differs:
            seen["missed" if differs else "false"].append(label)
    assert label not in SEEN["pressluft"]["missed"] + SEEN["pressluft"]["false"]
