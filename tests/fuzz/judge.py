"""What must hold of every document, however broken: it is read or refused, by the reader as by the JSON Schema."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar

import yaml
from jsonschema import Draft202012Validator

from reconciler.core.planner import make_plan
from reconciler.core.variables import NodeFolders
from reconciler.core.world import StatusView, World
from reconciler.observe import Observer
from schemas.document import MODELS, DocumentInvalid, read_document
from schemas.json_schema import make_json_schema
from schemas.syntax import MOST_BYTES, read_tree
from tests.fakes import FakeFleetRepo
from tests.story import START, make_fleet_files
from tests.unit.schemas.test_generated import EditorLoader

NO_FOLDERS = NodeFolders("/state", "/etc/pressluft")
UNTOLD = re.compile(
    r"as the file or folder is called|expected no source, since production|expected a rule such as|"
    r"expected an environment other than the source|expected the environment that this|"
    r"expected a duration of more than|"
    r"expected spec.source to be another environment|an IANA time zone"
)
"""Rules that a JSON Schema has no words for: they compare fields, or look something up."""

LEADING_ZERO = re.compile(rb"[:,{\[ ][-+]?0[0-9]")
"""A JSON Schema sees a number where somebody wrote `010`, which is no number to us."""
SIGNED = re.compile(rb"[:,{\[ ][-+][0-9.]")
"""A JSON Schema sees the number zero where somebody wrote `-0` for a name."""


class AsEditorsRead(yaml.CSafeLoader):
    """The same scalars by the same parser as ours, for the Python one stumbles over `?` in plain text."""

    yaml_implicit_resolvers: ClassVar[dict[str, object]] = EditorLoader.yaml_implicit_resolvers


@dataclass
class Verdict:
    """What came of one document. `broken` names what must never happen."""

    accepted: bool
    seconds: float = 0.0
    broken: list[str] = field(default_factory=list)


def judge(path: str, data: bytes) -> Verdict:
    """Read a document as the daemon does, and hold its answer against the JSON Schema's."""
    began = time.thread_time()
    refusal = find_refusal(path, data)
    verdict = Verdict(refusal is None, time.thread_time() - began)
    takes = does_schema_take(path, data)
    if refusal is None and not takes:
        verdict.broken.append("read, and refused by the JSON Schema")
    if refusal is not None and takes and is_well_formed(path, data) and not is_untold(refusal, data):
        verdict.broken.append(f"taken by the JSON Schema, and refused: {refusal}")
    verdict.broken += find_bugs(path, data)
    return verdict


def find_refusal(path: str, data: bytes) -> str | None:
    """Say why a document is refused."""
    try:
        read_document(data, path=path)
    except DocumentInvalid as error:
        return str(error)
    return None


def is_untold(refusal: str, data: bytes) -> bool:
    """Whether a refusal is of a kind that no JSON Schema can tell."""
    return (
        UNTOLD.search(refusal) is not None
        or ("expected a name of" in refusal and bool(SIGNED.search(data)))
        or ("expected a whole number" in refusal and bool(LEADING_ZERO.search(data)))
    )


def is_well_formed(path: str, data: bytes) -> bool:
    """Whether nothing but the meaning is in question: JSON Schema does not see duplicate keys or anchors."""
    try:
        read_tree(data, path=path, most_bytes=MOST_BYTES)
    except DocumentInvalid:
        return False
    return True


def does_schema_take(path: str, data: bytes) -> bool:
    """Whether an editor with our JSON Schema would say nothing."""
    try:
        value: Any = yaml.load(data, Loader=AsEditorsRead)
    except (yaml.YAMLError, ValueError, RecursionError):
        return False
    kind = value.get("kind") if isinstance(value, Mapping) else None
    return isinstance(kind, str) and kind in list_kinds(path) and make_validator(kind).is_valid(value)


@lru_cache
def make_validator(kind: str) -> Draft202012Validator:
    """Make the validator of a kind."""
    return Draft202012Validator(make_json_schema(kind))


@lru_cache
def list_kinds(path: str) -> frozenset[str]:
    """List the kinds that may stand at a path; intents may be of any of theirs."""
    folders = {
        "intents": {"Promotion", "DriftCheck", "Backup", "Refresh", "Rollback", "Restore", "Reset", "Cancel"}
    }
    plain = {"pressluft.yaml": "Fleet", "nodes": "Node", "site.yaml": "Site", "environments": "Environment"}
    parts = path.split("/")
    if parts[0] in folders:
        return frozenset(folders[parts[0]])
    return frozenset(kind for part, kind in plain.items() if part in parts and kind in MODELS)


def find_bugs(path: str, data: bytes) -> list[str]:
    """Plan a pass over a fleet that holds the document: it may be refused there, and stops nothing else."""
    repo = FakeFleetRepo()
    files = {name: text.encode() for name, text in make_fleet_files().items()}
    commit = repo.commit_as_person({**files, path: data})
    observer = Observer(repo)
    world = World(
        observer.read_fleet(commit), StatusView(None), outcomes={}, now=START, worker="worker-1", max_jobs=4
    )
    return list(make_plan(world, {}, folders=NO_FOLDERS).bugs)
