"""A node knows what is its own: identities, the lock, epochs, finished jobs, the clock."""

import dataclasses
import json
import os
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils import durable_file
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import connect
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import (
    Environment,
    EnvironmentState,
    Job,
    make_environment,
    make_environment_folder_path,
    make_job_word,
    open_environment,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError

from reconciler.stack.mariadb import MariaDB

JOB = Job("11111111-1111-4111-8111-111111111111", 1, "env_promote", "check")
OTHER_JOB = Job("99999999-9999-4999-8999-999999999999", 1, "backup_create", "backup")


class Node:
    """A node's own folder, and environments opened in it."""

    def __init__(self, folder: Path, conn: Any) -> None:
        self.folder, self.conn = folder, conn
        self.state_dir = str(folder / "state")
        self.shop = self.make("shop")

    def make(self, name: str, **changes: Any) -> Environment:
        root = self.folder / "sites" / name
        root.mkdir(parents=True, exist_ok=True)
        made = make_environment(
            {
                "id": f"id-of-{name}",
                "name": name,
                "type": "staging",
                "url": f"https://{name}.test",
                "root": str(root),
                "database": {"name": name, "table_prefix": "wp_"},
            }
        )
        return dataclasses.replace(made, **changes)

    def open(self, environment: Environment | None = None, job: Job = JOB, **options: Any) -> Any:
        return open_environment(
            self.state_dir, environment or self.shop, job=job, conn=self.conn, lock_wait=0.1, **options
        )

    def touch(self, environment: Environment | None = None, job: Job = JOB) -> None:
        with self.open(environment, job):
            pass

    def refuse(self, environment: Environment | None = None, job: Job = JOB) -> NodeError:
        with pytest.raises(NodeError) as refused:
            self.touch(environment, job)
        return refused.value


@pytest.fixture
def node(mariadb: MariaDB, tmp_path: Path) -> Iterator[Node]:
    with closing(connect(str(mariadb.client_file))) as conn:
        yield Node(tmp_path, conn)


def test_first_contact_binds_and_the_same_environment_is_let_in_again(node: Node) -> None:
    node.touch()
    node.touch()
    bound = json.loads(Path(node.state_dir, "id-of-shop", "identity.json").read_text())
    assert (bound["database"], bound["table_prefix"], bound["type"]) == ("shop", "wp_", "staging")


def test_the_folder_is_for_root_alone(node: Node) -> None:
    node.touch()
    assert Path(node.state_dir, "id-of-shop").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        pytest.param({"database": "other"}, "database", id="another database"),
        pytest.param({"table_prefix": "x_"}, "table_prefix", id="another prefix"),
        pytest.param({"type": "clone"}, "type", id="another type"),
        pytest.param({"root": "/srv/elsewhere"}, "root", id="another root"),
    ],
)
def test_anything_else_under_a_bound_id_is_refused_by_name(node: Node, changes: Any, named: str) -> None:
    node.touch()
    refused = node.refuse(dataclasses.replace(node.shop, **changes))
    assert refused.code == "IDENTITY_MISMATCH"
    assert named in refused.message


def test_another_database_server_is_refused(node: Node) -> None:
    node.touch()
    path = Path(node.state_dir, "id-of-shop", "identity.json")
    path.write_text(json.dumps(dict(json.loads(path.read_text()), server="mariadb:another")))
    assert "server" in node.refuse().message


def test_a_root_that_is_a_link_to_another_place_is_told_from_the_bound_one(node: Node) -> None:
    node.touch()
    root = Path(node.shop.root)
    root.rename(root.with_name("moved"))
    root.symlink_to("moved")
    assert node.refuse().code == "IDENTITY_MISMATCH"


@pytest.mark.parametrize(
    "clash",
    [
        pytest.param({"database": "shop"}, id="the same tables"),
        pytest.param({"database": "shop", "table_prefix": "wp_2_"}, id="tables that begin like theirs"),
        pytest.param({"root": "{sites}/shop/inner"}, id="a root inside theirs"),
        pytest.param({"root": "{sites}"}, id="a root around theirs"),
        pytest.param({"root": "{sites}/shop"}, id="their root"),
    ],
)
def test_environments_of_one_node_never_overlap(node: Node, clash: dict[str, str]) -> None:
    node.touch()
    sites = str(node.folder / "sites")
    changes = {name: value.format(sites=sites) for name, value in clash.items()}
    refused = node.refuse(node.make("second", **changes))
    assert refused.code == "IDENTITY_MISMATCH"
    assert "id-of-shop" in refused.message
    assert not Path(node.state_dir, "id-of-second", "identity.json").exists()


def test_two_sites_side_by_side_do_not_overlap(node: Node) -> None:
    node.touch()
    node.touch(node.make("second"))
    node.touch(node.make("third", database="shop", table_prefix="three_"))


@pytest.mark.parametrize("root", ["/", "{state}", "{state}/inside", "{above}"])
def test_a_root_that_would_hold_the_nodes_own_files_is_refused(node: Node, root: str) -> None:
    place = root.format(state=node.state_dir, above=node.folder)
    assert node.refuse(node.make("odd", root=place)).code == "IDENTITY_MISMATCH"


