"""Reading one site's part of `status/`, again and again: only what changed is read anew, and nothing else is kept."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar
from uuid import UUID

from reconciler.core.job import ENDED
from reconciler.ports import Entry, EntryKind, FleetRepo, Folder
from schemas.canonical import read_canonical
from schemas.document import DocumentInvalid, read_status
from schemas.state import BackupStatus
from schemas.status import (
    BackupRecord,
    DriftCheckRecord,
    EnvironmentRecord,
    JobRecord,
    SiteRecord,
    StatusRecord,
    make_record_path,
)

RECORD_LIMIT: Final = 4 * 1024 * 1024 + 1
ENDED_LIMIT: Final = 1 << 26
NO_FOLDER: Final = Folder("", ())
RecordT = TypeVar("RecordT", JobRecord, EnvironmentRecord, SiteRecord, BackupRecord, DriftCheckRecord)


@dataclass(frozen=True, slots=True)
class SiteStatus:
    """One site's part of `status/`, as far as the reconciler needs it."""

    jobs: tuple[JobRecord, ...]
    ended: Mapping[str, None]
    """The ids of all that ended, as text, in the order in which they did."""
    environments: tuple[EnvironmentRecord, ...]
    site: SiteRecord | None
    backups: Mapping[UUID, tuple[BackupRecord, ...]]
    """By environment, without those that have expired."""
    drift_checks: tuple[DriftCheckRecord, ...]
    damaged: tuple[UUID, ...] = ()


@dataclass
class SiteReader:
    """Reads `status/<site>`; keeps what the last reading needed. One thread at a time."""

    repo: FleetRepo
    site: str
    _oid: str = ""
    _read: SiteStatus | None = None
    _records: dict[str, StatusRecord | None] = field(default_factory=dict)
    """By blob id; `None` for what will never say anything again."""
    _records_before: Mapping[str, StatusRecord | None] = field(default_factory=dict)
    _ended: Mapping[str, None] = field(default_factory=dict)
    _ended_oid: str = ""

    def read(self, commit: str, oid: str) -> SiteStatus:
        """Read the site at a commit where its folder has the id `oid`; the same value again while that is so."""
        if self._read is None or oid != self._oid:
            self._records_before, self._records = self._records, {}
            self._read, self._oid = self._parse(commit), oid
            self._records_before = {}
        return self._read

    def _parse(self, commit: str) -> SiteStatus:
        root = f"status/{self.site}"
        self._read_ended(commit, root)
        open_ids = frozenset(self._list_open(commit, f"{root}/jobs"))
        found = tuple(self._read_monthly(commit, f"{root}/jobs", JobRecord, only=open_ids))
        # A job whose record says that it ended has ended, even if somebody took it off the list.
        also = dict.fromkeys(str(job.id) for job in found if job.status in ENDED)
        environments = tuple(self._read_records(commit, f"{root}/environments", EnvironmentRecord))
        latest = {env.last_drift_check_id for env in environments}
        return SiteStatus(
            jobs=tuple(job for job in found if job.status not in ENDED),
            ended={**self._ended, **also} if also else self._ended,
            environments=environments,
            site=next(self._read_records(commit, root, SiteRecord), None),
            backups=group_backups(self._read_monthly(commit, f"{root}/backups", BackupRecord)),
            drift_checks=tuple(
                self._read_monthly(commit, f"{root}/drift-checks", DriftCheckRecord, only=latest)
            ),
            damaged=tuple(sorted(open_ids - {job.id for job in found})),
        )

    def _read_ended(self, commit: str, root: str) -> None:
        """Read the list of ended jobs. It stays text: as a UUID each would take four times the memory."""
        entry = next((one for one in self._folder(commit, root).entries if one.name == "ended.txt"), None)
        oid = entry.oid if entry is not None and entry.kind is EntryKind.FILE else ""
        if oid == self._ended_oid:
            return
        text = self.repo.read_blob(oid, limit=ENDED_LIMIT).decode(errors="replace") if oid else ""
        self._ended = dict.fromkeys(text.split())
        self._ended_oid = oid

    def _list_open(self, commit: str, path: str) -> Iterator[UUID]:
        """List the ids of records that the list of ended jobs does not name."""
        for _, entry in self._list_monthly(commit, path):
            name = entry.name.removesuffix(".yaml")
            record_id = parse_record_id(name) if name not in self._ended else None
            if record_id is not None and str(record_id) not in self._ended:
                yield record_id

    def _list_monthly(self, commit: str, path: str) -> Iterator[tuple[str, Entry]]:
        for month in self._folder(commit, path).entries:
            if month.kind is EntryKind.FOLDER:
                for entry in self._folder(commit, f"{path}/{month.name}").entries:
                    yield f"{path}/{month.name}/{entry.name}", entry

    def _read_monthly(
        self,
        commit: str,
        path: str,
        model: type[RecordT],
        *,
        only: Collection[UUID | None] | None = None,
    ) -> Iterator[RecordT]:
        if only is not None and not only:
            return
        names = None if only is None else {f"{record_id}.yaml" for record_id in only}
        for place, entry in self._list_monthly(commit, path):
            if names is None or entry.name in names:
                for record in self._read_record(entry, place, model):
                    if make_record_path(record, site=self.site) == place:  # a copy says nothing
                        yield record

    def _read_records(self, commit: str, path: str, model: type[RecordT]) -> Iterator[RecordT]:
        for entry in self._folder(commit, path).entries:
            if entry.name.endswith(".yaml"):
                yield from self._read_record(entry, f"{path}/{entry.name}", model)

    def _read_record(self, entry: Entry, path: str, model: type[RecordT]) -> Iterator[RecordT]:
        """Yield one record, or nothing where the file is not what we wrote: it then says nothing."""
        if entry.kind is not EntryKind.FILE:
            return
        if entry.oid in self._records_before:
            record = self._records_before[entry.oid]
        else:
            name = self.site if model is SiteRecord else entry.name.removesuffix(".yaml")
            data = self.repo.read_blob(entry.oid, limit=RECORD_LIMIT)
            found = parse_record(data, model, name=name, path=path)
            if found is None:
                return
            record = forget_expired(found)
        self._records[entry.oid] = record
        if isinstance(record, model):
            yield record

    def _folder(self, commit: str, path: str) -> Folder:
        return self.repo.read_folder(commit, path) or NO_FOLDER


def parse_record(data: bytes, model: type[RecordT], *, name: str, path: str) -> StatusRecord | None:
    """Read a record; `None` for what is not as we write it. `name` is what a record at this path is called."""
    found = None if issubclass(model, DriftCheckRecord) else read_canonical(data, model, name=name)
    try:
        return found or read_status(data, path=path)
    except DocumentInvalid:
        return None


def forget_expired(record: StatusRecord) -> StatusRecord | None:
    """Return `None` for a backup that has expired: nothing relies on it, and nothing becomes of it any more."""
    return None if isinstance(record, BackupRecord) and record.status is BackupStatus.EXPIRED else record


def group_backups(backups: Iterable[BackupRecord]) -> Mapping[UUID, tuple[BackupRecord, ...]]:
    """Group backups by the environment that they are of."""
    found: dict[UUID, list[BackupRecord]] = {}
    for backup in backups:
        found.setdefault(backup.environment_id, []).append(backup)
    return {environment_id: tuple(own) for environment_id, own in found.items()}


def parse_record_id(name: str) -> UUID | None:
    """Return the id that a record's file is named after."""
    try:
        return UUID(name.removesuffix(".yaml"))
    except ValueError:
        return None
