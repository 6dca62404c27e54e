"""The generated part of `docs/reference/settings.md`, from the fields of `reconciler.settings` and their docstrings."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Final

from reconciler.docs.page import code, make_table
from reconciler.settings import Settings

HOST_NAME: Final = "worker"
"""Its default is this machine's name, which must not get into a page."""


def make_parts() -> Mapping[str, str]:
    """Make the table of settings."""
    head = ("key", "environment variable", "default", "meaning")
    return {"settings": make_table(head, make_rows())}


def make_rows() -> Iterator[tuple[str, str, str, str]]:
    """Make a row for each setting, in the order of the class."""
    meanings = read_meanings()
    prefix = Settings.model_config.get("env_prefix", "")
    for name, field in Settings.model_fields.items():
        default = "the machine's name" if name == HOST_NAME else format_default(field.default)
        yield code(name), code(f"{prefix}{name.upper()}"), default, meanings[name]


def format_default(value: object) -> str:
    """Write a default as it would stand in the file."""
    return "" if value is None else code(str(value))


def read_meanings() -> Mapping[str, str]:
    """Read the docstring below each field of `Settings`. Raises `KeyError` later for one without."""
    (definition,) = ast.parse(inspect.getsource(Settings)).body
    body = definition.body if isinstance(definition, ast.ClassDef) else []
    return {
        field.target.id: " ".join(said.value.value.split())
        for field, said in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(said, ast.Expr)
        and isinstance(said.value, ast.Constant)
        and isinstance(said.value.value, str)
    }
