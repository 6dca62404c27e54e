"""An earlier baseline put back whole, seal and key included, opens nothing: git knows which one must be there."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.observation import observe
from ansible_collections.pressluft.wordpress.plugins.module_utils.refresh import refresh
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import make_protection

from reconciler.core.drift import decide_drift
from reconciler.stack.mariadb import Login, MariaDB
from schemas.observation import Observation
from schemas.state import DriftStatus
from tests.integration.node.observed_pair import PROTECTION
from tests.integration.node.refreshed_pair import Refreshing, make_refreshing


@pytest.fixture
def copied(mariadb: MariaDB, admin: Any, database: Login, tmp_path: Path) -> Iterator[Refreshing]:
    """The source is a full copy."""
    with make_refreshing(mariadb, admin, database.user, tmp_path) as made:
        made.run_anew("full")
        yield made


def look(copied: Refreshing, expected: str) -> Observation:
    """Observe with the id that git knows."""
    pair = copied.pair
    found = observe(
        pair.production,
        copied.source,
        make_protection(PROTECTION),
        defaults_file=pair.defaults_file,
        state_dir=pair.state_dir,
        expected=expected,
    )
    return Observation.model_validate(found)


def refresh_bound(copied: Refreshing, scope: str, expected: str) -> Any:
    call = dataclasses.replace(copied, job_id=str(uuid4())).call(scope)
    return refresh(
        dataclasses.replace(call, request={"scope": scope, "baselines": {copied.source.id: expected}})
    )


def put_back_older(copied: Refreshing) -> str:
    """Sell, take a baseline, give the sale back, and put the whole state folder of before back. Returns git's id.

    Production is then what the older baseline says, but not what the source was refreshed from last.
    """
    state = Path(copied.pair.state_dir)
    shutil.copytree(state, state.with_name("kept"), symlinks=True)
    copied.pair.sql("INSERT INTO P.posts (post_title) VALUES ('sold')")
    copied.run_anew("protected")
    newest = str(copied.read_baseline()["id"])
    copied.pair.sql("DELETE FROM P.posts WHERE post_title = 'sold'")
    assert decide_drift(look(copied, newest)) is DriftStatus.DRIFTED
    shutil.rmtree(state)
    state.with_name("kept").rename(state)
    return newest


def test_an_older_baseline_put_back_whole_turns_no_drift_into_clean(copied: Refreshing) -> None:
    newest = put_back_older(copied)
    # The attack is real: the seal is true, and without the id from git production would look clean.
    assert decide_drift(look(copied, "")) is DriftStatus.CLEAN
    found = look(copied, newest)
    assert (decide_drift(found), found.baseline) == (DriftStatus.UNKNOWN, None)
    assert "put back" in found.baseline_refused


@pytest.mark.parametrize("is_drifted", [pytest.param(True, id="drifted"), pytest.param(False, id="clean")])
def test_a_forged_id_in_git_can_only_shut_the_gate(copied: Refreshing, *, is_drifted: bool) -> None:
    if is_drifted:
        copied.pair.sql("INSERT INTO P.posts (post_title) VALUES ('sold')")
    assert decide_drift(look(copied, "f" * 64)) is DriftStatus.UNKNOWN
    removed = DriftStatus.DRIFTED if is_drifted else DriftStatus.CLEAN
    assert decide_drift(look(copied, "")) is removed


def test_a_baseline_that_is_gone_is_missed(copied: Refreshing) -> None:
    expected = copied.read_baseline()["id"]
    Path(copied.pair.state_dir, copied.source.id, "baseline.json").unlink()
    assert "gone" in look(copied, expected).baseline_refused


def test_a_protected_refresh_advances_no_older_baseline_and_a_full_one_takes_its_own(
    copied: Refreshing,
) -> None:
    newest = put_back_older(copied)
    with pytest.raises(NodeError, match="put back") as refused:
        refresh_bound(copied, "protected", newest)
    assert "full" in refused.value.remedy
    done = refresh_bound(copied, "full", newest)
    assert decide_drift(look(copied, done["refresh"]["baseline_id"])) is DriftStatus.CLEAN


def test_a_protected_refresh_leaves_the_baseline_of_preserved_files_as_it_was(copied: Refreshing) -> None:
    before = copied.read_baseline()["resources"]["path:wp-config.php"]
    copied.run_anew("protected")
    assert copied.read_baseline()["resources"]["path:wp-config.php"] == before


def test_a_full_refresh_is_the_way_out_of_a_baseline_that_cannot_be_trusted(copied: Refreshing) -> None:
    path = Path(copied.pair.state_dir, copied.source.id, "baseline.json")
    path.write_text("{")
    with pytest.raises(NodeError, match="cannot be trusted"):
        copied.run_anew("protected")
    copied.run_anew("full")
    assert decide_drift(look(copied, "")) is DriftStatus.CLEAN
