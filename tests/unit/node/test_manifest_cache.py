"""A remembered manifest, attacked: it must be the one that reading every file again would give."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils import (
    file_hash,
    file_listing,
    manifest_cache,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.manifest import measure_folder, read_tree
from ansible_collections.pressluft.wordpress.plugins.module_utils.manifest_cache import ManifestCache
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import Measure

from tests.unit.node.file_changes import CHANGES, folder

__all__ = ["folder"]


@pytest.fixture(autouse=True)
def nothing_is_racy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as settled at once, so that whatever is remembered is relied on in these tests."""
    monkeypatch.setattr(manifest_cache, "SETTLED_SECONDS", -1)


class Counted:
    """A cache of one folder that counts the files it opens."""

    def __init__(self, folder: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.state, self.opened = folder, state, list[bytes]()
        hash_names = file_hash._hash_names
        monkeypatch.setattr(
            file_hash, "_hash_names", lambda held, above, names: self.opened.extend(above + name for name in names)
            or hash_names(held, above, names),
        )  # fmt: skip

    def measure(self) -> Measure:
        """Measure by the cache, and see that it says what a full reading says."""
        cache = ManifestCache(str(self.state), str(self.state / "uploads"))
        self.opened.clear()
        found, opened = cache.measure_folder(str(self.folder)), list(self.opened)
        full = measure_folder(str(self.folder))
        assert found._replace(evidence=None) == full._replace(evidence=None)
        assert (found.evidence and dict(found.evidence)) == full.evidence
        self.opened[:] = opened
        return found


@pytest.fixture
def counted(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Counted:
    (tmp_path / "state").mkdir(mode=0o700)
    return Counted(folder, tmp_path / "state", monkeypatch)


@pytest.mark.parametrize("change", CHANGES)
def test_no_change_is_missed(counted: Counted, change: Callable[[Path], object]) -> None:
    counted.measure()
    counted.measure()
    change(counted.folder)
    counted.measure()
    counted.measure()


def test_an_unchanged_folder_is_not_read_again(counted: Counted) -> None:
    counted.measure()
    assert len(counted.opened) == 2
    counted.measure()
    assert counted.opened == []


def test_only_what_changed_is_read_again(counted: Counted) -> None:
    counted.measure()
    (counted.folder / "a.txt").write_bytes(b"CONTENT")
    counted.measure()
    assert counted.opened == [b"a.txt"]
    counted.measure()
    assert counted.opened == []


def test_what_changed_a_moment_ago_is_read_until_it_has_settled(
    counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest_cache, "SETTLED_SECONDS", 60)
    for _check in range(2):
        counted.measure()
        assert len(counted.opened) == 2


def test_edits_within_one_tick_of_the_clock_are_told_apart(
    counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest_cache, "SETTLED_SECONDS", 2)
    for letter in b"abcdefghijklmnop":
        (counted.folder / "a.txt").write_bytes(bytes([letter]) * 7)
        counted.measure()


@pytest.mark.parametrize("kind", ["summary", "hashes"])
def test_a_memory_that_was_edited_is_not_believed(counted: Counted, kind: str) -> None:
    counted.measure()
    kept = counted.state / f"uploads.{kind}"
    content = kept.read_bytes()
    kept.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    (counted.state / ("uploads.hashes" if kind == "summary" else "uploads.summary")).unlink()
    counted.measure()
    assert len(counted.opened) == 2


def test_the_memory_of_another_folder_is_not_believed(counted: Counted) -> None:
    counted.measure()
    counted.folder.rename(counted.folder.with_name("before"))
    counted.folder.mkdir()
    (counted.folder / "a.txt").write_bytes(b"content")
    counted.measure()
    assert counted.opened == [b"a.txt"]


@pytest.mark.parametrize(
    ("place", "value"),
    [
        pytest.param((manifest_cache, "read_boot_id"), lambda: os.urandom(4).hex(), id="another-boot"),
        pytest.param((manifest_cache, "is_local"), lambda _device: False, id="not-local"),
        pytest.param((file_listing, "_FORMAT"), "", id="another-find"),
        pytest.param((file_listing, "_FORMAT"), r"%P\0", id="a-find-that-says-less"),
        pytest.param((file_listing, "_FORMAT"), file_listing._FORMAT[:-2], id="lines-without-an-end"),
    ],
)
def test_whatever_is_unclear_is_read_in_full(
    counted: Counted, monkeypatch: pytest.MonkeyPatch, place: tuple[object, str], value: object
) -> None:
    monkeypatch.setattr(*place, value)
    for _check in range(2):
        counted.measure()
        assert len(counted.opened) == 2


def test_without_find_everything_is_read(counted: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    for _check in range(2):
        counted.measure()
        assert len(counted.opened) == 2


def test_what_vanished_is_unreadable_and_what_never_was_is_absent(counted: Counted, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    cache = ManifestCache(str(counted.state), str(counted.state / "x"))
    assert cache.measure_folder(str(tmp_path / "none")) == Measure(None)
    assert cache.measure_folder(str(tmp_path / "link")).unreadable


def test_what_is_skipped_is_skipped_with_all_below_it(counted: Counted) -> None:
    cache = ManifestCache(str(counted.state), str(counted.state / "code"))
    for _check in range(2):
        found = cache.read_tree(str(counted.folder), skip=lambda path: path == b"2024")
        assert found == read_tree(str(counted.folder), skip=lambda path: path == b"2024")
        assert b"2024/b.txt" not in found.entries


def test_a_single_file_is_measured_as_without_a_memory(tmp_path: Path) -> None:
    single = tmp_path / "robots.txt"
    single.write_bytes(b"one")
    cache = ManifestCache(str(tmp_path / "state"), str(tmp_path / "state" / "memory"))
    assert cache.measure_folder(str(single)).digest == measure_folder(str(single)).digest is not None
