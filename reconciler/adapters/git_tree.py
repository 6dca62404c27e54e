"""Trees and blobs in memory: reading folders, and writing a change without index or work tree."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import PurePosixPath

import pygit2
from pygit2.enums import FileMode, ObjectType

from reconciler.errors import RepoUnusable, Transient
from reconciler.ports import Entry, EntryKind, Folder

_KINDS: Mapping[int, EntryKind] = {
    FileMode.BLOB: EntryKind.FILE,
    FileMode.BLOB_EXECUTABLE: EntryKind.FILE,
    FileMode.TREE: EntryKind.FOLDER,
}
_RESERVED = frozenset({"", ".", "..", ".git"})
_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})

Change = tuple[tuple[str, ...], bytes | None]


@contextmanager
def translate_git_errors(what: str) -> Iterator[None]:
    """Turn libgit2's complaints into ours: the disk's are `Transient`, the repository's `RepoUnusable`."""
    try:
        yield
    except OSError as error:
        raise Transient(f"{what}: {error}") from error
    except (pygit2.GitError, KeyError, ValueError) as error:
        raise RepoUnusable(f"{what}: {error}; run `git fsck` on the fleet repo") from error


def read_folder_at(repo: pygit2.Repository, commit: str, path: str) -> Folder | None:
    """Return the folder at `path` of a commit. Links are not followed: what lies behind one is not there."""
    with translate_git_errors(f"cannot read {path or '/'} of commit {commit[:12]}"):
        tree: pygit2.Tree | None = repo[commit].peel(pygit2.Tree)
        for name in path.split("/") if path else ():
            tree = _find_subtree(tree, name)
        if tree is None:
            return None
        return Folder(oid=str(tree.id), entries=tuple(_make_entry(item) for item in tree))


def read_blob_size(repo: pygit2.Repository, oid: str) -> int:
    """Return the size of a blob in bytes without reading its content."""
    with translate_git_errors(f"cannot read blob {oid[:12]}"):
        kind, size = repo.odb.read_header(oid)
    if kind != ObjectType.BLOB:
        raise RepoUnusable(f"object {oid[:12]} is not a file; run `git fsck` on the fleet repo")
    return size


def write_tree(repo: pygit2.Repository, parent: str | None, changes: Mapping[str, bytes | None]) -> str:
    """Write the tree of commit (or tree) `parent` (None: an empty one) with `changes` applied; returns its hex id.

    `None` removes a file or a whole folder; below a path that is removed, files may be given anew. A file, link
    or submodule that stands where a folder is needed is replaced. Raises `ValueError` for a path that cannot be,
    `Transient` (disk) or `RepoUnusable`.
    """
    split = [(_split_path(path), content) for path, content in changes.items()]
    _refuse_files_in_files(changes)
    with translate_git_errors("cannot write a tree"):
        base = repo[parent].peel(pygit2.Tree) if parent else None
        written = _write_folder(repo, base, split)
        return str(written or repo.TreeBuilder().write())


def graft_folder(repo: pygit2.Repository, onto: str | None, *, name: str, source: str | None) -> str:
    """Write the tree of commit `onto` (None: an empty one) with the folder `name` as it is at commit `source`.

    Where `source` is None or has no such folder, it is removed. Returns the tree's hex id.
    """
    with translate_git_errors("cannot write a tree"):
        base = repo[onto].peel(pygit2.Tree) if onto else None
        folder = find_subtree_id(repo[source].peel(pygit2.Tree), name) if source else None
        builder = repo.TreeBuilder(base) if base is not None else repo.TreeBuilder()
        if builder.get(name) is not None:
            builder.remove(name)
        if folder is not None:
            builder.insert(name, folder, FileMode.TREE)
        return str(builder.write())


def find_folder_id(repo: pygit2.Repository, commit: str | None, name: str) -> str | None:
    """Return the id of what commit (or tree) `commit` holds under a name; None is an empty one."""
    with translate_git_errors(f"cannot read {name}"):
        return find_subtree_id(repo[commit].peel(pygit2.Tree), name) if commit else None


def find_subtree_id(tree: pygit2.Tree, name: str) -> str | None:
    """Return the id of whatever a tree holds under a name."""
    found = find_in_tree(tree, name)
    return str(found.id) if found is not None else None


def _split_path(path: str) -> tuple[str, ...]:
    names = tuple(path.split("/"))
    if any(name.lower() in _RESERVED or "\0" in name for name in names):
        raise ValueError(f"not a path inside the fleet repo: {path!r}")
    return names


def _refuse_files_in_files(changes: Mapping[str, bytes | None]) -> None:
    files = {path for path, content in changes.items() if content is not None}
    for path in files:
        if any(str(parent) in files for parent in PurePosixPath(path).parents):
            raise ValueError(f"not a path: {path!r} is below another file")


def _write_folder(
    repo: pygit2.Repository, tree: pygit2.Tree | None, changes: list[Change]
) -> pygit2.Oid | None:
    """Write one level; returns None when nothing is left in it, for git knows no empty folders."""
    builder = repo.TreeBuilder(tree) if tree is not None else repo.TreeBuilder()
    files = {names[0]: content for names, content in changes if len(names) == 1}
    for name, content in files.items():
        if content is not None:
            builder.insert(name, repo.create_blob(content), FileMode.BLOB)
        elif builder.get(sys.intern(name)) is not None:
            builder.remove(name)
    for name, below in _group_by_folder(changes).items():
        subtree = None if name in files else _find_subtree(tree, name)
        written = _write_folder(repo, subtree, below)
        if written is not None:
            builder.insert(name, written, FileMode.TREE)
        elif subtree is not None:
            builder.remove(name)
    return builder.write() if len(builder) else None


def _group_by_folder(changes: list[Change]) -> dict[str, list[Change]]:
    folders: dict[str, list[Change]] = {}
    for names, content in changes:
        if len(names) > 1:
            folders.setdefault(names[0], []).append((names[1:], content))
    return folders


def _find_subtree(tree: pygit2.Tree | None, name: str) -> pygit2.Tree | None:
    found = find_in_tree(tree, name) if tree is not None and name else None
    return found if isinstance(found, pygit2.Tree) else None


def find_in_tree(tree: pygit2.Tree, name: str) -> pygit2.Object | None:
    """Find what a tree holds under a name.

    Each look-up by name leaves one more reference to the string behind (pygit2 1.21, measured): of an interned name
    there is one string, however often it is looked up.
    """
    try:
        return tree[sys.intern(name)]
    except KeyError:
        return None


def _make_entry(item: pygit2.Object) -> Entry:
    name, plain = _read_name(item.raw_name or b"")
    kind = _KINDS.get(item.filemode, EntryKind.OTHER) if plain else EntryKind.OTHER
    return Entry(name=name, oid=str(item.id), kind=kind)


def _read_name(raw: bytes) -> tuple[str, bool]:
    """Return a name safe to print, and whether it is the name itself rather than an escaped form of it."""
    name = raw.decode("utf-8", "surrogateescape")
    # Nearly all names are plain; looking at each character takes 20 us.
    is_plain = name.isascii() and name.isprintable()
    odd = not is_plain and any(unicodedata.category(character) in _UNPRINTABLE for character in name)
    if odd or "/" in name or name.lower() in _RESERVED:
        return name.encode("unicode_escape").decode("ascii"), False
    return name, True
