"""What is said when somebody else has written to `status/`: it is put back, and told on the environments."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from reconciler.core import environment as life
from reconciler.core.story import SUBJECT_BYTES
from reconciler.core.world import StatusView
from reconciler.ports import CommitMessage, Tampering
from schemas.document import dump
from schemas.status import make_record_path

MOST_NOTES = 10


def make_restoration(
    tampering: Tampering, trusted: StatusView, *, now: datetime
) -> Iterator[tuple[str, bytes]]:
    """Make the files that are written beside what is put back: a note on each environment of the sites concerned."""
    note = (
        f"{now:%Y-%m-%d %H:%M} UTC: status/ was changed by somebody else and put right ({tampering.detail})"
    )
    for record in trusted.environments.values():
        notes = (*record.notes, note)[-MOST_NOTES:]
        noted = life.update(record, at=now, notes=notes)
        folders = {path.split("/")[1] for path in trusted.paths.get(record.id, ())}
        yield from (
            (make_record_path(noted, site=site), dump(noted))
            for site in sorted(folders & set(tampering.sites))
        )


def make_restoring_message(tampering: Tampering) -> CommitMessage:
    """Say in the log what was put back and why."""
    sites = ", ".join(tampering.sites[:5]) or "all sites"
    subject = f"put status/ right again: {sites}"[:SUBJECT_BYTES]
    body = (
        f"What stood in status/ at {tampering.tip or 'no commit'} was not written by a daemon whose key is trusted: "
        f"{tampering.detail}. It is again what {tampering.trusted} left there; nothing of it was used."
    )
    return CommitMessage(subject, body, (("Pressluft-Status", "tampered"),))
