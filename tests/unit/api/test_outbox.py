"""The one thread that writes: what it does with many, with failures, and at its end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from uuid import UUID, uuid4

import pytest

from reconciler.errors import PressluftError, TipMoved, Transient
from reconciler.outbox import MOST_QUEUED, Outbox, Overloaded
from reconciler.ports import Branch
from reconciler.request import Request
from reconciler.service import Conflict, Service
from schemas.document import dump
from schemas.intent import DriftCheck, DriftCheckSpec
from schemas.model import Metadata
from schemas.status import make_record_path
from tests.big_fleet import BEGINNING, make_job
from tests.fakes import FakeFleetRepo
from tests.story import FakeClock, make_fleet_files


class Held(Service):
    """A service whose writes wait until the test lets them go."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.gate = threading.Event()
        self.batches: list[int] = []

    def write(self, requests: Sequence[Request]) -> Sequence[UUID | PressluftError]:
        self.gate.wait(timeout=10)
        self.batches.append(len(requests))
        return super().write(requests)


@pytest.fixture
def repo() -> FakeFleetRepo:
    found = FakeFleetRepo()
    found.commit_as_person({path: text.encode() for path, text in make_fleet_files().items()})
    return found


@pytest.fixture
def held(repo: FakeFleetRepo) -> Held:
    return Held(repo, FakeClock())


@pytest.fixture
def outbox(held: Held) -> Iterator[Outbox]:
    found = Outbox(held, on_look=lambda: None, interval=60)
    found.start()
    yield found
    held.gate.set()
    found.stop()


def ask(name: str, actor: str = "ada") -> Request:
    spec = DriftCheckSpec(environment="staging", actor=actor)
    return Request("acme", DriftCheck(metadata=Metadata(name=name, id=uuid4()), spec=spec))


def read_all(futures: Sequence[Future[UUID]]) -> list[UUID]:
    return [future.result(timeout=10) for future in futures]


def test_what_arrives_meanwhile_goes_together_into_the_next_commit(
    outbox: Outbox, held: Held, repo: FakeFleetRepo
) -> None:
    futures = [outbox.submit(ask(f"check-{number}")) for number in range(10)]
    held.gate.set()
    assert len(set(read_all(futures))) == 10
    assert sum(held.batches) == 10
    assert len(held.batches) <= 2
    assert len(repo.read_log(Branch.INTENTS)) == 1 + len(held.batches)


def test_a_commit_has_one_author(outbox: Outbox, held: Held, repo: FakeFleetRepo) -> None:
    futures = [outbox.submit(ask(f"check-{number}", actor)) for number, actor in enumerate("abab")]
    held.gate.set()
    read_all(futures)
    people = [
        (entry.author, dict(entry.trailers)["Pressluft-Actor"])
        for entry in repo.read_log(Branch.INTENTS)[:-1]
    ]
    assert people
    assert all(author == actor for author, actor in people)


def test_one_that_is_refused_spoils_nothing_for_the_others(outbox: Outbox, held: Held) -> None:
    futures = [outbox.submit(ask(name)) for name in ("one", "one", "two")]
    held.gate.set()
    assert futures[0].result(timeout=10)
    assert isinstance(futures[1].exception(timeout=10), Conflict)
    assert futures[2].result(timeout=10)


def test_a_lost_race_is_run_again(outbox: Outbox, held: Held, repo: FakeFleetRepo) -> None:
    push, lost = repo.push_changes, []

    def lose_once(*words: object, **named: object) -> str:
        if not lost:
            lost.append(1)
            repo.commit_as_person({"README.md": b"somebody was faster"})
            raise TipMoved("somebody was faster")
        return push(*words, **named)  # type: ignore[arg-type]

    repo.push_changes = lose_once  # type: ignore[method-assign]
    held.gate.set()
    assert outbox.submit(ask("check")).result(timeout=10)
    assert lost


def test_a_push_that_broke_off_but_arrived_is_a_success(
    outbox: Outbox, held: Held, repo: FakeFleetRepo
) -> None:
    push = repo.push_changes

    def break_off(*words: object, **named: object) -> str:
        push(*words, **named)  # type: ignore[arg-type]
        raise Transient("the connection broke")

    repo.push_changes = break_off  # type: ignore[method-assign]
    held.gate.set()
    assert outbox.submit(ask("check")).result(timeout=10)


def test_a_push_that_did_not_arrive_is_nobodys_success(
    outbox: Outbox, held: Held, repo: FakeFleetRepo
) -> None:
    repo.denial = Transient("frozen for the audit")
    held.gate.set()
    future = outbox.submit(ask("check"))
    assert isinstance(future.exception(timeout=10), Transient)
    assert len(repo.read_log(Branch.INTENTS)) == 1


def test_a_caller_who_has_gone_is_not_served(outbox: Outbox, held: Held, repo: FakeFleetRepo) -> None:
    first = outbox.submit(ask("first"))
    while not first.running():
        pass
    gone = outbox.submit(ask("gone"))
    assert gone.cancel()
    held.gate.set()
    assert first.result(timeout=10)
    assert outbox.submit(ask("last")).result(timeout=10)
    names = {entry.subject for entry in repo.read_log(Branch.INTENTS)}
    assert len(names) == 2, "the fleet, and one kind of request"
    assert sum(held.batches) == 2


def test_too_many_at_a_time_are_turned_away(outbox: Outbox) -> None:
    first = outbox.submit(ask("first"))
    while not first.running():  # from then on nothing is taken out of the queue
        pass
    for number in range(MOST_QUEUED):
        outbox.submit(ask(f"check-{number}"))
    with pytest.raises(Overloaded):
        outbox.submit(ask("one-too-many"))


def test_the_history_is_read_in_the_background(repo: FakeFleetRepo) -> None:
    jobs = [make_job(number, "acme", BEGINNING) for number in range(120)]
    repo.commit_as_person({make_record_path(job, site="acme"): dump(job) for job in jobs})
    service = Service(repo, FakeClock())
    warm = Outbox(service, on_look=lambda: None, interval=60)
    warm.start()
    deadline = time.monotonic() + 10
    while service.tip.intents is None or service.count().jobs_unread:
        assert time.monotonic() < deadline, "nobody asked, and nobody read"
        time.sleep(0.01)
    warm.stop()


def test_a_stop_writes_what_was_taken_and_takes_no_more(outbox: Outbox, held: Held) -> None:
    futures = [outbox.submit(ask(f"check-{number}")) for number in range(3)]
    stopper = threading.Thread(target=outbox.stop)
    held.gate.set()
    stopper.start()
    stopper.join(timeout=10)
    assert len(set(read_all(futures))) == 3
    with pytest.raises(Overloaded):
        outbox.submit(ask("late"))
