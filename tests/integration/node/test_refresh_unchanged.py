"""A second refresh does not read what files prove to be unchanged on both sides, and reads everything else."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils import (
    file_copy,
    refresh_copy,
    refresh_unchanged,
    tablespace,
)

from reconciler.stack.mariadb import Login, MariaDB
from tests.integration.node.refreshed_pair import Refreshing, make_refreshing
from tests.integration.node.test_tablespace import wait_for_purge


@pytest.fixture(autouse=True)
def _proofs_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy disk, on which no proof is had in time, is another matter; so is a table that was just written to."""
    monkeypatch.setattr(tablespace, "_FLUSH_SECONDS", 30)
    monkeypatch.setattr(tablespace, "_read_updates", lambda *_of: {})


@pytest.fixture
def refreshing(mariadb: MariaDB, admin: Any, database: Login, tmp_path: Path) -> Iterator[Refreshing]:
    """A copy that was checked since it was made."""
    with make_refreshing(mariadb, admin, database.user, tmp_path) as made:
        made.run_anew("full")
        check(made)
        yield made


def check(refreshing: Refreshing) -> None:
    """Check as a drift check does, when the server has tidied up."""
    wait_for_purge(refreshing.pair.admin)
    refreshing.pair.observe()


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tables that a refresh reads to measure them, `P.` or `S.` before the name."""
    found: list[str] = []

    def spy(module: Any, mark: str) -> None:
        measure = module.measure_tables

        def remember(conn: Any, side: Any, names: Any, **options: Any) -> Any:
            found.extend(f"{mark if side.type == 'staging' else 'P.'}{name}" for name in names)
            return measure(conn, side, names, **options)

        monkeypatch.setattr(module, "measure_tables", remember)

    spy(refresh_copy, "copy of S.")
    spy(refresh_unchanged, "S.")
    return found


def test_what_did_not_change_is_neither_read_nor_copied(refreshing: Refreshing, read: list[str]) -> None:
    before = refreshing.read_baseline()["resources"]
    done = refreshing.run_anew("full")["refresh"]
    assert (done["tables"], done["files"], read) == (1, 0, [])  # the options, which have no proof
    assert refreshing.read_baseline()["resources"] == before


def test_only_what_changed_on_production_is_read(refreshing: Refreshing, read: list[str]) -> None:
    refreshing.pair.sql("UPDATE P.slides SET width = 11")
    done = refreshing.run_anew("full")["refresh"]
    assert (done["tables"], sorted(read)) == (2, ["P.slides", "copy of S.slides"])
    assert refreshing.rows("slides", "width") == [(11,)]


def test_what_somebody_changed_on_the_copy_becomes_productions_again(
    refreshing: Refreshing, read: list[str]
) -> None:
    refreshing.pair.sql("UPDATE S.posts SET post_title = 'mine' WHERE ID = 1")
    refreshing.run_anew("protected")
    assert sorted(read) == ["P.posts", "S.posts", "copy of S.posts"]
    assert refreshing.rows("posts", "post_title")[0] == ("One",)


def test_what_was_proved_can_still_be_told_row_by_row_later(refreshing: Refreshing) -> None:
    refreshing.run_anew("full")
    refreshing.pair.sql("UPDATE P.posts SET post_title = 'changed' WHERE ID = 2")
    assert refreshing.pair.find("posts")["samples"] == ["2"]


def test_a_change_that_comes_after_the_check_is_never_missed(refreshing: Refreshing) -> None:
    for number in range(5):
        refreshing.pair.sql(f"UPDATE P.users SET user_login = 'ann{number}'")
        refreshing.run_anew("protected")
        assert refreshing.rows("users", "user_login") == [(f"ann{number}",)]
        check(refreshing)


def test_a_folder_that_needs_no_change_is_looked_at_once_a_side(
    refreshing: Refreshing, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Any] = []
    look = file_copy._read
    monkeypatch.setattr(file_copy, "_read", lambda top, read: (looks.append(top), look(top, read))[1])
    refreshing.run_anew("protected")
    assert len(looks) == 2
    refreshing.pair.path("production", "wp-content/uploads/2024/b.png").write_bytes(b"new")
    looks.clear()
    assert refreshing.run_anew("protected")["refresh"]["files"] == 1
    assert len(looks) == 3
