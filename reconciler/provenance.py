"""Who brought an intent: with `allowed_signers`, only what a commit signed by one of those keys brought counts.

The keys in force are kept in `status/`, so that nobody rids the fleet of them but who holds one: a change of
`allowed_signers` in `pressluft.yaml` counts once the commits that brought it are signed by a key in force.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from reconciler.core.signer import Keys, describe_change, describe_unsigned, list_doubtful, normalise
from reconciler.core.world import World
from reconciler.errors import RepoUnusable
from reconciler.observe import Observer
from reconciler.ports import FleetRepo, Signature

POLICY = "pressluft.yaml"


@dataclass
class Provenance:
    """Looks signatures up in one repo; what was found of a file and some keys is not looked up again.

    It is kept as long as the file is asked about: while it lies there as something new, or its job is open.
    """

    repo: FleetRepo
    observer: Observer
    _found: dict[tuple[str, str, tuple[str, ...]], str] = field(default_factory=dict)
    _found_before: Mapping[tuple[str, str, tuple[str, ...]], str] = field(default_factory=dict)

    def prove(self, world: World) -> World:
        """Return the world with the keys in force, and without intents that nobody allowed brought."""
        self._found_before, self._found = self._found, {}
        keys, complaint = self._find_keys_in_force(world)
        broken = {**world.fleet.broken, POLICY: complaint} if complaint else world.fleet.broken
        world = replace(world, allowed_signers=keys, fleet=replace(world.fleet, broken=broken))
        return world if keys is None else self._refuse_unsigned(world, keys)

    def _find_keys_in_force(self, world: World) -> tuple[Keys, str]:
        """Find the keys in force, and why those that `pressluft.yaml` names now are not."""
        known, wanted = world.status.allowed_signers, normalise(world.fleet.fleet.spec.allowed_signers)
        if POLICY in world.fleet.broken:
            return known, ""
        if known is None or known == wanted:
            return wanted, ""
        bringers = self._find_bringers(
            world.fleet.commit, POLICY, holds=lambda oid: self.observer.read_allowed_signers(oid) == wanted
        )
        judged = self._find_unsigned(bringers, known)
        return (known, describe_change(*judged)) if judged else (wanted, "")

    def _refuse_unsigned(self, world: World, keys: tuple[str, ...]) -> World:
        """Take what nobody allowed brought for no intent, and name the open jobs that nobody allowed asked for."""
        refused = {
            file.path: replace(file, intent=None, error=reason)
            for file in list_doubtful(world)
            if (reason := self._judge(world.fleet.commit, file.path, file.blob_id, keys=keys))
        }
        intents = tuple(refused.get(file.path, file) for file in world.fleet.intents)
        unproven = {
            job.id: reason
            for job in world.status.jobs.values()
            if job.intent_path and job.intent_blob_id and job.admitted_commit
            if (reason := self._judge(job.admitted_commit, job.intent_path, job.intent_blob_id, keys=keys))
        }
        return replace(world, fleet=replace(world.fleet, intents=intents), unproven=unproven)

    def _judge(self, commit: str, path: str, blob_id: str, *, keys: tuple[str, ...]) -> str:
        """Say why a file counts for nothing, empty if it counts."""
        key = (path, blob_id, keys)
        known = self._found_before.get(key, self._found.get(key))
        if known is None:
            bringers = self._find_bringers(commit, path, holds=lambda oid: oid == blob_id)
            judged = self._find_unsigned(bringers, keys)
            known = describe_unsigned(path, *judged) if judged else ""
        self._found[key] = known
        return known

    def _find_bringers(self, commit: str, path: str, *, holds: Callable[[str | None], bool]) -> Sequence[str]:
        try:
            return self.repo.find_bringers(commit, path, holds=holds)
        except RepoUnusable:
            return ()  # its history is gone: nobody vouches for it

    def _find_unsigned(self, bringers: Sequence[str], keys: tuple[str, ...]) -> tuple[str, Signature] | None:
        """Find a commit that none of the keys signed; with no commit at all there is none who could have."""
        if not bringers:
            return "", Signature.ABSENT
        judged = ((commit, self.repo.judge_signature(commit, keys)) for commit in bringers)
        return next((found for found in judged if found[1] is not Signature.ALLOWED), None)
