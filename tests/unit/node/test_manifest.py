"""What a folder's manifest sees: every attack on it, and what is no change."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils import manifest
from ansible_collections.pressluft.wordpress.plugins.module_utils.manifest import (
    Entry,
    describe_entry,
    digest_entries,
    find_changed_paths,
    make_evidence,
    measure_folder,
    read_tree,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import Measure

NOBODY = 65534


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a file, a file in a folder, a link and an empty folder."""
    top = tmp_path / "uploads"
    (top / "2024").mkdir(parents=True)
    (top / "empty").mkdir()
    (top / "a.txt").write_bytes(b"content")
    (top / "2024" / "b.txt").write_bytes(b"more")
    (top / "link").symlink_to("a.txt")
    return top


def rewrite_keeping_size_and_time(folder: Path) -> None:
    before = (folder / "a.txt").stat()
    (folder / "a.txt").write_bytes(b"CONTENT")
    os.utime(folder / "a.txt", ns=(before.st_atime_ns, before.st_mtime_ns))


def swap_two_files(folder: Path) -> None:
    (folder / "a.txt").write_bytes(b"more")
    (folder / "2024" / "b.txt").write_bytes(b"content")


def point_the_link_elsewhere(folder: Path) -> None:
    (folder / "link").unlink()
    (folder / "link").symlink_to("b.txt")


def replace_the_link_by_its_target(folder: Path) -> None:
    (folder / "link").unlink()
    (folder / "link").write_bytes(b"content")


def open_a_socket(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "s"))


CHANGES = [
    rewrite_keeping_size_and_time,
    swap_two_files,
    point_the_link_elsewhere,
    replace_the_link_by_its_target,
    open_a_socket,
    pytest.param(lambda top: (top / "a.txt").unlink(), id="file-removed"),
    pytest.param(lambda top: (top / "new").write_bytes(b""), id="empty-file-added"),
    pytest.param(lambda top: (top / "empty").rmdir(), id="empty-folder-removed"),
    pytest.param(lambda top: (top / "other").mkdir(), id="empty-folder-added"),
    pytest.param(lambda top: (top / "a.txt").rename(top / "A.txt"), id="renamed-in-case"),
    pytest.param(lambda top: (top / "a.txt").rename(top / "2024" / "a.txt"), id="moved"),
    pytest.param(lambda top: (top / "a.txt").chmod(0o4755), id="mode"),
    pytest.param(lambda top: (top / "2024").chmod(0o777), id="mode-of-a-folder"),
    pytest.param(lambda top: top.chmod(0o777), id="mode-of-the-top"),
    pytest.param(lambda top: os.chown(top / "a.txt", 12, 34), id="owner"),
    pytest.param(lambda top: os.mkfifo(top / "pipe"), id="pipe"),
    pytest.param(lambda top: os.mknod(top / "null", 0o20666, os.makedev(1, 3)), id="device"),
    pytest.param(lambda top: Path(os.fsdecode(os.fsencode(top) + b"/\xff\n")).touch(), id="name-not-utf-8"),
    pytest.param(lambda top: (top / "a.txt\n1 f").touch(), id="name-with-a-newline"),
]

SAME: list[object] = [
    pytest.param(lambda top: os.utime(top / "a.txt"), id="touch"),
    pytest.param(lambda top: os.utime(top, (1, 1)), id="touch-of-the-top"),
    pytest.param(
        lambda top: (top / "a.txt").rename(top / "c") and (top / "c").rename(top / "a.txt"), id="back"
    ),
    pytest.param(lambda top: os.link(top / "a.txt", top.parent / "outside"), id="hard-link-from-outside"),
]


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


def test_a_file_that_vanishes_is_unreadable(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open

    def remove_first(path: bytes, *arguments: int) -> int:
        Path(os.fsdecode(path)).unlink()
        return opened(path, *arguments)

    monkeypatch.setattr(manifest.os, "open", remove_first)
    assert "No such file" in measure_folder(str(folder)).unreadable


def test_a_file_swapped_for_a_pipe_hangs_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open

    def swap(path: bytes, *arguments: int) -> int:
        assert arguments[0] & os.O_NONBLOCK, "would wait for a writer for ever"
        Path(os.fsdecode(path)).unlink()
        os.mkfifo(path)
        return opened(path, *arguments)

    monkeypatch.setattr(manifest.os, "open", swap)
    assert "is no longer a file" in measure_folder(str(folder)).unreadable


def test_a_file_swapped_for_a_link_is_not_followed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open

    def swap(path: bytes, *arguments: int) -> int:
        Path(os.fsdecode(path)).unlink()
        Path(os.fsdecode(path)).symlink_to("/etc/passwd")
        return opened(path, *arguments)

    monkeypatch.setattr(manifest.os, "open", swap)
    assert "symbolic links" in measure_folder(str(folder)).unreadable


def test_a_file_that_grows_at_every_reading_is_unreadable(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hash_content = manifest._hash_content

    def grow(descriptor: int, size: int) -> str:
        content = str(hash_content(descriptor, size))
        with (folder / "a.txt").open("ab") as stream:
            stream.write(b"x")
        return content

    monkeypatch.setattr(manifest, "_hash_content", grow)
    assert "a.txt: changes while it is read" in measure_folder(str(folder)).unreadable


def test_what_is_skipped_is_neither_read_nor_listed(folder: Path) -> None:
    entries = read_tree(str(folder), skip=lambda path: path == b"2024").entries
    assert set(entries) == {b"", b"a.txt", b"empty", b"link"}


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
