"""Keeping an object store small: git's own maintenance, when there is enough for it to do."""

from __future__ import annotations

from typing import Final

import structlog

from reconciler.adapters.git_command import Git
from reconciler.errors import PressluftError

EVERY_SECONDS: Final = 600.0
MOST_LOOSE: Final = 1000
"""Loose objects, about: each commit of ours leaves seven."""
MOST_PACKS: Final = 20
BIG_PACK: Final = "256m"
"""Packs above this are left alone, so that a round takes seconds in a repository of any size."""
WINDOW: Final = 100
"""Among how many objects of a kind one is looked for that a new one resembles. The versions of one site's folder of
a month lie among those of all sites: with git's ten, few find each other (docs/reference/fault-model.md)."""
KEPT: Final = "1.day.ago"
"""Objects of lost races go after this; none of a push under way is as old."""
TIMEOUT: Final = 3600.0

_log = structlog.get_logger(__name__)


def maintain(git: Git, *, most_loose: int = MOST_LOOSE) -> None:
    """Let git pack and prune if its own measure says that it is worth it; a failure is logged, nothing more.

    Safe beside readers and writers: what is packed is readable all the time, and only old garbage goes.
    """
    settings = {
        "gc.auto": most_loose,
        "gc.autoPackLimit": MOST_PACKS,
        "gc.bigPackThreshold": BIG_PACK,
        "gc.pruneExpire": KEPT,
        "gc.writeCommitGraph": "true",
        "pack.window": WINDOW,
    }
    words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    try:
        done = git.run(*words, "maintenance", "run", "--auto", "--quiet", "--task=gc", timeout=TIMEOUT)
    except PressluftError as error:
        _log.warning("git maintenance did not run", reason=str(error))
        return
    if done.code != 0:
        _log.warning("git maintenance failed", reason=done.complaint[-500:])
