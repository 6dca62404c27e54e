"""Which keys may sign what people ask for, and what is said where they did not (`allowed_signers`, spec.md §1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reconciler.core.admission import list_new, list_sightings
from reconciler.core.world import IntentFile, World
from reconciler.ports import Signature
from schemas.intent import Cancel

Keys = tuple[str, ...] | None
"""Public keys without their comments; None: signatures are not asked for."""
SIGNERS_FILE = "status/allowed-signers.txt"
HOW = {Signature.ABSENT: "is not signed", Signature.STRANGE: "is signed by none of them"}


def normalise(keys: Sequence[str] | None) -> Keys:
    """Return keys as they are compared: type and key, sorted."""
    return None if keys is None else tuple(sorted({" ".join(key.split()[:2]) for key in keys}))


def write_signers(keys: Keys) -> bytes | None:
    """Write the keys in force, one a line; no file at all where signatures are not asked for."""
    return None if keys is None else "".join(f"{key}\n" for key in keys).encode()


def read_signers(content: bytes) -> Keys:
    """Read what `write_signers` wrote."""
    return normalise([line for line in content.decode(errors="replace").splitlines() if line.strip()])


def list_doubtful(world: World) -> Iterator[IntentFile]:
    """List the files that would become jobs now, and the cancellations of open jobs."""
    sightings = list_sightings(world)
    yield from (sighting.file for sighting in list_new(sightings, world) if sighting.file.intent is not None)
    for sighting in sightings:
        intent = sighting.file.intent
        if isinstance(intent, Cancel) and intent.spec.job_id in world.status.jobs:
            yield sighting.file


def describe_unsigned(path: str, commit: str, signature: Signature) -> str:
    """Say why an intent counts for nothing, and what to do."""
    brought = f"commit {commit[:12]}, which brought it, {HOW[signature]}" if commit else "its history is gone"
    return (
        f"{path}: allowed_signers in pressluft.yaml names the keys that may sign intents, and {brought}; write it "
        "under another name in a commit signed by one of those keys (git commit -S)"
    )


def describe_change(commit: str, signature: Signature) -> str:
    """Say why a change of the keys is not in force."""
    brought = f"commit {commit[:12]}, which brought it, {HOW[signature]}" if commit else "its history is gone"
    return (
        "pressluft.yaml: allowed_signers was changed, but only a commit signed by one of the keys in force "
        f"({SIGNERS_FILE}) changes them, and {brought}"
    )
