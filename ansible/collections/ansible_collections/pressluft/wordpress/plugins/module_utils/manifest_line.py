"""One entry of a folder as one line: what a manifest's digest is made of, and how it is read back."""

from __future__ import annotations

import os
import stat
from typing import Iterator, NamedTuple, Tuple

_KINDS = {
    stat.S_IFREG: "f",
    stat.S_IFDIR: "d",
    stat.S_IFLNK: "l",
    stat.S_IFIFO: "p",
    stat.S_IFSOCK: "s",
    stat.S_IFCHR: "c",
    stat.S_IFBLK: "b",
}


class Entry(NamedTuple):
    """A file, folder, link or special file: kind (`f d l p s c b`), permission bits, owner, size in bytes.

    `content` is the SHA-256 in hex of a file's bytes or of a link's target, a device's number, else empty.
    Folders have no size: theirs is the file system's business. Times are no part of it.
    """

    kind: str
    mode: int
    uid: int
    gid: int
    size: int
    content: str


def make_entry(status: os.stat_result, content: str) -> Entry:
    """Make an entry of what `lstat` says and its content."""
    kind = _KINDS.get(stat.S_IFMT(status.st_mode), "?")
    size = status.st_size if kind in "fl" else 0
    return Entry(kind, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, size, content)


def describe_entry(entry: Entry) -> str:
    """Return an entry as text; equal texts are equal entries."""
    return "%s %o %d %d %d %s" % entry


def make_line(path: bytes, entry: Entry) -> bytes:
    """Return an entry with its path; the path's length stands before it, so that no name imitates a line."""
    return b"%d:%s %s\n" % (len(path), path, describe_entry(entry).encode())


def make_file_line(path: bytes, status: os.stat_result, content: str) -> bytes:
    """Return `make_line` of a regular file, in one go: this is done for each of them."""
    return b"%d:%s f %o %d %d %d %s\n" % (
        len(path),
        path,
        status.st_mode & 0o7777,
        status.st_uid,
        status.st_gid,
        status.st_size,
        content.encode("ascii"),
    )


def find_lines(lines: bytes) -> Iterator[Tuple[bytes, bytes]]:
    """Each path with its line."""
    place, end = 0, len(lines)
    while place < end:
        colon = lines.index(b":", place)
        behind = colon + 1 + int(lines[place:colon])
        stop = lines.index(b"\n", behind) + 1
        yield lines[colon + 1 : behind], lines[place:stop]
        place = stop


def find_texts(lines: bytes) -> Iterator[Tuple[bytes, str]]:
    """Each path with its entry as text (`describe_entry`)."""
    for path, line in find_lines(lines):
        yield path, line[line.index(b":") + len(path) + 2 : -1].decode("ascii")


def parse_entry(text: str) -> Entry:
    """Return the entry of which `describe_entry` made a text."""
    kind, mode, uid, gid, size, content = text.split(" ")
    return Entry(kind, int(mode, 8), int(uid), int(gid), int(size), content)