@pytest.mark.parametrize("name", ["", ".", "../other", "a/b", "-\0"])
def test_an_id_that_is_no_name_never_becomes_a_path(node: Node, name: str) -> None:
    with pytest.raises(NodeError):
        make_environment_folder_path(node.state_dir, name)


def test_a_lower_epoch_of_the_same_job_is_superseded(node: Node) -> None:
    node.touch(job=dataclasses.replace(JOB, epoch=3))
    assert node.refuse(job=dataclasses.replace(JOB, epoch=2)).code == "CLAIM_SUPERSEDED"
    node.touch(job=dataclasses.replace(JOB, epoch=3))


def test_a_job_that_another_one_overtook_needs_a_new_claim(node: Node) -> None:
    node.touch()
    node.touch(job=OTHER_JOB)
    assert node.refuse().code == "CLAIM_SUPERSEDED"
    node.touch(job=dataclasses.replace(JOB, epoch=2))


def test_a_job_that_ended_is_never_let_in_again(node: Node) -> None:
    with node.open(job=OTHER_JOB) as state:
        state.finish_job()
    for epoch in (1, 2):
        assert node.refuse(job=dataclasses.replace(OTHER_JOB, epoch=epoch)).code == "JOB_FINISHED"


def test_a_promotion_does_not_end_with_its_backup_or_refresh(node: Node) -> None:
    with node.open(job=dataclasses.replace(JOB, step="backup")) as state:
        state.finish_job()
    node.touch()


@pytest.mark.parametrize("seconds", [-31, 31, 3600])
def test_a_clock_that_is_off_is_refused(node: Node, seconds: int) -> None:
    theirs = (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
    refused = node.refuse(job=dataclasses.replace(JOB, controller_time=theirs))
    assert "clock" in refused.message


def test_a_clock_that_is_nearly_right_is_fine(node: Node) -> None:
    theirs = (datetime.now(UTC) - timedelta(seconds=25)).strftime("%Y-%m-%dT%H:%M:%SZ")
    node.touch(job=dataclasses.replace(JOB, controller_time=theirs))


def test_a_second_step_waits_for_the_lock_and_then_says_who_holds_it(node: Node) -> None:
    with node.open():
        refused = node.refuse(job=OTHER_JOB)
    assert JOB.id in refused.message
    assert refused.retry is True


def test_a_lock_that_was_handed_down_passes_on_without_a_gap(node: Node) -> None:
    with node.open() as state:
        handed = os.dup(state.lock)
    assert node.refuse(job=OTHER_JOB).retry is True
    with node.open(lock_descriptor=handed):
        pass
    node.touch(job=OTHER_JOB)


def test_the_report_says_how_the_environment_stands(node: Node) -> None:
    with node.open() as state:
        state.set_status("deploying")
        state.journal().record("staged", {"rows": 3})
        state.journal().record_cut(state="started")
        report = state.report()
    assert (report["status"], report["epoch"], report["journal"], report["cut"]) == (
        "deploying",
        1,
        ["staged"],
        "started",
    )


def test_whoever_probes_sees_that_a_job_runs(node: Node) -> None:
    with node.open() as state:
        assert make_job_word(state.folder, JOB.id)["running"] is True
    assert make_job_word(state.folder, JOB.id)["running"] is False


def test_an_environment_that_was_never_seen_is_reported_and_not_created(node: Node) -> None:
    folder = make_environment_folder_path(node.state_dir, "unknown")
    assert make_job_word(folder, JOB.id) == {
        "finished": False,
        "cut": None,
        "running": False,
        "result": None,
        "error": None,
    }
    assert not Path(folder).exists()


def test_without_a_database_everything_else_is_still_compared(node: Node) -> None:
    node.touch()
    moved = dataclasses.replace(node.shop, root="/srv/elsewhere")
    with pytest.raises(NodeError), open_environment(node.state_dir, moved, job=JOB, conn=None):
        pass


def test_a_line_torn_by_a_crash_never_hides_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "finished.txt"
    path.write_bytes(b"one\ntwo-was-to")
    durable_file.append_line(str(path), "three")
    assert path.read_text().split("\n") == ["one", "two-was-to", "three", ""]


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    durable_file.write_json(str(path), {"status": "active"})
    with pytest.raises(TypeError):
        durable_file.write_json(str(path), {"status": object()})
    assert json.loads(path.read_text()) == {"status": "active"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["state.json"]


def test_state_is_an_environment_under_its_lock(node: Node) -> None:
    with node.open() as state:
        assert isinstance(state, EnvironmentState)
        state.record(current_release="one")
        assert state.content["current_release"] == "one"


def test_what_pressluft_made_itself_is_nobodys_database(node: Node) -> None:
    kept = node.make("kept", database="shop__pressluft_old_1a2b3c4d")
    error = node.refuse(kept)
    assert (error.code, "__pressluft" in error.message) == ("IDENTITY_MISMATCH", True)
    assert not Path(node.state_dir, "id-of-kept", "identity.json").exists()
