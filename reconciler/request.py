"""From a wish to a durable commit: what is refused beforehand, and how several wishes become one commit.

The repo's tip is the lock: whatever was judged here was judged at the very commit that the new one is put on. If
somebody else was faster, everything is looked at and judged again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID, uuid4

from reconciler.core.flow import make_refusal
from reconciler.core.gate import (
    find_last_check,
    find_recorded_conflict,
    find_unchecked,
    find_unmet_at_request,
    present,
)
from reconciler.core.job import ENDED
from reconciler.core.party import Misfit, Parties, Unsettled, find_parties
from reconciler.core.record import find_protection, require
from reconciler.core.restoration import find_unrestorable, list_backups
from reconciler.errors import PressluftError, TipMoved, Transient
from reconciler.index import Index
from reconciler.ports import Branch, Clock, CommitMessage, FleetRepo
from schemas.document import dump
from schemas.intent import JOB_TYPES, Cancel, Intent, Promotion, Restore, make_job_id
from schemas.state import IntentKind, JobType
from schemas.status import Blocked
from schemas.syntax import MOST_BYTES

MOST_TRIES = 50
TARGETING = frozenset({JobType.ENV_PROMOTE, JobType.ENV_RESTORE, JobType.RELEASE_ROLLBACK})
"""Job types of which only one may be open for a target (spec.md §8: `conflict`)."""


class NotFound(PressluftError):
    """There is no such site, environment, job or record."""


class Refused(PressluftError):
    """The intent does not fit the fleet; the message says why by name."""


class Conflict(PressluftError):
    """Another job on the same target is open, or the name or key was used for something else."""


class GateUnmet(PressluftError):
    """Gates are shut; `reasons` lists every one with what to do next."""

    def __init__(self, reasons: Sequence[Blocked]) -> None:
        super().__init__(reasons[0].detail)
        self.reasons = tuple(reasons)


class NotCancellable(PressluftError):
    """The job has ended, or has gone too far to be cancelled."""


@dataclass(frozen=True, slots=True)
class Request:
    """A wish: an intent for a site. `needs_open_gates`: a promotion is refused while git says a gate is shut."""

    site: str
    intent: Intent
    needs_open_gates: bool = False

    @property
    def path(self) -> str:
        """The intent's file."""
        return f"intents/{self.site}/{self.intent.metadata.name}.yaml"


@dataclass(frozen=True, slots=True)
class Accepted:
    """A request that may be committed as it is."""

    request: Request
    job_id: UUID
    data: bytes
    target: UUID | None
    """The environment that no second promotion, restore or rollback may be asked for meanwhile."""


class Desk(Protocol):
    """What writing needs of the service."""

    @property
    def clock(self) -> Clock:
        """The controller's time."""

    @property
    def writing(self) -> FleetRepo:
        """The handle that writes go through."""

    def refresh(self) -> bool:
        """Look at the repo now."""

    def reading(self) -> AbstractContextManager[Index]:
        """Hold the index still."""


def write_all(desk: Desk, requests: Sequence[Request]) -> Sequence[UUID | PressluftError]:
    """Commit what may be committed in one commit; says of each request which job it is or why it was refused.

    All are of one actor. Raises nothing but bugs: what concerns the repo is every request's answer.
    """
    try:
        for _ in range(MOST_TRIES):
            desk.refresh()
            tip, answers = judge_all(desk, requests)
            accepted = [answer for answer in answers if isinstance(answer, Accepted)]
            if not accepted or push(desk, accepted, expected=tip):
                return [answer.job_id if isinstance(answer, Accepted) else answer for answer in answers]
        error: PressluftError = Transient("the fleet repo is too busy: no room for one commit", retry_after=1)
    except PressluftError as caught:
        error = caught
    return [error] * len(requests)


def judge_all(
    desk: Desk, requests: Sequence[Request]
) -> tuple[str | None, Sequence[Accepted | UUID | PressluftError]]:
    """Judge each request at the present tip, as if those before it were committed already."""
    answers: list[Accepted | UUID | PressluftError] = []
    with desk.reading() as index:
        for request in requests:
            taken = [answer for answer in answers if isinstance(answer, Accepted)]
            try:
                answers.append(judge(index, request, taken, now=desk.clock.now()))
            except PressluftError as error:
                answers.append(error)
        return index.tip.intents, answers


