"""Two daemons that do not trust each other's key undo each other's word: that is told, and slowed down.

Neither is wrong by itself: to each the other is somebody who writes to `status/`. What a stranger signed is put right
as often as anything else, but more and more slowly, and nothing is started meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from reconciler.ports import Tampering

AT_ONCE: Final = 3
"""How often in a row what a stranger signed is put right without waiting."""
FIRST_PAUSE, LONGEST_PAUSE = timedelta(minutes=1), timedelta(minutes=10)
FORGOTTEN: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Dispute:
    """How often in a row a stranger's signed word was undone here, and when last."""

    times: int = 0
    last: datetime | None = None


def find_pause(dispute: Dispute, tampering: Tampering, *, now: datetime) -> timedelta | None:
    """Find how long to wait before what a stranger signed is put right once more; `None`: it is put right now."""
    if not tampering.signed or dispute.last is None or dispute.times < AT_ONCE:
        return None
    pause = min(FIRST_PAUSE * 2 ** min(dispute.times - AT_ONCE, 10), LONGEST_PAUSE)
    since = now - dispute.last
    return pause - since if timedelta(0) <= since < pause else None


def count_dispute(dispute: Dispute, tampering: Tampering, *, now: datetime) -> Dispute:
    """Count what is put right now."""
    if not tampering.signed:
        return dispute
    is_over = dispute.last is None or now - dispute.last > FORGOTTEN
    return replace(dispute, times=1 if is_over else dispute.times + 1, last=now)


def describe_dispute(tampering: Tampering) -> str:
    """Say what to do about a stranger who signs."""
    return (
        f"status/ was written again by one whose key is not trusted here ({tampering.detail}). If that is a daemon of "
        "this fleet, add its public key to this daemon's trusted_keys and this one's to its own: until then each "
        "undoes what the other writes. If it is not, take its right to push away"
    )
