"""Which file of a fleet repo is what (spec.md §1), told from its path alone."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from schemas.model import ID_PATTERN, UNREADABLE


class PathKind(StrEnum):
    """What a path of a fleet repo holds."""

    FLEET = "fleet"
    NODE = "node"
    SITE = "site"
    ENVIRONMENT = "environment"
    INTENT = "intent"
    SITE_RECORD = "site_record"
    ENVIRONMENT_RECORD = "environment_record"
    JOB_RECORD = "job_record"
    DRIFT_CHECK_RECORD = "drift_check_record"
    BACKUP_RECORD = "backup_record"
    ENDED = "ended"
    """`status/<site>/ended.txt`: the ids of all jobs that ever ended."""
    MISPLACED = "misplaced"
    """Inside of the layout's folders, but nothing the layout knows."""
    OTHER = "other"
    """Not Pressluft's: a README, a CI configuration."""
    REFUSED = "refused"
    """A path that cannot be trusted to mean what it says."""


@dataclass(frozen=True, slots=True)
class Place:
    """What a path says: its kind and the names it carries."""

    kind: PathKind
    site: str | None = None
    """The name of the site's folder."""
    name: str | None = None
    """What `metadata.name` has to be; None where the path does not say."""


SITE_PART: Final = r"(?P<site>[^/]+)"
NAME_PART: Final = r"(?P<name>[^/]+)\.yaml"
MONTHLY_PART: Final = rf"[0-9]{{4}}-(0[1-9]|1[0-2])/(?P<name>{ID_PATTERN})\.yaml"
LAYOUT: Final[Mapping[PathKind, str]] = MappingProxyType(
    {
        PathKind.FLEET: r"pressluft\.yaml",
        PathKind.NODE: rf"nodes/{NAME_PART}",
        PathKind.SITE: r"sites/(?P<name>[^/]+)/site\.yaml",
        PathKind.ENVIRONMENT: rf"sites/{SITE_PART}/environments/{NAME_PART}",
        PathKind.INTENT: rf"intents/{SITE_PART}/{NAME_PART}",
        PathKind.SITE_RECORD: r"status/(?P<name>[^/]+)/site\.yaml",
        PathKind.ENVIRONMENT_RECORD: rf"status/{SITE_PART}/environments/{NAME_PART}",
        PathKind.JOB_RECORD: rf"status/{SITE_PART}/jobs/{MONTHLY_PART}",
        PathKind.DRIFT_CHECK_RECORD: rf"status/{SITE_PART}/drift-checks/{MONTHLY_PART}",
        PathKind.BACKUP_RECORD: rf"status/{SITE_PART}/backups/{MONTHLY_PART}",
        PathKind.ENDED: rf"status/{SITE_PART}/ended\.txt",
    }
)
PATTERNS: Final = {kind: re.compile(pattern) for kind, pattern in LAYOUT.items()}
ROOMS: Final = ("nodes/", "sites/", "intents/", "status/")
REMARK: Final = re.compile(r"(^|/)(\.[^/]*|[^/]*\.md)$")


def find_place(path: str) -> Place:
    """Tell what a path, relative to the repo with forward slashes, holds; never raises."""
    if is_refused(path):
        return Place(PathKind.REFUSED)
    for kind, pattern in PATTERNS.items():
        match = pattern.fullmatch(path)
        if match is not None:
            names = match.groupdict()
            site = names.get("site")
            if kind in {PathKind.SITE, PathKind.SITE_RECORD}:
                site = names["name"]
            return Place(kind, site, names.get("name"))
    if path.startswith(ROOMS) and not REMARK.search(path):
        return Place(PathKind.MISPLACED)
    return Place(PathKind.OTHER)


def classify_path(path: str) -> PathKind:
    """Tell what kind of file a path holds."""
    return find_place(path).kind


def is_refused(path: str) -> bool:
    """Tell whether a path has control characters, `..` or empty parts, or is not UTF-8."""
    if re.search(rf"[\n{UNREADABLE}\ud800-\udfff\\]", path):
        return True
    return any(part in {"", ".", ".."} for part in path.split("/"))
