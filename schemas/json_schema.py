"""JSON Schemas for editors, one for each kind: they describe a document as a YAML 1.2 parser hands it on."""

import json
import re
from collections.abc import Mapping
from typing import Final, cast

from schemas.document import MODELS, RecordFile
from schemas.model import DURATION_JSON_PATTERN, Model, format_duration, parse_duration
from schemas.output import HEADER
from schemas.status import Record

Json = str | int | float | bool | None | list["Json"] | dict[str, "Json"]
Schema = dict[str, Json]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
SCALARS_OF_TYPE: Final[Mapping[str, tuple[str, ...]]] = {
    "number": ("3.10",),
    "integer": ("1",),
    "boolean": ("true", "false"),
}


def make_json_schemas() -> dict[str, Schema]:
    """Make all schemas by the name of their file, such as `drift-check.json`."""
    return {f"{make_file_stem(kind)}.json": make_json_schema(kind) for kind in sorted(MODELS)}


def make_file_stem(kind: str) -> str:
    """Write `DriftCheck` as `drift-check`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", kind).lower()


def make_json_schema(kind: str) -> Schema:
    """Make the schema of one kind of document."""
    model = MODELS[kind]
    schema = make_record_schema(model) if issubclass(model, Record) else make_schema(model)
    schema["required"] = list(HEADER)
    properties = cast("dict[str, Json]", schema["properties"])
    schema["properties"] = {name: properties[name] for name in HEADER}
    return {"$schema": DIALECT, "title": kind, **cast("Schema", loosen(schema))}


def make_schema(model: type[Model]) -> Schema:
    """Make pydantic's schema of a model, without the titles that only repeat the names."""
    return cast("Schema", drop_titles(cast("Json", model.model_json_schema(by_alias=True))))


def make_record_schema(model: type[Model]) -> Schema:
    """Make the schema of a record's file out of those of its frame and of the flat record."""
    frame, spec = make_schema(RecordFile), make_schema(model)
    definitions = {
        **cast("Schema", frame.pop("$defs", {})),
        **cast("Schema", spec.pop("$defs", {})),
    }
    for name in ("id", "name"):
        cast("Schema", spec["properties"]).pop(name, None)
    spec["required"] = [name for name in cast("list[Json]", spec["required"]) if name not in {"id", "name"}]
    properties = cast("Schema", frame["properties"])
    properties |= {"kind": {"const": model.__name__}, "spec": spec}
    return {**frame, "description": model.__doc__, "$defs": definitions}


def drop_titles(schema: Json) -> Json:
    """Drop each `title` that is a keyword (a text) and not a property of that name."""
    if isinstance(schema, list):
        return [drop_titles(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: drop_titles(item)
        for name, item in schema.items()
        if name != "title" or not isinstance(item, str)
    }


def loosen(schema: Json) -> Json:
    """Let a text field take the number or truth value that an editor sees in `name: 3.10` or `reason: true`."""
    if isinstance(schema, list):
        return [loosen(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    loosened = {name: loosen(item) for name, item in schema.items()}
    if loosened.get("pattern") == DURATION_JSON_PATTERN and "default" in loosened:
        loosened["default"] = format_duration(parse_duration(loosened["default"]))
    if loosened.get("type") == "string" and not {"enum", "const", "format"} & loosened.keys():
        pattern = str(loosened.get("pattern", ""))
        others = [
            kind for kind, texts in SCALARS_OF_TYPE.items() if any(re.search(pattern, text) for text in texts)
        ]
        others = [kind for kind in others if kind != "integer" or "number" not in others]
        loosened["type"] = ["string", *others] if others else "string"
    return loosened


def format_json(schema: Schema) -> str:
    """Write a schema as it stands in its file."""
    return json.dumps(schema, indent=2, ensure_ascii=True) + "\n"
