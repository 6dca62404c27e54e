"""A periodic look at a production on another node: it sees what a check sees, and claims nothing on either node."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.baseline import make_baseline
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import Job, open_environment
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment_lock import take_lock
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.stream_peer import Peer, open_peer
from ansible_collections.pressluft.wordpress.plugins.modules import observe as module

from reconciler.stack.mariadb import Login, MariaDB
from tests.integration.node.joined import join
from tests.integration.node.observed_pair import JOB, find_differing
from tests.integration.node.refreshed_pair import Refreshing, make_refreshing

CHECK = Job(JOB, 1, "drift_check", "check")
LOOK = dataclasses.replace(CHECK, id="99999999-9999-4999-8999-999999999999", epoch=0)
OTHER_JOB = Job("44444444-4444-4444-8444-444444444444", 1, "backup_create", "backup")


@pytest.fixture
def far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the agent keeps its state, as another node would."""
    folder = tmp_path / "other-node"

    def open_elsewhere(call: Any, environment: Any, other: Any) -> Any:
        return open_peer(dataclasses.replace(call, state_dir=str(folder)), environment, other=other)

    monkeypatch.setattr(module, "open_peer", open_elsewhere)
    return folder


@pytest.fixture
def checked(mariadb: MariaDB, admin: Any, database: Login, far: Path) -> Iterator[Refreshing]:
    """A source with a baseline, which a job has checked once."""
    with make_refreshing(mariadb, admin, database.user, far.parent) as made:
        dataclasses.replace(made.pair, state_dir=str(far)).take_baseline()
        assert find_differing(observe(made, CHECK)) == set()
        yield made


def observe(refreshing: Refreshing, job: Job) -> dict[str, Any]:
    """Observe for a job, with production as if it were on another node."""
    with join() as bridge:
        call = dataclasses.replace(refreshing.call(), job=job, peer=bridge.socket, request={})
        return dict(module.observe_sides(call)["observation"])


def read_states(*folders: str | Path) -> dict[str, str]:
    """Who was let in, and what is bound, on both nodes."""
    names = ("state.json", "identity.json", "baseline.json")
    return {
        str(path): path.read_text()
        for folder in folders
        for name in names
        for path in Path(folder).glob(f"*/{name}")
    }


def do_before_survey(act: Callable[[Peer], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Act right before the other node is to measure its side."""
    stream = Peer.stream

    def listen(self: Peer, question: str, **given: Any) -> Any:
        if question == "survey":
            act(self)
        return stream(self, question, **given)

    monkeypatch.setattr(Peer, "stream", listen)


def test_it_sees_what_changed_on_the_other_node_and_claims_nothing(checked: Refreshing, far: Path) -> None:
    before = read_states(far, checked.pair.state_dir)
    checked.pair.sql("INSERT INTO P.posts (post_title) VALUES ('Three')")
    assert find_differing(observe(checked, LOOK)) == {"posts"}
    assert read_states(far, checked.pair.state_dir) == before
    assert not [
        path for folder in (far, checked.pair.state_dir) for path in Path(folder).glob(f"*/jobs/{LOOK.id}")
    ]


@pytest.mark.parametrize("side", ["production", "source"])
def test_it_gives_way_to_a_step_at_work_on_either_node(checked: Refreshing, far: Path, side: str) -> None:
    here = Path(checked.pair.state_dir, checked.source.id)
    folder = far / checked.pair.production.id if side == "production" else here
    with take_lock(str(folder), OTHER_JOB, wait=60), pytest.raises(NodeError, match="a job is at work there"):
        observe(checked, LOOK)


def test_no_job_on_the_other_node_waits_for_it_and_what_was_seen_beside_one_is_thrown_away(
    checked: Refreshing, far: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_in = []

    def start_job(_: Peer) -> None:
        production = checked.pair.production
        with open_environment(str(far), production, job=OTHER_JOB, conn=None, lock_wait=0):
            let_in.append(production.id)

    do_before_survey(start_job, monkeypatch)
    with pytest.raises(NodeError, match="a job was let in during the look"):
        observe(checked, LOOK)
    assert let_in == [checked.pair.production.id]


def test_nothing_can_be_written_through_it(
    checked: Refreshing, far: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forged = make_baseline(
        job_id=OTHER_JOB.id,
        production_id=checked.pair.production.id,
        source_id=checked.source.id,
        production={},
        source={},
    )
    before = read_states(far)
    do_before_survey(
        lambda peer: peer.ask("write_baseline", baseline=forged, production={}, source={}), monkeypatch
    )
    with pytest.raises(NodeError):
        observe(checked, LOOK)
    assert read_states(far) == before
