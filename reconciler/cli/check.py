"""`pressluft check [PATH]`: validate a fleet repo's files as they lie in a folder."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from reconciler.cli.common import EXIT_REFUSED, err, explained, out, stop
from reconciler.core.admission import find_job_id
from reconciler.core.party import Misfit, find_overlaps, find_parties
from reconciler.core.world import FleetView, IntentFile, SiteView
from reconciler.observe import DEFAULT_FLEET
from schemas.document import DocumentInvalid, PathKind, Problem, classify_path, find_place, read_document
from schemas.fleet import Environment, Fleet, Node, Site
from schemas.intent import Cancel
from schemas.model import Model
from schemas.syntax import START


class Format(StrEnum):
    """How problems are written."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"


@explained
def check(
    path: Annotated[Path, typer.Argument(help="The fleet repo's folder, or one file in it.")] = Path(),
    output: Annotated[Format, typer.Option("--format", help="How to write what is wrong.")] = Format.TEXT,
) -> None:
    """Validate files; exit 1 and name file, line, column and field of each problem.

    Example: pressluft check --format github .
    """
    if not path.exists():
        stop(f"{path} does not exist", code=2)
    root = find_root(path)
    documents, problems = read_all(root, path)
    problems += check_together(documents) if path.is_dir() else []
    for problem in problems:
        show(problem, output)
    if output is Format.TEXT and not problems:
        out.print(f"{len(documents)} files are valid", markup=False)
    if problems:
        err.print(f"{len(problems)} problems" if len(problems) > 1 else "1 problem", markup=False)
        raise typer.Exit(EXIT_REFUSED)


def find_root(path: Path) -> Path:
    """Find the fleet repo's top folder above a file: where `.git` or `pressluft.yaml` is."""
    start = path.resolve() if path.is_dir() else path.resolve().parent
    for folder in (start, *start.parents):
        if (folder / "pressluft.yaml").exists() or (folder / ".git").exists():
            return folder
    return start


def read_all(root: Path, path: Path) -> tuple[dict[str, Model], list[DocumentInvalid]]:
    """Read every file of the layout below `path`; returns documents and problems by relative path."""
    documents: dict[str, Model] = {}
    problems: list[DocumentInvalid] = []
    for file in list_files(path.resolve()):
        name = str(file.relative_to(root))
        if classify_path(name) in {PathKind.OTHER, PathKind.ENDED} and not path.is_file():
            continue
        if file.is_symlink():
            problems.append(DocumentInvalid(name, Problem(START, "", "expected a plain file, not a link")))
            continue
        try:
            documents[name] = read_document(file.read_bytes(), path=name)
        except DocumentInvalid as error:
            problems.append(error)
    return documents, problems


def list_files(path: Path) -> Iterator[Path]:
    """List the files below a folder in order, without `.git`."""
    if path.is_file():
        yield path
        return
    for folder, names, files in os.walk(path):
        names[:] = sorted(name for name in names if name != ".git")
        yield from (Path(folder) / file for file in sorted(files))


def check_together(documents: dict[str, Model]) -> list[DocumentInvalid]:
    """Check what only shows when all files are seen together: names that point nowhere, overlaps."""
    view = make_view(documents)
    problems = [place(view, a, reason) for a, _, reason in find_overlaps(view)]
    for file in view.intents:
        if file.intent is not None and not isinstance(file.intent, Cancel) and find_job_id(file, view):
            found = find_parties(file.intent, site=file.site, view=view)
            if isinstance(found, Misfit):
                problems.append(DocumentInvalid(file.path, Problem(START, "spec", found.message)))
    problems += [
        place(view, env, f"there is no node {env.spec.node!r} in nodes/")
        for site in view.sites.values()
        for env in site.environments.values()
        if env.spec.node not in view.nodes
    ]
    return problems


def place(view: FleetView, env: Environment, message: str) -> DocumentInvalid:
    """Make a problem of an environment's file."""
    site = next(site.name for site in view.sites.values() if env in site.environments.values())
    path = f"sites/{site}/environments/{env.metadata.name}.yaml"
    return DocumentInvalid(path, Problem(START, "spec", message))


def make_view(documents: dict[str, Model]) -> FleetView:
    """Put the documents together as the reconciler sees them."""
    environments: dict[str, dict[str, Environment]] = {}
    sites: dict[str, Site] = {}
    intents: list[IntentFile] = []
    for path, document in documents.items():
        spot = find_place(path)
        if isinstance(document, Environment) and spot.site:
            environments.setdefault(spot.site, {})[document.metadata.name] = document
        elif isinstance(document, Site):
            sites[document.metadata.name] = document
        elif spot.kind is PathKind.INTENT and spot.site:
            intents.append(IntentFile(path, spot.site, "0" * 40, document))  # type: ignore[arg-type] # by its place
    return FleetView(
        commit="",
        fleet=next((item for item in documents.values() if isinstance(item, Fleet)), DEFAULT_FLEET),
        nodes={item.metadata.name: item for item in documents.values() if isinstance(item, Node)},
        sites={
            name: SiteView(name, sites.get(name), environments.get(name, {}))
            for name in sorted({*sites, *environments})
        },
        intents=tuple(intents),
    )


def show(problem: DocumentInvalid, output: Format) -> None:
    """Write one problem."""
    if output is Format.TEXT:
        out.print(str(problem), markup=False)
        return
    fields = {
        "path": problem.path,
        "line": problem.line,
        "column": problem.column,
        "field": problem.field,
        "message": problem.expected,
    }
    if output is Format.JSON:
        out.print(json.dumps(fields), markup=False)
        return
    place_text = f"file={problem.path},line={problem.line},col={problem.column}"
    message = f"{problem.field}: {problem.expected}".replace("%", "%25").replace("\n", "%0A")
    out.print(f"::error {place_text}::{message}", markup=False)
