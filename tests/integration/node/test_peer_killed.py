"""kill -9 of the agent on the other node, and of the relay on this one, at the questions that a step asks.

The questions are those that a step was seen to ask, so that none can be forgotten: before each, either end is killed.
A few are tried by default, `make faults-peer` tries all.
"""

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils import refresh_peer
from ansible_collections.pressluft.wordpress.plugins.module_utils import stage as stage_module
from ansible_collections.pressluft.wordpress.plugins.module_utils.baseline import read_baseline
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.refresh import refresh
from ansible_collections.pressluft.wordpress.plugins.module_utils.stage import stage
from ansible_collections.pressluft.wordpress.plugins.module_utils.stream_peer import Peer, open_peer

from reconciler.stack.mariadb import Login, MariaDB
from tests.integration.node.joined import join
from tests.integration.node.plain_site import Promotion, change_staging, make_promotion
from tests.integration.node.refreshed_pair import Refreshing, make_refreshing

ALL = os.environ.get("PRESSLUFT_FAULTS") == "all"
SAMPLE = 3
AGENT, RELAY = 0, 1


@dataclasses.dataclass
class Conversation:
    """What a step asks of the other node; one end is killed right before one of the questions."""

    asked: list[str] = dataclasses.field(default_factory=list)
    killed_before: int = -1
    pid: int = 0

    def hear(self, question: str) -> None:
        if len(self.asked) == self.killed_before:
            os.kill(self.pid, 9)
        self.asked.append(question)


@pytest.fixture
def conversation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Conversation:
    """Listen to every question; the agent keeps its state where another node would."""
    found, stream = Conversation(), Peer.stream

    def listen(self: Peer, question: str, **given: Any) -> Any:
        found.hear(question)
        return stream(self, question, **given)

    def open_elsewhere(call: Any, environment: Any, other: Any) -> Any:
        far = dataclasses.replace(call, state_dir=str(tmp_path / "other-node"))
        return open_peer(far, environment, other=other)

    monkeypatch.setattr(Peer, "stream", listen)
    monkeypatch.setattr(stage_module, "open_peer", open_elsewhere)
    monkeypatch.setattr(refresh_peer, "open_peer", open_elsewhere)
    return found


def choose_moments(asked: list[str]) -> list[tuple[int, int]]:
    """Which question, and which end; by default a few of them, both ends among them."""
    moments = [(number, end) for number in range(len(asked)) for end in (AGENT, RELAY)]
    return moments if ALL else moments[1 :: max(2, len(moments) // SAMPLE) | 1]


def fail(conversation: Conversation, number: int, end: int, run: Any) -> None:
    """Run a step while one end dies, and see that it ends as one that may be tried again."""
    conversation.asked.clear()
    with join() as bridge:
        conversation.killed_before, conversation.pid = number, bridge.find_processes()[end]
        with pytest.raises(NodeError) as broken:
            run(bridge.socket)
    conversation.killed_before = -1
    assert (broken.value.code, broken.value.retry) == ("ANSIBLE_HOST_UNREACHABLE", True)


@pytest.fixture
def promotion(mariadb: MariaDB, admin: Any, database: Login, tmp_path: Path) -> Iterator[Promotion]:
    with make_promotion(mariadb, admin, database.user, tmp_path) as made:
        change_staging(made)
        yield made


def test_staging_leaves_nothing_whoever_dies_and_succeeds_afterwards(
    promotion: Promotion, conversation: Conversation
) -> None:
    observation = promotion.check()
    before, code = promotion.tables(), promotion.code()

    def run(socket: str) -> Any:
        promotion.epoch += 1
        call = promotion.call("stage", observation_id=observation["id"], plan=promotion.plan(observation))
        return stage(dataclasses.replace(call, peer=socket))["staged"]

    with join() as bridge:
        whole = run(bridge.socket)
    moments = choose_moments(conversation.asked)
    for number, end in moments:
        promotion.job_id = str(uuid4())
        observation = promotion.check()
        fail(conversation, number, end, run)
        assert (promotion.tables(), promotion.code()) == (before, code)
        assert (
            f"{promotion.production.database}__pressluft_{promotion.job_id[:8]}"
            not in promotion.own_databases()
        )
        assert promotion.job_id not in promotion.releases()
        assert not [name for name in promotion.releases() | promotion.own_databases() if "far" in name]
    promotion.job_id = str(uuid4())
    observation = promotion.check()
    with join() as bridge:
        again = run(bridge.socket)
    assert (again["rows"], again["components"]) == (whole["rows"], whole["components"])


@pytest.fixture
def refreshing(mariadb: MariaDB, admin: Any, database: Login, tmp_path: Path) -> Iterator[Refreshing]:
    with make_refreshing(mariadb, admin, database.user, tmp_path) as made:
        yield made


def test_a_refresh_is_never_a_baseline_of_data_that_did_not_arrive_and_the_same_job_ends_it(
    refreshing: Refreshing, conversation: Conversation, tmp_path: Path
) -> None:
    def run(socket: str) -> Any:
        refreshing.epoch += 1
        return refresh(dataclasses.replace(refreshing.call("full"), peer=socket))["refresh"]

    def read_known() -> Any:
        return read_baseline(str(tmp_path / "other-node"), refreshing.source.id)

    def finish() -> None:
        with join() as bridge:
            run(bridge.socket)

    finish()
    refreshing.job_id = str(uuid4())
    conversation.asked.clear()
    refreshing.pair.sql("INSERT INTO P.posts (post_title) VALUES ('for a second refresh')")
    finish()
    for number, end in choose_moments(conversation.asked):
        known, count = read_known(), len(refreshing.rows("posts"))
        production = refreshing.checksum_production()
        refreshing.job_id = str(uuid4())
        refreshing.pair.sql(f"INSERT INTO P.posts (post_title) VALUES ('{number} {end}')")
        fail(conversation, number, end, run)
        arrived = len(refreshing.rows("posts")) == count + 1
        assert arrived or read_known() == known, "a baseline of data that never arrived"
        finish()
        assert len(refreshing.rows("posts")) == count + 1
        assert read_known()["id"] != known["id"]
        assert refreshing.own_databases() == set()
        assert len(list(Path(refreshing.source.root, "releases").iterdir())) == 1
        assert refreshing.checksum_production()[1] == production[1]
