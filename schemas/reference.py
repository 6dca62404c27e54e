"""The parts of `docs/reference` that are made from the models and the presets."""

from collections.abc import Iterable, Iterator
from typing import Final, cast

from schemas.document import FLEET_KINDS, INTENT_KINDS, MODELS
from schemas.json_schema import Json, Schema, make_json_schema
from schemas.model import DURATION_JSON_PATTERN, NAME_PATTERN
from schemas.preset import (
    COMMERCE_TABLES,
    CONTENT_TABLES,
    PRESERVED_FILES,
    PRESERVED_OPTIONS,
    PRESERVED_TABLES,
    UPLOADS,
    VOLATILE_FILES,
    VOLATILE_OPTIONS,
)

BEGIN_FIELDS: Final = "<!-- fields: made by `python -m schemas`, do not edit -->"
END_FIELDS: Final = "<!-- end of fields -->"

PRESET_PAGE: Final = """\
# Presets: what a promotion may touch

Made from `schemas/preset.py` by `python -m schemas`; do not edit.

An environment names a preset in `spec.promotion_preset` and adds to it with `spec.protect`. What counts between a
source and a target is the **union** of both environments' presets and `protect`; nothing takes protection away.
Tables are named without the environment's `table_prefix`. In a pattern `*` stands for any run of characters and
nothing else is special; upper and lower case differ. A path stands for itself and for all that is below it.

## Protected

Compared by the drift gate, and never overwritten.

Both presets, paths: {uploads}

Both presets, tables: {content_tables}

`commerce-protect` also: {commerce_tables}

## Preserved

Never overwritten; changes are reported and do not gate, since these change with every visit. What is protected is
not preserved as well.

Both presets, tables: {preserved_tables}

`content-protect` also: every table that `commerce-protect` protects.

Rows of `options`: {preserved_options}

Files: {preserved_files}

## Mergeable

Everything else, three ways against the baseline: each table, each row of `options`, and each component of the code
(core, each plugin, each theme, each other file).

| changed since the baseline on | the promotion |
|---|---|
| the source only | takes it from the source |
| production only | keeps production's |
| neither | leaves it as it is |
| both, to different things | is blocked with `OVERWRITE_BLOCKED`; under `warn` takes the source's and lists it |
| new on the source | creates it |
| only on production, not in the baseline | keeps it |
| deleted on the source, unchanged on production | removes files, keeps tables |

## Volatile

Transients, sessions, caches, logs, locks and counters: they never make a conflict and are no part of a source's
fingerprint.

Rows of `options`: {volatile_options}

Files: {volatile_files}
"""


def make_preset_page() -> str:
    """Make `docs/reference/presets.md`."""
    return PRESET_PAGE.format(
        uploads=list_names([UPLOADS]),
        content_tables=list_names(CONTENT_TABLES),
        commerce_tables=list_names(COMMERCE_TABLES),
        preserved_tables=list_names(PRESERVED_TABLES),
        preserved_options=list_names(PRESERVED_OPTIONS),
        preserved_files=list_names(PRESERVED_FILES),
        volatile_options=list_names(VOLATILE_OPTIONS),
        volatile_files=list_names(VOLATILE_FILES),
    )


def list_names(names: Iterable[str]) -> str:
    """Write names as code, in a row."""
    return ", ".join(f"`{name}`" for name in names) + "."


def replace_fields(page: str) -> str:
    """Put the current tables between the markers of `docs/reference/fleet-repo.md`."""
    before, rest = page.split(BEGIN_FIELDS)
    after = rest.split(END_FIELDS)[1]
    return f"{before}{BEGIN_FIELDS}\n\n{make_field_tables()}\n{END_FIELDS}{after}"


def make_field_tables() -> str:
    """Make one table of fields for each kind that people write."""
    ordered = [kind for kind in MODELS if kind in FLEET_KINDS or kind in INTENT_KINDS]
    return "\n".join(make_field_table(kind) for kind in ordered)


def make_field_table(kind: str) -> str:
    """Make the table of one kind's `spec`."""
    schema = make_json_schema(kind)
    definitions = cast("Schema", schema["$defs"])
    spec = resolve(cast("Schema", schema["properties"])["spec"], definitions)
    rows = [f"| {' | '.join(row)} |" for row in find_rows(spec, definitions, prefix="")]
    head = ["| field of `spec` | takes | default | meaning |", "|---|---|---|---|"]
    return "\n".join([f"### {kind}", "", str(schema["description"]), "", *head, *rows, ""])


def find_rows(spec: Schema, definitions: Schema, *, prefix: str) -> Iterator[tuple[str, str, str, str]]:
    """Find the rows of a mapping's fields, those of mappings inside of it included."""
    required = cast("list[Json]", spec.get("required", []))
    for name, raw in cast("dict[str, Schema]", spec["properties"]).items():
        field = resolve(raw, definitions)
        text = str(field.get("description", raw.get("description", "")))
        if "properties" in field:
            yield from find_rows(field, definitions, prefix=f"{prefix}{name}.")
            continue
        default = "required" if name in required else format_default(raw.get("default"))
        yield f"`{prefix}{name}`", describe_type(field, definitions), default, text.replace("\n", " ")
        item = resolve(cast("Schema", field.get("items", {})), definitions)
        if "properties" in item:
            yield from find_rows(item, definitions, prefix=f"{prefix}{name}[].")


def resolve(schema: Json, definitions: Schema) -> Schema:
    """Follow a `$ref`; what stands beside it wins."""
    mapping = cast("Schema", schema)
    if "$ref" not in mapping:
        return mapping
    target = cast("Schema", definitions[str(mapping["$ref"]).rsplit("/", 1)[-1]])
    return {**target, **{name: value for name, value in mapping.items() if name != "$ref"}}


def describe_type(schema: Schema, definitions: Schema) -> str:
    """Say in a word or two what a field takes."""
    schema = resolve(schema, definitions)
    if "anyOf" in schema:
        options = [cast("Schema", option) for option in cast("list[Json]", schema["anyOf"])]
        return ", ".join(
            describe_type(option, definitions) for option in options if option.get("type") != "null"
        )
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in cast("list[Json]", schema["enum"]))
    if "const" in schema:
        return f"`{schema['const']}`"
    if schema.get("type") == "array":
        return f"list of {describe_type(cast('Schema', schema['items']), definitions)}"
    return describe_scalar(schema)


def describe_scalar(schema: Schema) -> str:
    """Say in a word what a single value is."""
    words = {"boolean": "true or false", "integer": "whole number", "object": "mapping"}
    if schema.get("pattern") == DURATION_JSON_PATTERN:
        return "duration"
    if schema.get("pattern") == f"^(?:{NAME_PATTERN})$":
        return "name"
    if "format" in schema:
        return {"uuid": "UUID", "date-time": "time"}[str(schema["format"])]
    return words.get(str(schema["type"]), "text")


def format_default(value: Json) -> str:
    """Write a default as it would stand in the file."""
    if value is None:
        return ""
    if isinstance(value, list):
        return f"`[{', '.join(str(item) for item in value)}]`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"