def push(desk: Desk, accepted: Sequence[Accepted], *, expected: str | None) -> bool:
    """Make one commit durable; `False` if somebody else was faster. Raises `Transient` if it did not arrive."""
    first = accepted[0].request.intent
    try:
        desk.writing.push_changes(
            Branch.INTENTS,
            expected=expected,
            changes={item.request.path: item.data for item in accepted},
            message=make_message(accepted),
            author=first.spec.actor,
        )
    except TipMoved:
        return False
    except Transient:
        if not has_arrived(desk, accepted):
            raise
    desk.refresh()
    return True


def has_arrived(desk: Desk, accepted: Sequence[Accepted]) -> bool:
    """Whether a push that broke off got through after all: the port says to look again."""
    with suppress(PressluftError):
        desk.refresh()
        with desk.reading() as index:
            present_files = {file.path: file.blob_id for files in index.intents.values() for file in files}
        return all(present_files.get(item.request.path) == hash_blob(item.data) for item in accepted)
    return False


def judge(index: Index, request: Request, taken: Sequence[Accepted], *, now: datetime) -> Accepted | UUID:
    """Accept a request, or return the job that it already is. Raises why it is refused."""
    if isinstance(request.intent, Cancel):
        return judge_cancel(index, request, taken)
    site = index.documents.sites.get(request.site)
    if site is None or site.document is None:
        raise Refused(f"there is no site {request.site!r}, or sites/{request.site}/site.yaml is broken")
    job_id, data = make_job_id(site.document.metadata.id, request.intent), dump(request.intent)
    if is_repeat(index, request, taken, job_id=job_id, data=data):
        return job_id
    if len(data) > MOST_BYTES:
        raise Refused(f"the intent's file would be {len(data)} bytes long; at most {MOST_BYTES} are taken")
    parties = find_parties(request.intent, site=request.site, view=index.fleet)
    if isinstance(parties, Misfit | Unsettled):
        raise Refused(parties.message)
    if isinstance(request.intent, Restore):
        refuse_backup(index, parties, request.intent, now=now)
    if request.needs_open_gates and isinstance(request.intent, Promotion):
        unmet = find_unmet(index, parties, request.intent, now=now)
        if unmet:
            raise GateUnmet(unmet)
    target = find_target(request.intent, parties)
    refuse_second_job(index, taken, target)
    return Accepted(request, job_id, data, target)


def is_repeat(
    index: Index, request: Request, taken: Sequence[Accepted], *, job_id: UUID, data: bytes
) -> bool:
    """Whether this very request was made before. Raises `Conflict` if its name or key stands for another one."""
    known = find_known_blob(index, request.site, job_id)
    here = next((hash_blob(item.data) for item in taken if item.job_id == job_id), known)
    if here is not None:
        if here == hash_blob(data):
            return True
        raise Conflict(f"job {job_id} was asked for with another content: use another name or key")
    paths = {file.path for file in index.intents.get(request.site, ())} | {
        item.request.path for item in taken
    }
    if request.path in paths:
        raise Conflict(f"{request.path} exists already: choose another name")
    return False


def find_known_blob(index: Index, site: str, job_id: UUID) -> str | None:
    """Find which version of an intent a job was made from, empty if that is not known any more."""
    job = index.read_job(job_id)
    if job is not None:
        return job.intent_blob_id or ""
    return "" if index.shelf.is_known(job_id, site=site) else None


