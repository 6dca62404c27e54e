"""Records in the very form `dump` writes them, read without a YAML parser: about ten times as fast.

A fleet has tens of thousands of ended jobs, and a list of them must be there seconds after a start. What is not
written exactly as `schemas/output.py` writes a flat record is none of this module's business: it answers `None`
and the strict reader decides. For what it does take, both give the same record (tests/unit/schemas).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar
from uuid import UUID

from pydantic import ValidationError

from schemas.model import PlainScalar
from schemas.state import JobStatus, JobType
from schemas.status import BackupRecord, EnvironmentRecord, JobRecord, SiteRecord
from schemas.syntax import NULLS, UNREADABLE_CHARACTER

FlatRecord = TypeVar("FlatRecord", JobRecord, BackupRecord, EnvironmentRecord, SiteRecord)

HEAD: Final = re.compile(
    rb"apiVersion: pressluft/v1\nkind: (?P<kind>[A-Za-z]+)\n"
    rb"metadata:\n  name: (?P<name>[a-z0-9-]{1,63})\n  id: (?P<id>[0-9a-f-]{36})\nspec:\n"
)
PLAIN: Final = r"[A-Za-z0-9/][A-Za-z0-9 _./,;()=+@-]*(?::(?! )[A-Za-z0-9 _./,;()=+@-]*)*(?<![ :])"
"""Unquoted scalars that are surely what they look like: no comment, no indicator, nothing folded."""
LINE: Final = re.compile(
    rf"  (?P<key>[a-z_]+): (?:'(?P<quoted>[^'\n]*(?:''[^'\n]*)*)'|(?P<plain>{PLAIN})|\|-)\n"
)
BLOCK: Final = re.compile(r"(?:(?:    [^\n]*)?\n)+")
FIRST_TEXT: Final = re.compile(r"    [^ ]")


def read_canonical(data: bytes, model: type[FlatRecord], *, name: str) -> FlatRecord | None:
    """Read a record if it is written exactly as `dump` writes it and holds no lists, else return `None`.

    `name` is what its file is called, without `.yaml`.
    """
    head = HEAD.match(data)
    if head is None or head["kind"].decode() != model.__name__ or head["name"].decode() != name:
        return None
    fields = find_fields(data[head.end() :])
    lifted = {key: head[key].decode() for key in ("id", "name") if key in model.model_fields}
    if fields is None or lifted.keys() & fields.keys():
        return None
    try:
        record = model.model_validate({**fields, **lifted})
    except ValidationError:
        return None
    return record if record.record_name == name else None


def find_fields(spec: bytes) -> Mapping[str, str] | None:
    """Find the fields of a `spec` of scalars; `None` if anything else is in it."""
    try:
        text = spec.decode()
    except UnicodeDecodeError:
        return None
    if not text.endswith("\n") or "\r" in text or not is_readable(text):
        return None
    fields: dict[str, str] = {}
    at = 0
    while at < len(text):
        match = LINE.match(text, at)
        if match is None or match["key"] in fields:
            return None
        value, at = read_value(match, text)
        if value is None:
            return None
        fields[match["key"]] = value
    return fields


def is_readable(text: str) -> bool:
    """Whether a text holds no control characters; plain ASCII, as nearly all records are, is told at once."""
    if text.isascii() and text.replace("\n", "").isprintable():
        return True
    return UNREADABLE_CHARACTER.search(text) is None


def read_value(match: re.Match[str], text: str) -> tuple[str | None, int]:
    """Read the value of a field and where the next one begins; unquoted scalars stay `PlainScalar`."""
    if match["quoted"] is not None:
        return match["quoted"].replace("''", "'"), match.end()
    if match["plain"] is not None:
        return (None if match["plain"] in NULLS else PlainScalar(match["plain"])), match.end()
    block = BLOCK.match(text, match.end())
    until = block.end() if block else match.end()
    return read_literal(text[match.end() : until].split("\n")[:-1]), until


def read_literal(lines: list[str]) -> str | None:
    """Read a literal block that ends with text and is indented by four."""
    if not lines or FIRST_TEXT.match(lines[0]) is None or not lines[-1].strip():
        return None
    return "\n".join(line[4:] for line in lines)


@dataclass(frozen=True, slots=True)
class JobGlance:
    """What lists of jobs are sorted and filtered by."""

    id: UUID
    status: JobStatus
    job_type: JobType | None
    site_id: UUID | None
    environment_id: UUID | None
    created_at: datetime


JOB_GLANCE: Final = re.compile(
    rb"apiVersion: pressluft/v1\nkind: JobRecord\nmetadata:\n  name: (?P<name>[0-9a-f-]{36})\n  id: (?P=name)\nspec:\n"
    rb"  status: (?P<status>[a-z]+)\n"
    rb"(?:  job_type: (?P<job_type>[a-z_]+)\n)?"
    rb"(?:  summary: (?!\|).+\n)?"
    rb"  site: [a-z0-9-]+\n"
    rb"(?:  site_id: (?P<site_id>[0-9a-f-]{36})\n)?"
    rb"(?:  environment_id: (?P<environment_id>[0-9a-f-]{36})\n)?"
    rb"(?=  [a-z])(?s:.*\n)"
    rb"  created_at: '(?P<created_at>[0-9TZ:.-]{20,24})'\n"
    rb"  updated_at: '[0-9TZ:.-]{20,24}'\n"
)


def glance_at_job(data: bytes, *, record_id: str) -> JobGlance | None:
    """Read a few fields of a job's record, or `None` if it is not written as `dump` writes it."""
    match = JOB_GLANCE.fullmatch(data)
    if match is None or match["name"].decode() != record_id:
        return None
    try:
        return JobGlance(
            id=UUID(record_id),
            status=JobStatus(match["status"].decode()),
            job_type=JobType(match["job_type"].decode()) if match["job_type"] else None,
            site_id=find_id(match["site_id"]),
            environment_id=find_id(match["environment_id"]),
            created_at=datetime.fromisoformat(match["created_at"].decode()),
        )
    except ValueError:
        return None


def find_id(written: bytes | None) -> UUID | None:
    """Read an id that may be absent."""
    return UUID(written.decode()) if written else None


def make_glance(job: JobRecord) -> JobGlance:
    """Take the same few fields of a record that is at hand."""
    return JobGlance(job.id, job.status, job.job_type, job.site_id, job.environment_id, job.created_at)
