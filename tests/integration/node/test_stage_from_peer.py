"""Staging from a source on another node gives what staging on one node gives, and leaves nothing else behind."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils import stage as stage_module
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.stage import stage
from ansible_collections.pressluft.wordpress.plugins.module_utils.stream_peer import open_peer

from reconciler.stack.mariadb import Login, MariaDB
from tests.integration.node.joined import join
from tests.integration.node.plain_site import Promotion, change_staging, make_promotion

MANY = "INSERT INTO S.large SELECT seq, CONCAT('row ', seq), NULL FROM seq_1_to_2500"


@pytest.fixture(autouse=True)
def _other_node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let the agent keep its state where another node would."""
    monkeypatch.setattr(
        stage_module,
        "open_peer",
        lambda call, environment, other: open_peer(
            dataclasses.replace(call, state_dir=str(tmp_path / "other-node")), environment, other=other
        ),
    )


@pytest.fixture
def promotion(mariadb: MariaDB, admin: Any, database: Login, tmp_path: Path) -> Iterator[Promotion]:
    with make_promotion(mariadb, admin, database.user, tmp_path) as made:
        change_staging(made)
        made.pair.sql(
            "CREATE TABLE S.large (id INT PRIMARY KEY, text VARCHAR(90), more LONGBLOB) ENGINE=InnoDB"
        )
        made.pair.sql(MANY)
        made.pair.sql("INSERT INTO S.large VALUES (9000, 'it''s \\\\ odd', REPEAT('x', 200000))")
        made.pair.sql("CREATE TABLE S.keyless (text TEXT, weight DOUBLE) ENGINE=InnoDB")
        made.pair.sql("INSERT INTO S.keyless VALUES ('https://staging.shop.test/a', -0.0), (NULL, 1e300)")
        yield made


def stage_joined(promotion: Promotion) -> dict[str, Any]:
    """Check and stage with the source as if it were on another node."""
    observation = promotion.check()
    call = promotion.call("stage", observation_id=observation["id"], plan=promotion.plan(observation))
    with join() as bridge:
        return dict(stage(dataclasses.replace(call, peer=bridge.socket))["staged"])


def read_staged(promotion: Promotion) -> Any:
    """All rows of the shadow and all files of the release."""
    shadow = f"{promotion.production.database}__pressluft_{promotion.job_id[:8]}"
    promotion.admin.execute(f"SHOW TABLES FROM {shadow}")
    names = [name for (name,) in promotion.admin.fetchall()]
    promotion.admin.execute(f"CHECKSUM TABLE {', '.join(f'{shadow}.{name}' for name in names)} EXTENDED")
    release = Path(promotion.production.release(promotion.job_id))
    files = {
        str(path.relative_to(release)): (path.lstat().st_mode, path.read_bytes())
        for path in release.rglob("*")
        if path.is_file()
    }
    return promotion.admin.fetchall(), files


def test_it_stages_what_one_node_stages(promotion: Promotion) -> None:
    alone = promotion.stage()
    expected = read_staged(promotion)
    other = dataclasses.replace(promotion, job_id=promotion.job_id[::-1])
    joined = stage_joined(other)
    tables, files = read_staged(other)
    assert [(name.partition(".")[2], total) for name, total in tables] == [
        (name.partition(".")[2], total) for name, total in expected[0]
    ]
    assert files == expected[1]
    for name in ("tables", "rows", "options", "components"):
        assert joined[name] == alone[name]


def test_nothing_but_what_was_staged_is_left(promotion: Promotion) -> None:
    stage_joined(promotion)
    assert promotion.own_databases() == {f"{promotion.production.database}__pressluft_{promotion.job_id[:8]}"}
    releases = Path(promotion.production.root, "releases")
    assert {path.name for path in releases.iterdir()} == {"first", promotion.job_id}


def test_a_source_that_was_edited_after_the_check_is_refused_and_nothing_is_left(
    promotion: Promotion,
) -> None:
    observation = promotion.check()
    call = promotion.call("stage", observation_id=observation["id"], plan=promotion.plan(observation))
    promotion.pair.sql("UPDATE S.large SET text = 'edited' WHERE id = 7")
    with join() as bridge, pytest.raises(NodeError) as refused:
        stage(dataclasses.replace(call, peer=bridge.socket))
    assert refused.value.code == "SOURCE_CHANGED"
    assert (promotion.own_databases(), promotion.releases()) == (set(), {"first"})


def test_two_nodes_that_are_one_machine_are_refused(
    promotion: Promotion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage_module, "open_peer", open_peer)
    with pytest.raises(NodeError, match="the same machine") as refused:
        stage_joined(promotion)
    assert refused.value.code == "IDENTITY_MISMATCH"


def test_a_trigger_on_the_other_node_is_refused_by_name(promotion: Promotion) -> None:
    observation = promotion.check()
    call = promotion.call("stage", observation_id=observation["id"], plan=promotion.plan(observation))
    promotion.pair.sql("CREATE TRIGGER S.watch BEFORE INSERT ON S.large FOR EACH ROW SET NEW.id = NEW.id")
    with join() as bridge, pytest.raises(NodeError) as refused:
        stage(dataclasses.replace(call, peer=bridge.socket))
    assert refused.value.code == "SCHEMA_UNSUPPORTED"
    assert "watch" in refused.value.message


def test_a_conversation_that_breaks_off_leaves_nothing_staged(promotion: Promotion) -> None:
    observation = promotion.check()
    call = promotion.call("stage", observation_id=observation["id"], plan=promotion.plan(observation))
    with join() as bridge:
        os.kill(bridge.find_processes()[0], 9)
        with pytest.raises(NodeError) as refused:
            stage(dataclasses.replace(call, peer=bridge.socket))
    assert (refused.value.code, refused.value.retry) == ("ANSIBLE_HOST_UNREACHABLE", True)
    assert (promotion.own_databases(), promotion.releases()) == (set(), {"first"})
