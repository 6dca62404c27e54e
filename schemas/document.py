"""Reading and writing the documents of a fleet repo: strict YAML in, frozen models out, and back."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, Literal, TypeVar, cast

from pydantic import Field, ValidationError

from schemas.fleet import Environment, Fleet, FleetDocument, Node, Site
from schemas.intent import (
    Backup,
    Cancel,
    DriftCheck,
    Intent,
    IntentDocument,
    Promotion,
    Refresh,
    Reset,
    Restore,
    Rollback,
)
from schemas.model import API_VERSION, IdentifiedMetadata, Model
from schemas.output import HEADER, dump
from schemas.path import PathKind, Place, classify_path, find_place
from schemas.problem import PLAIN_EXPECTATIONS, find_key_mark, find_problems
from schemas.status import (
    BackupRecord,
    DriftCheckRecord,
    EnvironmentRecord,
    JobRecord,
    Record,
    SiteRecord,
    StatusRecord,
)
from schemas.syntax import (
    MOST_BYTES,
    START,
    DocumentInvalid,
    Fields,
    Leaf,
    Problem,
    Value,
    make_value,
    read_tree,
)

__all__ = [
    "Document",
    "DocumentInvalid",
    "PathKind",
    "Place",
    "Problem",
    "classify_path",
    "dump",
    "find_place",
    "read_document",
    "read_fleet_file",
    "read_intent",
    "read_status",
]

Document = FleetDocument | Intent | StatusRecord

MODELS: Final[Mapping[str, type[Model]]] = MappingProxyType(
    {
        model.__name__: model
        for model in (
            *(Fleet, Node, Site, Environment),
            *(Promotion, DriftCheck, Backup, Refresh, Rollback, Restore, Reset, Cancel),
            *(JobRecord, SiteRecord, EnvironmentRecord, DriftCheckRecord, BackupRecord),
        )
    }
)
"""The model of each `kind`."""
FLEET_KINDS: Final = frozenset({"Fleet", "Node", "Site", "Environment"})
INTENT_KINDS: Final = frozenset(kind for kind, model in MODELS.items() if issubclass(model, IntentDocument))
RECORD_KINDS: Final = frozenset(kind for kind, model in MODELS.items() if issubclass(model, Record))
KINDS_AT: Final[Mapping[PathKind, frozenset[str]]] = MappingProxyType(
    {
        PathKind.FLEET: frozenset({"Fleet"}),
        PathKind.NODE: frozenset({"Node"}),
        PathKind.SITE: frozenset({"Site"}),
        PathKind.ENVIRONMENT: frozenset({"Environment"}),
        PathKind.INTENT: INTENT_KINDS,
        PathKind.SITE_RECORD: frozenset({"SiteRecord"}),
        PathKind.ENVIRONMENT_RECORD: frozenset({"EnvironmentRecord"}),
        PathKind.JOB_RECORD: frozenset({"JobRecord"}),
        PathKind.DRIFT_CHECK_RECORD: frozenset({"DriftCheckRecord"}),
        PathKind.BACKUP_RECORD: frozenset({"BackupRecord"}),
        PathKind.OTHER: FLEET_KINDS | INTENT_KINDS | RECORD_KINDS,
    }
)
MOST_RECORD_BYTES: Final = 4 * 1024 * 1024
"""Records are the reconciler's own; a drift check of hundreds of resources passes the limit for people."""
ModelType = TypeVar("ModelType", bound=Model)


class RecordFile(Model):
    """How a record stands in its file."""

    api_version: Literal["pressluft/v1"] = Field(default=API_VERSION, alias="apiVersion")
    kind: str
    metadata: IdentifiedMetadata
    spec: dict[str, object]


def read_document(data: bytes, *, path: str) -> Document:
    """Read any file of a fleet repo; `path`, relative to the repo, tells what it must be.

    A path outside of the layout may hold any kind, and its name is not compared. Raises DocumentInvalid.
    """
    return read_kind(data, path=path, kinds=KINDS_AT[PathKind.OTHER])


def read_fleet_file(data: bytes, *, path: str) -> FleetDocument:
    """Read a Fleet, Node, Site or Environment. Raises DocumentInvalid."""
    return cast("FleetDocument", read_kind(data, path=path, kinds=FLEET_KINDS))


