"""Hashing in several processes: the same results, whatever becomes of them."""

import os
import signal
from pathlib import Path

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils import fork_map
from ansible_collections.pressluft.wordpress.plugins.module_utils.fork_map import map_paths
from ansible_collections.pressluft.wordpress.plugins.module_utils.manifest import read_tree

PATHS = [b"%d" % number for number in range(5000)]


def test_every_path_is_worked_on_once() -> None:
    found = map_paths(lambda path: (path, os.getpid()), PATHS)
    assert sorted(path for path, _process in found) == sorted(PATHS)
    processes = {process for _path, process in found}
    assert len(processes) == 2
    assert os.getpid() not in processes


def test_a_child_that_is_killed_costs_no_result() -> None:
    parent = os.getpid()

    def work(path: bytes) -> bytes:
        if path == b"77" and os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return path

    assert sorted(map_paths(work, PATHS)) == sorted(PATHS)


def test_a_child_that_fails_says_so_in_the_parent() -> None:
    with pytest.raises(ValueError, match="not a number"):
        map_paths(lambda path: int(path) if path != b"77" else fail(), PATHS)


def fail() -> int:
    raise ValueError("not a number")


def test_a_tree_is_the_same_read_in_one_process_or_in_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(50):
        (tmp_path / f"{number}").write_bytes(b"x" * number * 50_000)
    alone = read_tree(str(tmp_path))
    monkeypatch.setattr(fork_map, "_WORTH_IT", 0)
    assert read_tree(str(tmp_path)) == alone
