"""What a folder's manifest sees: every attack on it, and what is no change."""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils import file_hash, folder_walk
from ansible_collections.pressluft.wordpress.plugins.module_utils.manifest import (
    digest_entries,
    find_changed_paths,
    make_evidence,
    measure_folder,
    read_tree,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.manifest_line import Entry, describe_entry
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import Measure

from tests.unit.node.file_changes import CHANGES, SAME, folder

__all__ = ["folder"]

NOBODY = 65534


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_changes_the_digest(folder: Path, change: Callable[[Path], object]) -> None:
    before = measure_folder(str(folder))
    change(folder)
    after = measure_folder(str(folder))
    assert after.unreadable == ""
    assert after.digest != before.digest


@pytest.mark.parametrize("change", SAME)
def test_what_is_no_change_leaves_the_digest(folder: Path, change: Callable[[Path], object]) -> None:
    before = measure_folder(str(folder))
    change(folder)
    assert measure_folder(str(folder)) == before


@pytest.mark.parametrize(("first", "second"), [("é", "e\u0301"), ("a b", "a  b")])
def test_names_that_look_the_same_are_two(folder: Path, first: str, second: str) -> None:
    (folder / first).touch()
    before = measure_folder(str(folder)).digest
    (folder / first).rename(folder / second)
    assert measure_folder(str(folder)).digest != before


def test_a_top_that_is_a_link_is_followed_once(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    assert measure_folder(str(tmp_path / "link")) == measure_folder(str(folder))


def test_links_below_the_top_are_never_followed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (folder / "out").symlink_to(tmp_path / "secret")
    before = measure_folder(str(folder))
    (tmp_path / "secret" / "file").touch()
    assert measure_folder(str(folder)) == before


def test_a_loop_of_links_ends(folder: Path) -> None:
    (folder / "loop").symlink_to(".")
    assert b"loop/loop" not in read_tree(str(folder)).entries


def test_a_folder_that_is_not_there_is_absent(tmp_path: Path) -> None:
    assert measure_folder(str(tmp_path / "none")) == Measure(None)


def test_a_link_that_leads_nowhere_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "uploads").symlink_to("unmounted")
    measure = measure_folder(str(tmp_path / "uploads"))
    assert measure.digest is None
    assert "No such file" in measure.unreadable


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may read everything: be somebody else for a moment, where we are root."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if user == 0:
            os.seteuid(0)


@pytest.mark.parametrize("name", ["a.txt", "2024"])
def test_what_may_not_be_read_makes_the_whole_unreadable(
    server_folder: Path, folder: Path, name: str
) -> None:
    top = folder.rename(server_folder / "uploads")
    (top / name).chmod(0o000)
    with as_nobody():
        measure = measure_folder(str(top))
    assert measure.digest is None
    assert measure.unreadable == f"{name}: Permission denied"


Swap = Callable[[Path], object]


def swap_at_opening(monkeypatch: pytest.MonkeyPatch, folder: Path, swap: Swap) -> None:
    """Let something else take the place of a.txt right before it is opened."""
    opened = os.open

    def open_after_swap(path: bytes, flags: int, *, dir_fd: int | None = None) -> int:
        if dir_fd is not None and path == b"a.txt":
            assert flags & os.O_NONBLOCK, "would wait for a writer for ever"
            (folder / "a.txt").unlink(missing_ok=True)
            swap(folder / "a.txt")
        return opened(path, flags, dir_fd=dir_fd)

    monkeypatch.setattr(file_hash.os, "open", open_after_swap)


@pytest.mark.parametrize("racy", [pytest.param(2 * 10**9, id="young"), pytest.param(-(10**12), id="old")])
@pytest.mark.parametrize(
    ("swap", "reason"),
    [
        pytest.param(lambda path: None, "No such file", id="nothing"),
        pytest.param(os.mkfifo, "is no longer a file", id="pipe"),
        pytest.param(lambda path: path.symlink_to("/etc/passwd"), "symbolic links", id="link"),
        pytest.param(lambda path: os.mknod(path, 0o20666, os.makedev(1, 3)), "is no longer", id="device"),
    ],
)
def test_what_takes_a_files_place_while_it_is_read_is_unreadable(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, swap: Swap, reason: str, racy: int
) -> None:
    monkeypatch.setattr(file_hash, "_RACY", racy)
    swap_at_opening(monkeypatch, folder, swap)
    assert reason in measure_folder(str(folder)).unreadable


def test_a_pipe_somebody_writes_to_hangs_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []

    def swap(path: Path) -> None:
        os.mkfifo(path)
        held.append(os.open(str(path), os.O_RDWR | os.O_NONBLOCK))

    swap_at_opening(monkeypatch, folder, swap)
    measure = measure_folder(str(folder))
    assert measure.unreadable.startswith("a.txt: ")
    for descriptor in held:
        os.close(descriptor)


def test_a_folder_that_takes_a_links_place_is_unreadable_not_empty(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = os.lstat

    def look_after_swap(path: bytes) -> os.stat_result:
        if path == os.fsencode(folder / "link"):
            (folder / "link").unlink()
            (folder / "link").mkdir()
            (folder / "link" / "hidden").touch()
        return look(path)

    monkeypatch.setattr(folder_walk.os, "lstat", look_after_swap)
    assert measure_folder(str(folder)).unreadable == "link: is no longer what it was"


def test_a_file_that_grows_at_every_reading_is_unreadable(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grow_at_reading(monkeypatch, folder, times=100)
    assert "a.txt: changes while it is read" in measure_folder(str(folder)).unreadable


def test_a_file_that_changes_while_it_is_read_is_read_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grow_at_reading(monkeypatch, folder, times=2)
    grown = measure_folder(str(folder))
    monkeypatch.undo()
    assert grown == measure_folder(str(folder))


def grow_at_reading(monkeypatch: pytest.MonkeyPatch, folder: Path, *, times: int) -> None:
    """Let a.txt, whose change is an old one, grow after each of its readings."""
    monkeypatch.setattr(file_hash, "_RACY", -(10**12))  # as though all ctimes were old
    read, left = os.readv, [times]
    inode = (folder / "a.txt").stat().st_ino

    def read_and_grow(descriptor: int, buffers: list[bytearray]) -> int:
        count = read(descriptor, buffers)
        if os.fstat(descriptor).st_ino == inode and left[0]:
            left[0] -= 1
            with (folder / "a.txt").open("ab") as stream:
                stream.write(b"x")
        return count

    monkeypatch.setattr(file_hash.os, "readv", read_and_grow)


def test_a_young_file_is_read_between_two_looks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = count_careful_readings(monkeypatch)
    measure_folder(str(folder))
    assert sorted(looked) == [b"a.txt", b"b.txt"]


def test_an_old_file_is_read_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_hash, "_RACY", -(10**12))
    looked = count_careful_readings(monkeypatch)
    old = measure_folder(str(folder))
    assert looked == []
    monkeypatch.setattr(file_hash, "is_local", lambda _device: False)
    assert measure_folder(str(folder)) == old
    assert sorted(looked) == [b"a.txt", b"b.txt"], "elsewhere the times may be another clock's"


def count_careful_readings(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    looked: list[bytes] = []
    careful = file_hash._hash_between_looks
    monkeypatch.setattr(
        file_hash, "_hash_between_looks", lambda held, name: looked.append(name) or careful(held, name)
    )
    return looked


@pytest.mark.parametrize("size", [0, 1, (1 << 18) - 1, 1 << 18, (1 << 18) + 1, 1 << 20])
def test_files_of_every_size_are_hashed_whole(
    folder: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(file_hash, "_RACY", -(10**12))
    content = os.urandom(size)
    (folder / "a.txt").write_bytes(content)
    assert read_tree(str(folder)).entries[b"a.txt"].content == hashlib.sha256(content).hexdigest()


def test_lines_come_in_the_order_of_their_raw_paths(folder: Path) -> None:
    for name in ("2024-b", "2024.c", "20240", "2024\x01", "2024 d/x"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    paths = list(read_tree(str(folder)).entries)
    assert paths == sorted(paths)
    assert len(paths) == 7 + 6


def test_a_folder_deeper_than_any_path_is_unreadable_and_no_error(folder: Path) -> None:
    held = os.open(folder, os.O_RDONLY)
    for _level in range(20):
        os.mkdir("x" * 250, dir_fd=held)
        below = os.open("x" * 250, os.O_RDONLY, dir_fd=held)
        os.close(held)
        held = below
    os.close(held)
    assert "File name too long" in measure_folder(str(folder)).unreadable


def test_what_is_skipped_is_neither_read_nor_listed(folder: Path) -> None:
    entries = read_tree(str(folder), skip=lambda path: path == b"2024").entries
    assert set(entries) == {b"", b"a.txt", "caf\u00e9".encode(), b"empty", b"link"}


def test_changed_paths_are_named_in_their_order(folder: Path) -> None:
    before = make_evidence(read_tree(str(folder)).entries)["entries"]
    (folder / "z").touch()
    (folder / "a.txt").unlink()
    (folder / "2024" / "b.txt").write_bytes(b"else")
    after = make_evidence(read_tree(str(folder)).entries)["entries"]
    assert find_changed_paths(before, after) == ["2024/b.txt", "a.txt", "z"]


def test_the_digest_is_the_same_whatever_the_order_of_reading(folder: Path) -> None:
    entries = read_tree(str(folder)).entries
    assert digest_entries(dict(reversed(entries.items()))) == digest_entries(entries)


def test_a_name_that_imitates_a_line_of_the_manifest_is_no_second_file() -> None:
    entry = Entry("f", 0o644, 0, 0, 0, "e3b0")
    two = {b"x": entry, b"y": entry}
    one = {b"x " + describe_entry(entry).encode() + b"\ny": entry}
    assert digest_entries(one) != digest_entries(two)


def test_a_protected_path_may_be_a_single_file(tmp_path: Path) -> None:
    single = tmp_path / "robots.txt"
    single.write_bytes(b"one")
    (tmp_path / "link").symlink_to(single)
    first = measure_folder(str(tmp_path / "link"))
    single.write_bytes(b"two")
    second = measure_folder(str(tmp_path / "link"))
    assert first.digest
    assert second.digest
    assert first.digest != second.digest
    assert set((first.evidence or {})["entries"]) == {""}


def test_a_protected_path_that_is_a_pipe_hangs_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert measure_folder(str(tmp_path / "pipe")).digest
