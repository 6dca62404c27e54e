"""What `find` says of a folder, and whether an entry still is what it said."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.file_listing import (
    FileListing,
    is_still,
    open_listing_file,
)

Change = Callable[[Path], object]


def read_facts(folder: Path) -> dict[bytes, bytes]:
    with open_listing_file(str(folder.parent)) as stream:
        listing = FileListing(str(folder), stream)
        assert listing.is_complete
        return {entry.path: entry.facts for entry in listing.find_entries()}


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    (tmp_path / "uploads").mkdir()
    path = tmp_path / "uploads" / "a.jpg"
    path.write_bytes(b"content")
    return path


@pytest.mark.parametrize("moment", [0, 1, 10**9, 1_700_000_000_123_456_789])
def test_an_untouched_file_is_still_what_was_listed(picture: Path, moment: int) -> None:
    os.utime(picture, ns=(moment, moment))
    assert is_still(read_facts(picture.parent)[b"a.jpg"], picture.lstat())


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda path: path.write_bytes(b"CONTENT"), id="written"),
        pytest.param(lambda path: path.chmod(0o600), id="mode"),
        pytest.param(lambda path: path.unlink() or path.write_bytes(b"content"), id="replaced"),
        pytest.param(lambda path: path.rename(f"{path}2") and Path(f"{path}2").rename(path), id="moved-back"),
    ],
)
def test_a_changed_file_is_not_what_was_listed(picture: Path, change: Change) -> None:
    os.utime(picture, ns=(1, 1))
    facts, before = read_facts(picture.parent)[b"a.jpg"], picture.lstat()
    while picture.lstat().st_ctime_ns == before.st_ctime_ns:  # until the kernel's clock has ticked
        change(picture)
        os.utime(picture, ns=(1, 1))
    assert not is_still(facts, picture.lstat())


def test_a_listing_larger_than_a_block_is_gone_through_whole(tmp_path: Path) -> None:
    for number in range(3000):
        (tmp_path / "uploads" / f"{number:04d}").mkdir(parents=True)
    paths = [path for path in read_facts(tmp_path / "uploads") if path]
    assert sorted(paths) == [b"%04d" % number for number in range(3000)]
