"""`pressluft schema [KIND]`: JSON Schemas for editors."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from reconciler.cli.common import EXIT_USAGE, explained, out, stop
from schemas.json_schema import make_json_schemas


@explained
def schema(
    kind: Annotated[str, typer.Argument(help="One kind, such as promotion; without it, their list.")] = "",
) -> None:
    """Print the JSON Schema of one kind of document, or list the kinds.

    Example: pressluft schema promotion
    """
    schemas = {name.removesuffix(".json"): content for name, content in make_json_schemas().items()}
    if not kind:
        for name in sorted(schemas):
            out.print(name, markup=False)
        return
    if kind not in schemas:
        stop(f"there is no kind {kind!r} (there are: {', '.join(sorted(schemas))})", code=EXIT_USAGE)
    out.print(json.dumps(schemas[kind], indent=2), markup=False)
