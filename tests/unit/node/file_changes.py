"""Changes of a folder that a check of it must see, and what is none."""

import os
import socket
from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a file, a file in a folder, a link, an empty folder and one with an accent."""
    top = tmp_path / "uploads"
    (top / "2024").mkdir(parents=True)
    (top / "empty").mkdir()
    (top / "a.txt").write_bytes(b"content")
    (top / "2024" / "b.txt").write_bytes(b"more")
    (top / "link").symlink_to("a.txt")
    (top / "caf\u00e9").mkdir()
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


def edit_within_one_tick(folder: Path) -> None:
    """As a second write within one tick of the kernel's clock leaves a file: other bytes, the same times."""
    before = (folder / "2024" / "b.txt").stat()
    (folder / "2024" / "b.txt").write_bytes(b"erom")
    os.utime(folder / "2024" / "b.txt", ns=(before.st_atime_ns, before.st_mtime_ns))


def write_through_another_name(folder: Path) -> None:
    os.link(folder / "a.txt", folder.parent / "outside")
    with (folder.parent / "outside").open("r+b") as stream:
        stream.write(b"C")


def replace_a_folder_by_a_link_to_it(folder: Path) -> None:
    (folder / "2024").rename(folder.parent / "2024")
    (folder / "2024").symlink_to(folder.parent / "2024")


def rewrite_the_same(folder: Path) -> None:
    (folder / "a.txt").write_bytes(b"content")


def replace_by_a_copy(folder: Path) -> None:
    (folder / "copy").write_bytes(b"content")
    (folder / "copy").rename(folder / "a.txt")


CHANGES = [
    pytest.param(rewrite_keeping_size_and_time, id="size-and-time-restored"),
    pytest.param(edit_within_one_tick, id="edit-within-one-tick"),
    pytest.param(write_through_another_name, id="written-through-a-hard-link"),
    pytest.param(replace_a_folder_by_a_link_to_it, id="folder-to-link"),
    pytest.param(swap_two_files, id="two-files-swapped"),
    pytest.param(point_the_link_elsewhere, id="link-retargeted"),
    pytest.param(replace_the_link_by_its_target, id="link-to-file"),
    pytest.param(open_a_socket, id="socket"),
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
    pytest.param(lambda top: (top / "caf\u00e9").rename(top / "cafe\u0301"), id="composed-to-decomposed"),
    pytest.param(lambda top: (top / "2024" / "b.txt").write_bytes(b""), id="emptied"),
    pytest.param(lambda top: os.chown(top / "2024", 12, 34), id="owner-of-a-folder"),
    pytest.param(lambda top: os.chown(top / "link", 12, 34, follow_symlinks=False), id="owner-of-a-link"),
    pytest.param(lambda top: (top / "a.txt").chmod(0), id="no-mode-at-all"),
]

SAME = [
    pytest.param(rewrite_the_same, id="rewritten-the-same"),
    pytest.param(replace_by_a_copy, id="replaced-by-a-copy"),
    pytest.param(lambda top: os.utime(top / "a.txt"), id="touch"),
    pytest.param(lambda top: os.utime(top, (1, 1)), id="touch-of-the-top"),
    pytest.param(
        lambda top: (top / "a.txt").rename(top / "c") and (top / "c").rename(top / "a.txt"), id="back"
    ),
    pytest.param(lambda top: os.link(top / "a.txt", top.parent / "outside"), id="hard-link-from-outside"),
]
