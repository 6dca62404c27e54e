"""A login that may too little is refused by the database's name before anything is staged, copied or restored."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils import dump
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import connect
from ansible_collections.pressluft.wordpress.plugins.module_utils.examination import RIGHTS
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.right_check import check_rights

from reconciler.stack.mariadb import Login, MariaDB
from tests.integration.node.plain_site import Promotion, change_staging, make_promotion
from tests.integration.node.test_stage import refuse

NOT_NEEDED = ("RELOAD", "INDEX", "LOCK TABLES", "CREATE VIEW", "SHOW VIEW")
"""Without these a promotion does without: digests for tablespaces, no preflight."""


@pytest.fixture
def promotion(mariadb: MariaDB, admin: Any, database: Login, tmp_path: Path) -> Iterator[Promotion]:
    with make_promotion(mariadb, admin, database.user, tmp_path) as made:
        change_staging(made)
        yield made


@pytest.fixture
def limit(mariadb: MariaDB, admin: Any, database: Login, tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Make a login that has every right that `doctor` asks for, but one."""
    name = f"n_{database.user[-8:]}"

    def make(right: str) -> Path:
        admin.execute(f"CREATE USER {name}@localhost IDENTIFIED BY 'node'")
        admin.execute(
            f"GRANT {', '.join(each for each in RIGHTS if each != right)} ON *.* TO {name}@localhost"
        )
        file = tmp_path / "login.cnf"
        socket = mariadb.admin.socket
        file.write_text(f"[client]\nuser = {name}\npassword = node\nhost = localhost\nsocket = {socket}\n")
        return file

    yield make
    admin.execute(f"DROP USER {name}@localhost")


@pytest.mark.parametrize("right", [right for right in RIGHTS if right not in NOT_NEEDED])
@pytest.mark.parametrize("place", ["{0}", "{0}__not_there_yet"])
def test_each_right_that_is_needed_is_missed(
    database: Login, limit: Callable[[str], Path], right: str, place: str
) -> None:
    name = place.format(database.user)
    with closing(connect(str(limit(right)))) as conn, pytest.raises(NodeError, match=name) as refused:
        check_rights(conn, [name])
    assert (refused.value.code, refused.value.retry) == ("SCHEMA_UNSUPPORTED", False)
    assert "command denied" in refused.value.message


def test_all_the_rights_that_doctor_asks_for_are_enough(
    admin: Any, database: Login, limit: Callable[[str], Path]
) -> None:
    admin.execute("CREATE TABLE t (a INT)")
    with closing(connect(str(limit("")))) as conn:
        check_rights(conn, [database.user, f"{database.user}__not_there_yet"])
    admin.execute("SHOW TABLES")
    assert admin.fetchall() == (("t",),)


@pytest.mark.parametrize("right", ["ALTER", "DELETE", "TRIGGER"])
def test_nothing_is_staged_by_a_login_that_could_not_cut_over_or_sees_no_triggers(
    promotion: Promotion, limit: Callable[[str], Path], right: str
) -> None:
    observation = promotion.check()
    ini = Path(promotion.config_dir, "node.ini")
    ini.write_text(ini.read_text().replace(promotion.pair.defaults_file, str(limit(right))))
    refused = refuse(promotion, "SCHEMA_UNSUPPORTED", observation)
    assert right in refused
    assert promotion.production.database in refused


def test_no_backup_is_made_by_a_login_that_would_miss_its_triggers(
    promotion: Promotion, limit: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = tmp_path / "dump"
    with (
        closing(connect(str(limit("TRIGGER")))) as conn,
        pytest.raises(NodeError, match="TRIGGER") as refused,
    ):
        dump.hold_dump(str(folder), conn, promotion.production).__enter__()
    assert refused.value.code == "SCHEMA_UNSUPPORTED"
    assert not folder.exists()