def hash_blob(data: bytes) -> str:
    """Return the id that git gives to a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def refuse_backup(index: Index, parties: Parties, restore: Restore, *, now: datetime) -> None:
    """Refuse to restore what is no completed full backup of the environment. Raises `Refused`."""
    world = index.make_world(parties.site.metadata.name, now=now)
    reason = find_unrestorable(list_backups(world), parties.environment, restore)
    if reason is not None:
        raise Refused(make_refusal([reason]))


def find_target(intent: Intent, parties: Parties) -> UUID | None:
    """Return the environment that an intent claims for itself, if it does."""
    return parties.environment.metadata.id if JOB_TYPES[intent.kind] in TARGETING else None


def refuse_second_job(index: Index, taken: Sequence[Accepted], target: UUID | None) -> None:
    """Let only one promotion, restore or rollback of a target be open. Raises `Conflict`."""
    if target is None:
        return
    for job in index.list_open_jobs():
        if job.job_type in TARGETING and job.environment_id == target:
            raise Conflict(f"job {job.id} ({job.job_type}, {job.status}) is already open for this target")
    for item in taken:
        if item.target == target:
            raise Conflict(f"job {item.job_id} (queued) is already open for this target")


def judge_cancel(index: Index, request: Request, taken: Sequence[Accepted]) -> Accepted | UUID:
    """Accept the cancellation of a job that has not ended; asking twice is asking once."""
    if not isinstance(request.intent, Cancel):
        raise TypeError(request.intent.kind)
    job_id = request.intent.spec.job_id
    job = index.read_job(job_id)
    if job is None or job.site != request.site:
        raise NotFound(f"there is no job {job_id}")
    if job.status in ENDED:
        raise NotCancellable(f"job {job_id} has ended: it is {job.status}")
    paths = {file.path for file in index.intents.get(request.site, ())} | {
        item.request.path for item in taken
    }
    if request.path in paths:
        return job_id
    return Accepted(request, job_id, dump(request.intent), None)


def find_unmet(index: Index, parties: Parties, promotion: Promotion, *, now: datetime) -> tuple[Blocked, ...]:
    """Find the gates that are shut by what git says; a recent clean drift check on record is demanded (§4)."""
    world = index.make_world(parties.site.metadata.name, now=now)
    source, policy = require(parties.source), world.fleet.fleet.spec
    check = find_last_check(world, source.metadata.id)
    unchecked = find_unchecked(
        check,
        copy=source.metadata.name,
        protection_digest=find_protection(parties).digest(),
        now=now,
        max_age=policy.drift_check_max_age,
    )
    conflict = find_recorded_conflict(check, policy=policy.overwrite_policy)
    takes_backup = promotion.spec.backup == "create"
    return (*present(unchecked, conflict), *find_unmet_at_request(parties, world, takes_backup=takes_backup))


def make_message(accepted: Sequence[Accepted]) -> CommitMessage:
    """Say who asks for what, in one commit's message."""
    lines = [describe(item.request) for item in accepted]
    more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
    spec = accepted[0].request.intent.spec
    trailers = [("Pressluft-Job", str(item.job_id)) for item in accepted]
    if spec.actor:
        trailers.append(("Pressluft-Actor", spec.actor))
    body = "\n".join(lines) if more else spec.reason or ""
    return CommitMessage(f"request {lines[0]}{more}", body, tuple(dict.fromkeys(trailers)))


def describe(request: Request) -> str:
    """Say in plain words what is asked for: `drift check: acme staging`."""
    intent = request.intent
    if isinstance(intent, Promotion):
        about = f"{intent.spec.source} -> {intent.spec.target}"
    elif isinstance(intent, Cancel):
        about = f"job {intent.spec.job_id}"
    else:
        about = intent.spec.environment or ""
    return f"{split_words(intent.kind, ' ')}: {request.site} {about}".rstrip()


def split_words(kind: str, between: str) -> str:
    """Write `DriftCheck` as two words in lower case."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", between, kind).lower()


def make_intent_name(kind: str, *, now: datetime, job_id: UUID | None = None) -> str:
    """Make a fresh name for an intent's file: `promotion-20261122-113000-3f9a21bc`."""
    return f"{split_words(kind, '-')}-{now:%Y%m%d-%H%M%S}-{(job_id or uuid4()).hex[:8]}"


def make_keyed_name(kind: str, job_id: UUID) -> str:
    """Make the name of the file of a request that may be repeated: the same for the same job."""
    return f"{split_words(kind, '-')}-{job_id}"


def make_cancel_name(job_id: UUID) -> str:
    """Make the one name that a job's cancellation has."""
    return make_keyed_name(IntentKind.CANCEL, job_id)
