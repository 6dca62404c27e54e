"""A folder becomes the copy of another, and the copy is proved."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils import file_copy
from ansible_collections.pressluft.wordpress.plugins.module_utils.file_copy import copy_folder
from ansible_collections.pressluft.wordpress.plugins.module_utils.manifest import measure_folder
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "2026" / "01").mkdir(parents=True)
    (folder / "2026" / "01" / "a.jpg").write_bytes(b"a" * 3_000_000)
    (folder / "2026" / "b.txt").write_text("b")
    (folder / "link").symlink_to("2026/b.txt")
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe")).write_text("no utf-8")
    return folder


def _list(folder: Path) -> dict[str, Any]:
    return {
        str(path.relative_to(folder)): str(path.readlink())
        if path.is_symlink()
        else path.read_bytes()
        if path.is_file()
        else None
        for path in folder.rglob("*")
    }


def test_the_copy_holds_the_same_and_both_digests_are_those_of_a_later_measurement(
    source: Path, tmp_path: Path
) -> None:
    target = tmp_path / "deep" / "target"
    done = copy_folder(str(source), str(target))
    assert _list(target) == _list(source)
    assert (done.copied, done.removed) == (4, 0)
    assert done.source.digest == measure_folder(str(source)).digest
    assert done.target.digest == measure_folder(str(target)).digest


def test_a_second_copy_copies_only_what_differs_and_removes_what_is_too_much(
    source: Path, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    copy_folder(str(source), str(target))
    kept = (target / "2026" / "01" / "a.jpg").stat().st_ino
    (source / "2026" / "b.txt").write_text("changed")
    (source / "link").unlink()
    (target / "own" / "deep").mkdir(parents=True)
    (target / "own" / "deep" / "x").write_text("x")
    done = copy_folder(str(source), str(target))
    assert _list(target) == _list(source)
    assert (done.copied, done.removed, done.bytes) == (1, 2, 7)
    assert (target / "2026" / "01" / "a.jpg").stat().st_ino == kept


def test_a_file_of_the_same_size_and_time_but_other_content_is_copied(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    copy_folder(str(source), str(target))
    before = (target / "2026" / "b.txt").stat()
    (target / "2026" / "b.txt").write_text("X")
    os.utime(target / "2026" / "b.txt", ns=(before.st_atime_ns, before.st_mtime_ns))
    copy_folder(str(source), str(target))
    assert (target / "2026" / "b.txt").read_text() == "b"


def test_no_file_is_shared_with_production(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    copy_folder(str(source), str(target))
    (target / "2026" / "b.txt").write_text("written on the copy")
    assert (source / "2026" / "b.txt").read_text() == "b"
    assert (source / "2026" / "b.txt").stat().st_nlink == 1


def test_kinds_that_changed_are_replaced(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    (target / "2026").mkdir(parents=True)
    (target / "2026" / "01").write_text("a file where a folder belongs")
    (target / "link").mkdir()
    (target / "2026" / "b.txt").symlink_to("/etc/passwd")
    copy_folder(str(source), str(target))
    assert _list(target) == _list(source)
    assert not (target / "2026" / "b.txt").is_symlink()


def test_modes_are_the_sources_and_owners_the_targets(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    os.chown(target, 12345, 23456)
    (source / "2026" / "b.txt").chmod(0o640)
    copy_folder(str(source), str(target))
    found = (target / "2026" / "b.txt").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o640, 12345, 23456)
    (source / "2026" / "b.txt").chmod(0o600)
    copy_folder(str(source), str(target))
    assert stat.S_IMODE((target / "2026" / "b.txt").stat().st_mode) == 0o600


@pytest.mark.parametrize("aim", ["/etc/passwd", "../outside", "2026/../../outside"])
def test_a_link_that_leads_out_is_refused_by_name(source: Path, tmp_path: Path, aim: str) -> None:
    (source / "out").symlink_to(aim)
    with pytest.raises(NodeError, match=r"out in .* is a link that leads out") as caught:
        copy_folder(str(source), str(tmp_path / "target"))
    assert caught.value.code == "SCHEMA_UNSUPPORTED"


def test_a_pipe_is_left_out_and_does_not_hang(source: Path, tmp_path: Path) -> None:
    os.mkfifo(source / "pipe")
    copy_folder(str(source), str(tmp_path / "target"))
    assert not (tmp_path / "target" / "pipe").exists()


def test_a_file_that_changes_while_it_is_copied_is_copied_again(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_content = file_copy.copy_content
    changes = iter([b"first change"])

    def change_then_copy(reader: int, writer: int) -> None:
        for content in changes:
            (source / "2026" / "01" / "a.jpg").write_bytes(content)
        copy_content(reader, writer)

    monkeypatch.setattr(file_copy, "copy_content", change_then_copy)
    done = copy_folder(str(source), str(tmp_path / "target"))
    assert (tmp_path / "target" / "2026" / "01" / "a.jpg").read_bytes() == b"first change"
    assert done.source.digest == measure_folder(str(source)).digest


def test_a_folder_that_never_holds_still_is_refused(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_content = file_copy.copy_content
    counter = iter(range(1000))

    def change_around(reader: int, writer: int) -> None:
        (source / "2026" / "b.txt").write_text(str(next(counter)))
        copy_content(reader, writer)
        (source / "2026" / "b.txt").write_text(str(next(counter)))

    monkeypatch.setattr(file_copy, "copy_content", change_around)
    with pytest.raises(NodeError, match="changed each time") as caught:
        copy_folder(str(source), str(tmp_path / "target"))
    assert caught.value.retry
