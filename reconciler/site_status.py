"""Reading one site's part of `status/`, again and again: only what changed is read anew, and nothing else is kept."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar
from uuid import UUID

from reconciler.core.job import ENDED
from reconciler.ports import Entry, EntryKind, FleetRepo, Folder
from schemas.document import DocumentInvalid, read_status
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
    ended: Mapping[UUID, None]
    """In the order in which they ended."""
    environments: tuple[EnvironmentRecord, ...]
    site: SiteRecord | None
    backups: tuple[BackupRecord, ...]
    drift_checks: tuple[DriftCheckRecord, ...]
    damaged: tuple[UUID, ...] = ()


@dataclass
class SiteReader:
    """Reads `status/<site>`; keeps what the last reading needed. One thread at a time."""

    repo: FleetRepo
    site: str
    _oid: str = ""
    _read: SiteStatus | None = None
    _records: dict[str, StatusRecord] = field(default_factory=dict)
    _records_before: Mapping[str, StatusRecord] = field(default_factory=dict)
    _ended: dict[str, UUID] = field(default_factory=dict)
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
        listed = dict.fromkeys(self._ended.values())
        open_ids = frozenset(self._list_open(commit, f"{root}/jobs"))
        found = tuple(self._read_monthly(commit, f"{root}/jobs", JobRecord, only=open_ids))
        # A job whose record says that it ended has ended, even if somebody took it off the list.
        also = dict.fromkeys(job.id for job in found if job.status in ENDED)
        environments = tuple(self._read_records(commit, f"{root}/environments", EnvironmentRecord))
        latest = {env.last_drift_check_id for env in environments}
        return SiteStatus(
            jobs=tuple(job for job in found if job.status not in ENDED),
            ended={**listed, **also},
            environments=environments,
            site=next(self._read_records(commit, root, SiteRecord), None),
            backups=tuple(self._read_monthly(commit, f"{root}/backups", BackupRecord)),
            drift_checks=tuple(
                self._read_monthly(commit, f"{root}/drift-checks", DriftCheckRecord, only=latest)
            ),
            damaged=tuple(sorted(open_ids - {job.id for job in found})),
        )

    def _read_ended(self, commit: str, root: str) -> None:
        """Read the list of ended jobs; of a list that grew, only the new lines become ids."""
        entry = next((one for one in self._folder(commit, root).entries if one.name == "ended.txt"), None)
        oid = entry.oid if entry is not None and entry.kind is EntryKind.FILE else ""
        if oid == self._ended_oid:
            return
        text = self.repo.read_blob(oid, limit=ENDED_LIMIT).decode(errors="replace") if oid else ""
        ids = (self._ended.get(line) or parse_record_id(line) for line in text.split())
        self._ended = {str(job_id): job_id for job_id in ids if job_id is not None}
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
        record = self._records_before.get(entry.oid)
        if record is None:
            try:
                record = read_status(self.repo.read_blob(entry.oid, limit=RECORD_LIMIT), path=path)
            except DocumentInvalid:
                return
        self._records[entry.oid] = record
        if isinstance(record, model):
            yield record

    def _folder(self, commit: str, path: str) -> Folder:
        return self.repo.read_folder(commit, path) or NO_FOLDER


def parse_record_id(name: str) -> UUID | None:
    """Return the id that a record's file is named after."""
    try:
        return UUID(name.removesuffix(".yaml"))
    except ValueError:
        return None
