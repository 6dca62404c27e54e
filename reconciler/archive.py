"""Taking the records of old jobs out of the tree: one commit deletes them, history and `ended.txt` keep them.

A tree that holds years of jobs is slow to read and to write. An ended job's record is only read by people.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from reconciler.errors import RepoUnusable, TipMoved, Transient
from reconciler.index import Index
from reconciler.ports import Branch, Clock, CommitMessage, FleetRepo, Tip

MOST_TRIES: Final = 20
TRAILER: Final = ("Pressluft-Status", "archived")


def find_old_records(repo: FleetRepo, tip: Tip, *, now: datetime, months: int) -> Sequence[str]:
    """Find the records of ended jobs that are of no month since `months` ago; this month is never among them."""
    index = Index(repo)
    index.update(tip, now=now)
    return list(list_old(index, first_kept=find_month(now, months=months)))


def list_old(index: Index, *, first_kept: str) -> Iterator[str]:
    """List the paths of jobs that their site's list calls ended, and that lie in an older month's folder."""
    for month, leaves in sorted(index.shelf.months.items()):
        if month < first_kept:
            for leaf in leaves.values():
                site = index.shelf.find_site(leaf.site)
                if site is not None and leaf.name in site.ended_ids:
                    yield leaf.path


def find_month(now: datetime, *, months: int) -> str:
    """Return the month that lies so many before this one, as folders are called: `2026-05`."""
    number = now.year * 12 + now.month - 1 - months
    return f"{number // 12:04}-{number % 12 + 1:02}"


def archive_jobs(repo: FleetRepo, clock: Clock, *, months: int) -> tuple[Sequence[str], str | None]:
    """Delete what `find_old_records` finds by one commit; returns the paths and the commit, if there was any.

    Raises `RepoUnusable` while `status/` is not what a trusted daemon left there: our signature would make it so.
    Raises `Transient` when others are always faster.
    """
    for _ in range(MOST_TRIES):
        tip = repo.fetch()
        if repo.find_tampering(tip.status) is not None:
            raise RepoUnusable(
                "status/ was changed by somebody else: let the daemon put it right, then try again"
            )
        paths = find_old_records(repo, tip, now=clock.now(), months=months)
        if not paths:
            return paths, None
        try:
            return paths, repo.push_changes(
                Branch.STATUS,
                expected=tip.status,
                changes=dict.fromkeys(paths),
                message=make_message(len(paths), months=months),
            )
        except TipMoved:
            continue
    raise Transient("the fleet repo is too busy: no room for one commit; try again", retry_after=5)


def make_message(count: int, *, months: int) -> CommitMessage:
    """Say what is taken out, and where it stays."""
    body = f"They were asked for more than {months} months ago. Their records stay in history, their ids in ended.txt."
    return CommitMessage(f"archive {count} ended jobs", body, (TRAILER,))
