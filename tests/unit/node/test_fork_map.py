"""Hashing in several processes: the same results, whatever becomes of them."""

import errno
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils import fork_map
from ansible_collections.pressluft.wordpress.plugins.module_utils.fork_map import map_orders
from ansible_collections.pressluft.wordpress.plugins.module_utils.manifest import read_tree

ORDERS = [b"%d" % number for number in range(5000)]


def test_every_order_is_carried_out_once_and_in_sequence() -> None:
    found = map_orders(lambda order: (order, os.getpid()), ORDERS)
    assert [order for order, _process in found] == ORDERS
    assert os.getpid() not in {process for _order, process in found}


def test_a_child_that_is_killed_costs_no_result() -> None:
    parent = os.getpid()

    def work(order: bytes) -> bytes:
        if order == b"77" and os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return order

    assert map_orders(work, ORDERS) == ORDERS


def test_children_that_are_all_killed_cost_no_result() -> None:
    parent = os.getpid()

    def work(order: bytes) -> bytes:
        if os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return order

    assert map_orders(work, ORDERS) == ORDERS


def test_two_threads_that_map_at_the_same_time_both_come_to_an_end() -> None:
    both_have_children = threading.Barrier(2)

    def list_orders() -> Iterator[bytes]:
        yield from ORDERS[:100]
        both_have_children.wait(timeout=60)
        yield from ORDERS[100:]

    with ThreadPoolExecutor(2) as pool:
        maps = [pool.submit(map_orders, len, list_orders()) for _ in range(2)]
        assert [found.result(timeout=60) for found in maps] == [[len(order) for order in ORDERS]] * 2


def test_where_no_process_can_be_started_the_orders_are_carried_out_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse() -> int:
        raise OSError(errno.EAGAIN, "no room for a process")

    monkeypatch.setattr(os, "fork", refuse)
    assert map_orders(len, ORDERS) == [len(order) for order in ORDERS]


def test_an_order_too_large_for_the_socket_is_carried_out_too() -> None:
    large = [*ORDERS, b"x" * 1_000_000]
    assert map_orders(len, large) == [len(order) for order in large]


def test_a_child_that_fails_says_so_in_the_parent() -> None:
    with pytest.raises(ValueError, match="not a number"):
        map_orders(lambda order: int(order) if order != b"77" else fail(), ORDERS)


def fail() -> int:
    raise ValueError("not a number")


def test_a_tree_is_the_same_read_in_one_process_or_in_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(50):
        (tmp_path / f"folder-{number}").mkdir()
        (tmp_path / f"folder-{number}" / "file").write_bytes(b"x" * number * 50_000)
    together = read_tree(str(tmp_path))
    monkeypatch.setattr(fork_map, "_FEW", 1000)
    assert read_tree(str(tmp_path)) == together
