"""Who brought something: the commits from which on a path holds it, on every line of history."""

from __future__ import annotations

from collections.abc import Callable

import pygit2

from reconciler.adapters.git_tree import find_in_tree, translate_git_errors

Holds = Callable[[str | None], bool]


def find_bringers(repo: pygit2.Repository, commit: str, path: str, *, holds: Holds) -> tuple[str, ...]:
    """Return the commits below `commit` whose `path` holds it, and that of none of their parents.

    `holds` is asked with the id of what is at the path, None for nothing. A merge is one of them only if it brings
    what none of its parents has; else the lines that have it are followed. Empty if `commit` itself does not hold it.
    """
    with translate_git_errors(f"cannot read the history of {path}"):
        start = repo[commit].peel(pygit2.Commit)
        found: list[str] = []
        seen = {start.id}
        waiting = [start] if holds(find_at(start, path)) else []
        while waiting:
            here = waiting.pop()
            older = [parent for parent in here.parents if holds(find_at(parent, path))]
            if not older:
                found.append(str(here.id))
            waiting += [parent for parent in older if parent.id not in seen]
            seen |= {parent.id for parent in older}
        return tuple(found)


def find_at(commit: pygit2.Commit, path: str) -> str | None:
    """Return the id of what is at a path of a commit; what lies behind a link is not there."""
    here: pygit2.Object | None = commit.tree
    for name in path.split("/"):
        here = find_in_tree(here, name) if isinstance(here, pygit2.Tree) else None
    return str(here.id) if here is not None else None
