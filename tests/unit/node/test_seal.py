"""The node's seal: one key, however many ask for it first."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.seal import (
    SealError,
    check_seal,
    make_seal,
)

AT_ONCE, TIMES = 8, 20


def test_all_who_need_the_first_key_at_the_same_time_get_the_same(tmp_path: Path) -> None:
    for number in range(TIMES):
        folder = tmp_path / str(number)
        folder.mkdir()
        begun = threading.Barrier(AT_ONCE)

        def seal(folder: Path = folder, begun: threading.Barrier = begun) -> str:
            begun.wait(timeout=60)
            return make_seal(str(folder), "baseline", b"content")

        with ThreadPoolExecutor(AT_ONCE) as pool:
            seals = {future.result() for future in [pool.submit(seal) for _ in range(AT_ONCE)]}
        assert len(seals) == 1
        assert [path.name for path in folder.iterdir()] == ["seal.key"]


def test_a_seal_is_of_one_content_and_one_purpose(tmp_path: Path) -> None:
    seal = make_seal(str(tmp_path), "baseline", b"content")
    check_seal(str(tmp_path), "baseline", b"content", seal=seal)
    for purpose, content in (("manifest", b"content"), ("baseline", b"another")):
        with pytest.raises(SealError):
            check_seal(str(tmp_path), purpose, content, seal=seal)
