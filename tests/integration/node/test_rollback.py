"""A manual rollback brings back exactly what the last promotion replaced, or says why it does not."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.arguments import Call
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import Job
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.rollback import roll_back

from reconciler.core.merge import decide_merge
from reconciler.stack.mariadb import Login, MariaDB
from schemas.observation import Observation
from schemas.state import MergeOutcome
from tests.integration.node.observed_pair import find_differing
from tests.integration.node.plain_site import THEME, Promotion, change_staging, make_promotion


@pytest.fixture
def promotion(mariadb: MariaDB, admin: Any, database: Login, tmp_path: Path) -> Iterator[Promotion]:
    with make_promotion(mariadb, admin, database.user, tmp_path) as made:
        change_staging(made)
        yield made


def promote(promotion: Promotion, **request: Any) -> None:
    promotion.stage()
    promotion.cut_over(**request)


def make_call(promotion: Promotion, job_id: str | None = None, **request: Any) -> Call:
    call = promotion.call("rollback", **request)
    job = Job(job_id or str(uuid4()), 1, "release_rollback", "rollback")
    return dataclasses.replace(call, job=job, environment=promotion.production, production=None, source=None)


def run_rollback(promotion: Promotion, job_id: str | None = None, **request: Any) -> dict[str, Any]:
    return dict(roll_back(make_call(promotion, job_id, **request)))


def test_a_rollback_brings_back_every_table_and_file(promotion: Promotion) -> None:
    before, code = promotion.tables(), promotion.code()
    promote(promotion)
    result = run_rollback(promotion)
    assert result["health"]["healthy"] is True
    assert (promotion.tables(), promotion.code(), promotion.release()) == (before, code, "first")
    assert (promotion.own_databases(), promotion.releases()) == (set(), {"first"})


def test_a_rollback_restores_the_baseline_of_what_had_been_promoted(promotion: Promotion) -> None:
    differing = find_differing(promotion.pair.observe())
    promote(promotion)
    run_rollback(promotion)
    assert find_differing(promotion.pair.observe()) == differing


def test_options_that_production_kept_stay_as_they_are_now(promotion: Promotion) -> None:
    promote(promotion)
    promotion.pair.sql("UPDATE P.options SET option_value = 'since' WHERE option_name = 'home'")
    run_rollback(promotion)
    assert (promotion.option("home"), promotion.option("blogname")) == ("since", "Shop")


@pytest.mark.parametrize("name", ["baseline-before.json", "baseline-next.json"])
def test_a_kept_baseline_that_was_edited_is_not_gone_back_to(promotion: Promotion, name: str) -> None:
    promote(promotion)
    path = promotion.job_folder / name
    path.write_bytes(path.read_bytes().replace(b"sha256:", b"sha256:0", 1))
    run_rollback(promotion)
    merged = decide_merge(Observation.model_validate(promotion.pair.observe()))
    outcomes = {item.resource.name: item.outcome for item in merged}
    edited = {"baseline-before.json": MergeOutcome.CONFLICT, "baseline-next.json": MergeOutcome.KEPT}
    assert outcomes["slides"] is edited[name]  # never promoted over what production has by a forged memory


def test_a_rollback_advances_no_baseline_but_the_one_that_git_knows(promotion: Promotion) -> None:
    promote(promotion)
    path = Path(promotion.state_dir, promotion.pair.staging.id, "baseline.json")
    before = path.read_bytes()
    done = run_rollback(promotion, baselines={promotion.pair.staging.id: "f" * 64})
    assert done["health"]["healthy"] is True
    assert done["cut_over"]["baseline"] == {"source_id": promotion.pair.staging.id, "id": None}
    assert path.read_bytes() == before


WRITES = [
    pytest.param("INSERT INTO P.slides (image) VALUES ('visitor')", "slides", id="a table"),
    pytest.param("INSERT INTO P.fresh (link) VALUES ('visitor')", "fresh", id="a table that came"),
    pytest.param(
        "UPDATE P.options SET option_value = 'x' WHERE option_name = 'blogname'", "blogname", id="a row"
    ),
]


@pytest.mark.parametrize(("write", "name"), WRITES)
def test_a_rollback_never_loses_what_was_written_since(promotion: Promotion, write: str, name: str) -> None:
    promote(promotion)
    promotion.pair.sql(write)
    before = promotion.tables()
    with pytest.raises(NodeError, match=name) as blocked:
        run_rollback(promotion)
    assert blocked.value.code == "OVERWRITE_BLOCKED"
    assert (promotion.tables(), promotion.release()) == (before, promotion.job_id)


def test_check_mode_says_whether_it_would_be_refused_and_does_nothing(promotion: Promotion) -> None:
    promote(promotion)
    call = dataclasses.replace(make_call(promotion), check_mode=True)
    assert roll_back(call) == {"changed": True}
    promotion.pair.sql("INSERT INTO P.slides (image) VALUES ('visitor')")
    with pytest.raises(NodeError, match="slides"):
        roll_back(call)
    assert promotion.release() == promotion.job_id


@pytest.mark.parametrize(("write", "name"), WRITES)
def test_what_the_intent_names_may_be_lost_and_is_saved_aside(
    promotion: Promotion, write: str, name: str
) -> None:
    before = promotion.tables()
    promote(promotion)
    promotion.pair.sql(write)
    result = run_rollback(promotion, overwrite=[name])
    assert promotion.tables() == before
    assert [saved.partition(":")[2] for saved in result["cut_over"]["saved"]] == [name]


def test_code_that_production_changed_since_is_never_lost(promotion: Promotion) -> None:
    promote(promotion)
    promotion.pair.path("production", "wp-content/plugins/shop/shop.php").write_text("<?php /* shop 2.0 */")
    with pytest.raises(NodeError, match="plugins/shop"):
        run_rollback(promotion)
    assert promotion.release() == promotion.job_id


@pytest.mark.parametrize(
    "keep", [pytest.param(0, id="nothing was kept"), pytest.param(3600, id="already back")]
)
def test_without_anything_kept_a_rollback_is_refused(promotion: Promotion, keep: int) -> None:
    promote(promotion, keep_old_release=keep)
    if keep:
        run_rollback(promotion)
    before = promotion.tables()
    with pytest.raises(NodeError, match="nothing to roll back to"):
        run_rollback(promotion)
    assert promotion.tables() == before


def test_a_rollback_that_ended_is_told_again_and_not_run_again(promotion: Promotion) -> None:
    job_id = str(uuid4())
    promote(promotion)
    first = run_rollback(promotion, job_id)
    assert run_rollback(promotion, job_id)["cut_over"] == first["cut_over"]


def test_a_rollback_to_a_broken_release_is_taken_back(promotion: Promotion) -> None:
    promote(promotion)
    before = promotion.tables()
    Path(promotion.production.root, "releases", "first", THEME).write_text("<?php /* broken */")
    with pytest.raises(NodeError) as failed:
        run_rollback(promotion)
    assert failed.value.code == "HEALTH_CHECK_FAILED"
    assert (promotion.tables(), promotion.release()) == (before, promotion.job_id)
    assert promotion.releases() == {"first", promotion.job_id}


def test_after_a_rollback_was_taken_back_another_one_can_still_be_asked_for(promotion: Promotion) -> None:
    before = promotion.tables()
    theme = Path(promotion.production.root, "releases", "first", THEME)
    content = theme.read_text()
    promote(promotion)
    theme.write_text("<?php /* broken */")
    with pytest.raises(NodeError):
        run_rollback(promotion)
    theme.write_text(content)
    run_rollback(promotion)
    assert (promotion.tables(), promotion.release()) == (before, "first")
