"""What is on record of all jobs, looked at again and again: only what changed is read anew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from reconciler.ports import Entry, FleetRepo
from schemas.document import DocumentInvalid, read_status
from schemas.state import ErrorCode, JobStatus
from schemas.status import JobRecord, make_record_path


@dataclass(frozen=True, slots=True)
class Told:
    """What a record says of a job, as far as the promises need it."""

    id: UUID
    status: JobStatus
    site: str
    intent_kind: str | None
    intent_name: str | None
    intent_path: str | None
    error_code: ErrorCode | None
    error_message: str | None


@dataclass
class Ledger:
    """Reads the jobs of some sites at one commit after another."""

    repo: FleetRepo
    sites: tuple[str, ...]
    _months: dict[str, tuple[str, Sequence[Told]]] = field(default_factory=dict)
    _records: dict[str, tuple[str, Told | None]] = field(default_factory=dict)

    def read(self, commit: str | None) -> list[Told]:
        """Read every job that has a record."""
        return [job for site in self.sites for job in self._read_site(commit, site)] if commit else []

    def _read_site(self, commit: str, site: str) -> Iterator[Told]:
        folder = self.repo.read_folder(commit, f"status/{site}/jobs")
        for month in folder.entries if folder else ():
            path = f"status/{site}/jobs/{month.name}"
            if self._months.get(path, ("", ()))[0] != month.oid:
                self._months[path] = (month.oid, tuple(self._read_month(commit, path)))
            yield from self._months[path][1]

    def _read_month(self, commit: str, path: str) -> Iterator[Told]:
        folder = self.repo.read_folder(commit, path)
        for entry in folder.entries if folder else ():
            place = f"{path}/{entry.name}"
            if self._records.get(place, ("", None))[0] != entry.oid:
                self._records[place] = (entry.oid, self._read_record(place, entry))
            found = self._records[place][1]
            if found is not None:
                yield found

    def _read_record(self, path: str, entry: Entry) -> Told | None:
        try:
            job = read_status(self.repo.read_blob(entry.oid), path=path)
        except DocumentInvalid:
            return None
        if not isinstance(job, JobRecord) or make_record_path(job, site=path.split("/")[1]) != path:
            return None
        return Told(**{name: getattr(job, name) for name in Told.__slots__})
