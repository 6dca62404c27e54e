"""kill -9 after every step of adopting a docroot and of undoing it: the site is served, and either way ends.

The steps are those that a run reports after each change that it makes, so that none can be forgotten. By default each
kind of step is tried once, and turning round at a few; `make faults-adopt` tries all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from tests.integration.node.plain_docroot import Docroot, Photo, make_docroot
from tests.integration.node.restored_site import kill_at

THERE = (
    "recorded",
    *("folder made",) * 5,
    "probe laid",
    "probe dropped",
    "current linked",
    "link prepared",
    "docroot exchanged",
    *("link prepared", "shared") * 3,
    "php reloaded",
    "judged",
    "end recorded",
)
BACK = (
    "recorded",
    "given back",
    "given back",
    *("way laid",) * 2,
    "linked by the way",
    "folder given back",
    "old place linked",
    *("way closed",) * 2,
    "given back",
    *("way laid",) * 2,
    "linked by the way",
    "docroot exchanged",
    "php reloaded",
    *("second dropped",) * 3,
    "link dropped",
    *("way closed",) * 2,
    "current dropped",
    *("folder dropped",) * 5,
    "end recorded",
)
TURNED = frozenset(
    {"probe laid", "docroot exchanged", "shared", "linked by the way", "folder given back", "link dropped"}
)
ALL = os.environ.get("PRESSLUFT_FAULTS") == "all"


class Case:
    """One docroot, which each test leaves plain, and what it was before anybody touched it."""

    def __init__(self, docroot: Docroot) -> None:
        self.docroot = docroot
        self._photo, self._names = docroot.photo(), docroot.list_all()

    def assert_served(self) -> None:
        """Every file is found by the docroot's path, the very same one."""
        assert without_ours(self.docroot.photo()) == self._photo

    def assert_plain(self) -> None:
        self.assert_served()
        assert self.docroot.list_all() == self._names

    def assert_adopted(self) -> None:
        self.assert_served()
        self.docroot.assert_adopted()

    def kill(self, run: Callable[[Callable[[str], None]], object], number: int) -> None:
        """Run it until it dies at a step; the site is served then."""
        kill_at(run, number)
        self.assert_served()


def without_ours(photo: Photo) -> Photo:
    """Without what lies there while a step is under way."""
    return {name: found for name, found in photo.items() if "pressluft-" not in name}


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    with make_docroot(tmp_path_factory.mktemp("killed")) as docroot:
        yield Case(docroot)


def name_steps(steps: tuple[str, ...], *, tried: frozenset[str] | None = None) -> list[object]:
    return [
        pytest.param(number, id=f"{number}-{step.replace(' ', '-')}")
        for number, step in enumerate(steps)
        if ALL or (steps.index(step) == number and (tried is None or step in tried))
    ]


def test_the_steps_above_are_all_there_are(case: Case) -> None:
    there, back = list[str](), list[str]()
    case.docroot.adopt(there.append)
    case.docroot.undo(back.append)
    assert (tuple(there), tuple(back)) == (THERE, BACK)
    case.assert_plain()


@pytest.mark.parametrize("number", name_steps(THERE))
def test_adopting_that_was_killed_is_finished_by_the_next_run(case: Case, number: int) -> None:
    case.kill(case.docroot.adopt, number)
    case.docroot.adopt()
    case.assert_adopted()
    case.docroot.undo()
    case.assert_plain()


@pytest.mark.parametrize("number", name_steps(THERE, tried=TURNED))
def test_adopting_that_was_killed_is_undone_if_that_is_asked(case: Case, number: int) -> None:
    case.kill(case.docroot.adopt, number)
    case.docroot.undo()
    case.assert_plain()


@pytest.mark.parametrize("number", name_steps(BACK))
def test_undoing_that_was_killed_is_finished_by_the_next_run(case: Case, number: int) -> None:
    case.docroot.adopt()
    case.kill(case.docroot.undo, number)
    case.docroot.undo()
    case.assert_plain()


@pytest.mark.parametrize("number", name_steps(BACK, tried=TURNED))
def test_undoing_that_was_killed_is_turned_round_if_that_is_asked(case: Case, number: int) -> None:
    case.docroot.adopt()
    case.kill(case.docroot.undo, number)
    case.docroot.adopt()
    case.assert_adopted()
    case.docroot.undo()
    case.assert_plain()


def test_whatever_is_killed_again_and_again_still_ends(case: Case) -> None:
    for number in (3, 9, 2, 5, 4, 1):
        case.kill(case.docroot.adopt, number)
    case.docroot.adopt()
    case.assert_adopted()
    for number in (2, 3, 1, 4, 0):
        case.kill(case.docroot.undo, number)
    case.docroot.undo()
    case.assert_plain()
