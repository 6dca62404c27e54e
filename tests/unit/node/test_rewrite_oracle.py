"""Rewriting against PHP itself: what it makes of a value must be what PHP writes for the value after the move."""

from __future__ import annotations

import os
import random
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.rewrite import (
    Rewriter,
    make_url_replacements,
)

from tests.unit.node.php_oracle import PhpOracle, Written
from tests.unit.node.php_values import ValueMaker

_CASES = int(os.environ.get("PRESSLUFT_REWRITE_CASES", "3000"))
_BATCH = 100

_MOVES = {
    "to another host, scheme, port and path": (
        "https://old.test",
        "http://new.example:8080/blog",
        "/var/www/old",
        "/srv/sites/new/html",
    ),
    "to a place whose name holds the old one": (
        "https://old.test",
        "https://old.test/new",
        "/var/www/old",
        "/var/www/old/releases",
    ),
    "from a port to a longer name": ("http://127.0.0.1:8081", "https://www.old.test", "/var/www/old", "/w"),
}


@pytest.fixture(scope="module")
def writer() -> Iterator[PhpOracle]:
    with PhpOracle("writer") as oracle:
        yield oracle


@pytest.fixture(scope="module")
def judge() -> Iterator[PhpOracle]:
    with PhpOracle("judge") as oracle:
        yield oracle


@pytest.mark.parametrize("move", _MOVES)
def test_a_rewritten_value_is_what_php_writes_after_the_move(
    move: str, writer: PhpOracle, judge: PhpOracle
) -> None:
    rewriter = Rewriter(make_url_replacements(*_MOVES[move]))
    verdicts: Counter[str] = Counter()
    changed = 0
    for written in _write(writer, move, -(-_CASES // len(_MOVES))):
        answers = [rewriter.rewrite(case.before).value for case in written]
        changed += sum(answer != case.before for answer, case in zip(answers, written, strict=True))
        pairs = [(answer, case.after) for answer, case in zip(answers, written, strict=True)]
        found = judge.judge(pairs)
        verdicts.update(found)
        wrong = [
            pair for pair, verdict in zip(pairs, found, strict=True) if verdict not in {"exact", "equal"}
        ]
        assert not wrong, min(wrong, key=lambda pair: len(pair[0]))
    print(f"{move}: {changed} changed, {dict(verdicts)}")  # noqa: T201 - the long run's report
    assert verdicts["exact"] > 0.9 * verdicts.total()
    assert changed > 0.6 * verdicts.total()


def test_a_second_run_changes_nothing(writer: PhpOracle) -> None:
    for move, places in _MOVES.items():
        rewriter = Rewriter(make_url_replacements(*places))
        for written in _write(writer, move, _BATCH):
            for case in written:
                once = rewriter.rewrite(case.before).value
                assert rewriter.rewrite(once).value == once


def test_what_php_could_read_it_still_can_and_what_it_could_not_is_untouched(
    writer: PhpOracle, judge: PhpOracle
) -> None:
    dice = random.Random(5)
    move = next(iter(_MOVES))
    rewriter = Rewriter(make_url_replacements(*_MOVES[move]))
    for written in _write(writer, move, max(_BATCH, _CASES // 6)):
        damaged = [_damage(case.before, dice) for case in written]
        answers = [rewriter.rewrite(value).value for value in damaged]
        for value, answer, state, state_after in zip(
            damaged, answers, judge.read(damaged), judge.read(answers), strict=True
        ):
            assert state_after == state, (value, answer)
            assert state != "malformed" or answer == value, (value, answer)


_NAMED = re.compile(rb"(?:[rR]:[0-9]+|E:[0-9]+:\"[^\"]*\");")


def _damage(value: bytes, dice: random.Random) -> bytes:
    """One change behind the head (`a:2:{`), without which a value is plain text to everybody.

    Names of enums and targets of references stay: whether those exist is no matter of grammar.
    """
    head = min(value.find(b":", 2) + 2, len(value) - 1)
    names = [found.span() for found in _NAMED.finditer(value)]
    at = dice.choice(
        [place for place in range(head, len(value)) if not any(start <= place < end for start, end in names)]
    )
    kind = dice.randrange(5)
    if kind == 0:
        return value[:at]
    if kind == 1:
        return value + bytes([dice.randrange(33, 127)])
    if kind == 2:
        return value[:at] + value[at + 1 :]
    if kind == 3:
        return value[:at] + bytes([dice.randrange(256)]) + value[at:]
    return value[:at] + bytes([dice.randrange(48, 58)]) + value[at + 1 :]


def _write(writer: PhpOracle, move: str, count: int) -> Iterator[list[Written]]:
    maker = ValueMaker(seed=len(move))
    addresses = make_addresses(*_MOVES[move])
    for start in range(0, count, _BATCH):
        size = min(_BATCH, count - start)
        yield writer.write([{"addresses": addresses, "value": maker.make()} for _ in range(size)])


def make_addresses(source: str, target: str, old_root: str, new_root: str) -> list[dict[str, Any]]:
    """What each address means before and after, said independently of the table under test."""
    host, new_host = source.partition("://")[2], target.partition("://")[2]
    return [
        {"old": f"https://{host}", "new": f"https://{new_host}" if source[:5] == target[:5] else target},
        {"old": f"http://{host}", "new": f"http://{new_host}" if source[:5] == target[:5] else target},
        {"old": f"//{host}", "new": f"//{new_host}"},
        {"old": host, "new": new_host},
        {"old": old_root, "new": new_root},
    ]
