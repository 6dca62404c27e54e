"""A daemon that does nothing but write: `python -m tests.integration.git.writer <settings as JSON>`.

Prints one JSON object: the ids of the commits it was told are durable, and how often it lost.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from reconciler.adapters.git_repo import GitFleetRepo, open_fleet_repo
from reconciler.errors import TipMoved, Transient
from reconciler.ports import Branch
from tests.integration.git.opening import SAID, US


def write_one(repo: GitFleetRepo, path: str) -> tuple[str, int]:
    """Push one file, however often it takes; returns the commit's id and how often the race was lost."""
    lost = 0
    while True:
        tip = repo.fetch().status
        try:
            return repo.push_changes(Branch.STATUS, expected=tip, changes={path: b"x"}, message=SAID), lost
        except TipMoved:
            lost += 1
        except Transient:
            lost += 1
            time.sleep(0.01)  # as the daemon backs off


def main() -> None:
    """Write as many files as the settings say."""
    told = json.loads(sys.argv[1])
    repo = open_fleet_repo(
        told["location"],
        branch=None,
        status_branch=None,
        signing_key=None,
        identity=US,
        state_dir=Path(told["state"]),
        ssh_key=Path(told["key"]) if told["key"] else None,
        known_hosts=Path(told["known_hosts"]) if told["known_hosts"] else None,
    )
    with repo:
        done = [write_one(repo, f"status/{told['name']}/{number}.yaml") for number in range(told["count"])]
    json.dump({"commits": [commit for commit, _ in done], "lost": sum(lost for _, lost in done)}, sys.stdout)


if __name__ == "__main__":
    main()
