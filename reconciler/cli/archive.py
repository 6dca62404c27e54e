"""`pressluft archive`: take the records of old jobs out of the tree; history keeps them."""

from __future__ import annotations

from typing import Annotated

import typer

from reconciler.archive import archive_jobs, find_old_records
from reconciler.cli.common import (
    ConfigOption,
    JsonOption,
    RepoOption,
    explained,
    out,
    print_json,
    read_settings,
)
from reconciler.daemon import SystemClock, open_repo


@explained
def archive(
    older_than: Annotated[
        int, typer.Option(min=1, metavar="MONTHS", help="Keep this many past months.")
    ] = 12,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would go.")] = False,
    as_json: JsonOption = False,
    repo: RepoOption = None,
    config: ConfigOption = None,
) -> None:
    """Take the records of jobs that ended long ago out of the tree, by one commit. History keeps them.

    It writes as a daemon does, so it needs the settings of one, with its signing_key. Daemons may go on meanwhile.

    Example: pressluft archive --older-than 6
    """
    clock = SystemClock()
    commit: str | None = None
    with open_repo(read_settings(repo, config), purpose="cli") as opened:
        opened.check_own_key()
        if dry_run:
            paths = find_old_records(opened, opened.fetch(), now=clock.now(), months=older_than)
        else:
            paths, commit = archive_jobs(opened, clock, months=older_than)
    if as_json:
        print_json({"archived": len(paths), "commit": commit})
        return
    done = "would be archived" if dry_run else "archived"
    out.print(f"{len(paths)} jobs {done}{f' by commit {commit}' if commit else ''}", markup=False)
