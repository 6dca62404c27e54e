"""Writing documents: canonical YAML that people can read and the strict reader takes back."""

from typing import Final, cast

import yaml

from schemas.intent import Asked, Scheduled
from schemas.model import API_VERSION, Model
from schemas.status import Record

Json = str | int | float | bool | None | list["Json"] | dict[str, "Json"]

HEADER: Final = ("apiVersion", "kind", "metadata", "spec")
ASIDE: Final = frozenset(Asked.model_fields) | frozenset(Scheduled.model_fields)
"""What every intent may say; it is written after what the intent is about."""


class DocumentDumper(yaml.CSafeDumper):
    """Writes plain block style without anchors."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - PyYAML's signature
        """Write equal values again instead of an alias."""
        return True


def represent_text(dumper: DocumentDumper, text: str) -> yaml.ScalarNode:
    """Write text of several lines as a literal block; libyaml falls back to quotes where it must."""
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


DocumentDumper.add_representer(str, represent_text)


def dump(document: Model) -> bytes:
    """Write a document or record as YAML that reads back as the same value.

    Nulls and empty lists are left out where they are the default; the order of fields is the models'.
    """
    content = make_record_content(document) if isinstance(document, Record) else make_content(document)
    ordered = {name: content[name] for name in HEADER}
    return yaml.dump(
        ordered, Dumper=DocumentDumper, sort_keys=False, allow_unicode=True, width=4096, encoding="utf-8"
    )


def make_content(document: Model) -> dict[str, Json]:
    """Make the plain data of a document's file."""
    content = {"spec": {}, **make_plain(document)}
    spec = cast("dict[str, Json]", content["spec"])
    own = {name: value for name, value in spec.items() if name not in ASIDE}
    return {**content, "spec": {**own, **spec}}


def make_record_content(record: Record) -> dict[str, Json]:
    """Make the plain data of a record's file: `id` and `name` go under `metadata`, all else under `spec`."""
    plain = make_plain(record)
    spec = {name: value for name, value in plain.items() if name not in {"id", "name"}}
    metadata: Json = {"name": record.record_name, "id": str(record.id)}
    return {"apiVersion": API_VERSION, "kind": type(record).kind, "metadata": metadata, "spec": spec}


def make_plain(model: Model) -> dict[str, Json]:
    """Make JSON data of a model, without what is empty and says no more than the default."""
    full = model.model_dump(mode="json", by_alias=True, exclude_none=True)
    telling = model.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return cast("dict[str, Json]", drop_empty(full, telling))


def drop_empty(full: Json, telling: Json) -> Json:
    """Drop the empty lists and mappings of `full` that `telling`, which has no defaults, has not either."""
    if not isinstance(full, dict):
        return full
    counterpart = telling if isinstance(telling, dict) else {}
    kept = {name: drop_empty(value, counterpart.get(name)) for name, value in full.items()}
    return {name: value for name, value in kept.items() if value not in ({}, []) or name in counterpart}