def read_intent(data: bytes, *, path: str) -> Intent:
    """Read an intent. Raises DocumentInvalid."""
    return cast("Intent", read_kind(data, path=path, kinds=INTENT_KINDS))


def read_status(data: bytes, *, path: str) -> StatusRecord:
    """Read a record of the reconciler. Raises DocumentInvalid."""
    return cast("StatusRecord", read_kind(data, path=path, kinds=RECORD_KINDS))


def read_kind(data: bytes, *, path: str, kinds: frozenset[str]) -> Document:
    """Read a document of one of `kinds` that may stand at `path`."""
    place = find_place(path)
    allowed = kinds & KINDS_AT.get(place.kind, frozenset())
    if not allowed:
        raise DocumentInvalid(path, Problem(START, "", describe_misplaced(place.kind)))
    most_bytes = MOST_RECORD_BYTES if allowed <= RECORD_KINDS else MOST_BYTES
    root = read_tree(data, path=path, most_bytes=most_bytes)
    model = MODELS[find_kind(root, path=path, allowed=allowed)]
    document = (
        read_record(root, model, path=path)
        if issubclass(model, Record)
        else read_model(root, model, path=path)
    )
    check_name(document, root=root, path=path, place=place)
    return cast("Document", document)


def describe_misplaced(kind: PathKind) -> str:
    """Say what is wrong with a path that can hold nothing of what is read."""
    if kind is PathKind.REFUSED:
        return "expected a path relative to the repo, without control characters, \\, // or .."
    return "expected a file where the layout of a fleet repo has one, such as intents/<site>/<name>.yaml"


def find_kind(root: Fields, *, path: str, allowed: frozenset[str]) -> str:
    """Check that the header is complete and return the document's kind."""
    missing = [
        Problem(root.mark, name, PLAIN_EXPECTATIONS["missing"]) for name in HEADER if name not in root.items
    ]
    if missing:
        raise DocumentInvalid(path, *missing)
    kind = root.items["kind"]
    if isinstance(kind, Leaf) and kind.value in allowed:
        return str(kind.value)
    raise DocumentInvalid(
        path, Problem(root.marks["kind"], "kind", f"expected {join_words(sorted(allowed))}")
    )


def join_words(words: Sequence[str]) -> str:
    """Write `a, b or c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def read_model(root: Fields, model: type[ModelType], *, path: str) -> ModelType:
    """Validate a document that stands in its file as it is modelled."""
    try:
        return model.model_validate(make_value(root))
    except ValidationError as error:
        raise DocumentInvalid(path, *find_problems(error, root=root, model=model)) from error


def read_record(root: Fields, model: type[ModelType], *, path: str) -> ModelType:
    """Validate a record: its `id` and `name` stand under `metadata`, all else under `spec`."""
    file = read_model(root, RecordFile, path=path)
    lifted = {"id": file.metadata.id, "name": file.metadata.name}
    flat = {name: value for name, value in lifted.items() if name in model.model_fields}
    spec = cast("dict[str, Value]", make_value(root.items["spec"]))
    repeated = [name for name in flat if name in spec]
    if repeated:
        marks = {name: find_key_mark(root, ("spec", name)) for name in repeated}
        raise DocumentInvalid(
            path, *(Problem(marks[name], f"spec.{name}", "expected under metadata") for name in repeated)
        )
    try:
        return model.model_validate({**spec, **flat})
    except ValidationError as error:
        problems = find_problems(
            error, root=root, model=model, translate=lambda location: ("spec", *location)
        )
        raise DocumentInvalid(path, *problems) from error


def check_name(document: Model, *, root: Fields, path: str, place: Place) -> None:
    """Check that a document is called what its file or folder is called, and a record by its id."""
    metadata = cast("Fields", root.items["metadata"])
    written = cast("Leaf", metadata.items["name"])
    record_name = document.record_name if isinstance(document, Record) else None
    for expected in (place.name, record_name):
        if expected is not None and written.value != expected:
            raise DocumentInvalid(
                path,
                Problem(
                    written.mark, "metadata.name", f"expected {expected}, as the file or folder is called"
                ),
            )
