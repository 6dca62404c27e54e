"""From pydantic's errors to problems with a place, a field and the words for what was expected."""

from collections.abc import Callable, Iterator
from difflib import get_close_matches
from typing import Final, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from schemas.model import Model
from schemas.syntax import START, Fields, Items, Leaf, Mark, Problem, Tree

Location = tuple[int | str, ...]

MOST_PROBLEMS: Final = 50
"""A person corrects no more at once, and nobody can keep a pass busy with mistakes."""

PLAIN_EXPECTATIONS: Final = {
    "missing": "expected this field, which is required",
    "string_type": "expected a string",
    "model_type": "expected a mapping ({} for an empty one)",
    "dict_type": "expected a mapping ({} for an empty one)",
    "tuple_type": "expected a list ([] for an empty one)",
}


def find_problems(
    error: ValidationError,
    *,
    root: Fields,
    model: type[Model],
    translate: Callable[[Location], Location] = lambda location: location,
) -> Iterator[Problem]:
    """Find the place and the words for each error (but not endlessly many) of validating `root` as `model`.

    `translate` turns a location in the model into one in the file, where the two differ.
    """
    for detail in error.errors(include_url=False, include_input=False)[:MOST_PROBLEMS]:
        location = translate(detail["loc"])
        is_about_key = detail["type"] == "extra_forbidden"
        mark = find_key_mark(root, location) if is_about_key else find_value_mark(root, location)
        yield Problem(mark, format_field(location), describe(detail, model=model))


def describe(detail: ErrorDetails, *, model: type[Model]) -> str:
    """Say in one sentence what was expected."""
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "expectation":
        return detail["msg"]
    if kind == "extra_forbidden":
        return describe_unknown(detail["loc"], model=model)
    if kind in {"enum", "literal_error"}:
        return "expected " + str(context["expected"]).replace("'", "")
    if kind in PLAIN_EXPECTATIONS:
        return PLAIN_EXPECTATIONS[kind]
    for relation, words in (("gt", "more than"), ("ge", "at least"), ("lt", "less than"), ("le", "at most")):
        if relation in context:
            return f"expected {words} {context[relation]}"
    return "expected " + detail["msg"].removeprefix("Input should be ").removeprefix("Value should have ")


def describe_unknown(location: Location, *, model: type[Model]) -> str:
    """Name the known field that was probably meant, else all of them."""
    owner = find_model(model, location[:-1])
    known = [field.alias or name for name, field in owner.model_fields.items()] if owner else []
    close = get_close_matches(str(location[-1]), known, n=1, cutoff=0.6)
    if close:
        return f"unknown field; did you mean {close[0]}?"
    return f"unknown field; known are {', '.join(known)}" if known else "unknown field"


def find_model(model: type[Model], location: Location) -> type[Model] | None:
    """Find the model that a location's value belongs to."""
    for part in location:
        if isinstance(part, int):
            continue
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        inner = next(find_models(fields[part].annotation), None) if part in fields else None
        if inner is None:
            return None
        model = inner
    return model


def find_models(annotation: object) -> Iterator[type[Model]]:
    """Find the models inside of a type such as `tuple[FreezeWindow, ...] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, Model):
        yield annotation
    for argument in get_args(annotation):
        yield from find_models(argument)


def format_field(location: Location) -> str:
    """Write a location as `spec.protect.paths[1]`."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return "".join(parts).removeprefix(".")


def find_key_mark(root: Fields, location: Location) -> Mark:
    """Find where the field itself stands, or the nearest one above it that is in the file."""
    return find_marks(root, location)[0]


def find_value_mark(root: Fields, location: Location) -> Mark:
    """Find where the value stands; for an absent or empty one, where its field or the one above stands."""
    key, value = find_marks(root, location)
    return value or key


def find_marks(root: Fields, location: Location) -> tuple[Mark, Mark | None]:
    """Walk to a location: the mark of the last key there is, and of its value if the walk got to a value."""
    node: Tree = root
    key = START
    for part in location:
        if isinstance(node, Fields) and part in node.items:
            key, node = node.marks[str(part)], node.items[str(part)]
        elif isinstance(node, Items) and isinstance(part, int) and part < len(node.items):
            node = node.items[part]
            key = node.mark
        else:
            return key, None
    is_empty = isinstance(node, Leaf) and node.value is None
    return key, None if is_empty else node.mark
