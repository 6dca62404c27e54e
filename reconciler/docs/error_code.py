"""The generated part of `docs/reference/error-codes.md`: what happens by itself after each code."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Mapping
from typing import Final

from reconciler.core import gate
from reconciler.core.ansible_result import classify_rc
from reconciler.docs.page import code, make_table
from reconciler.settings import find_bundled
from schemas.state import ErrorCode

COLLECTION: Final = "collections/ansible_collections/pressluft/wordpress/plugins"
EXIT_CODES: Final = (1, 2, 4, 5, 250, None)
"""Every exit code of Ansible that has a meaning of its own, and none of them."""


def make_parts() -> Mapping[str, str]:
    """Make the table of codes, in the order of the contract."""
    head = ("code", "tried again by itself", "stays queued under `wait`")
    return {"codes": make_table(head, make_rows())}


def make_rows() -> Iterator[tuple[str, str, str]]:
    """Make a row for each code."""
    gates, node = find_gate_codes(), find_node_codes()
    by_ansible = find_ansible_codes()
    for item in ErrorCode:
        retried = describe_retry(by_ansible=by_ansible.get(item), by_node=node.get(item.value))
        yield f"[{code(item)}](#{item.lower()})", retried, "yes" if item.value in gates else "no"


def describe_retry(*, by_ansible: bool | None, by_node: bool | None) -> str:
    """Say whether a job that met a code is tried again.

    `by_ansible`: what Ansible's exit code alone says; `by_node`: whether a module on the node ever says "again";
    `None` where that side never speaks of the code.
    """
    if by_ansible:
        return "yes" if by_node is None else "yes, unless the node says no"
    return "if the node says so" if by_node else "no"


def find_ansible_codes() -> Mapping[ErrorCode, bool]:
    """Find the codes that come from how `ansible-playbook` ended, and whether each is tried again."""
    return dict([*(classify_rc(rc) for rc in EXIT_CODES), classify_rc(None, timed_out=True)])


def find_gate_codes() -> frozenset[str]:
    """Find the codes that `core/gate.py` gives as a reason to wait."""
    return frozenset(
        keyword.value.attr
        for call in find_calls(inspect.getsource(gate), name="Blocked")
        for keyword in call.keywords
        if keyword.arg == "code" and isinstance(keyword.value, ast.Attribute)
    )


def find_node_codes() -> Mapping[str, bool]:
    """Find the codes that the collection's modules raise, and whether any of them says that a retry may help."""
    found: dict[str, bool] = {}
    for path in sorted((find_bundled("ansible") / COLLECTION).rglob("*.py")):
        for name, retries in find_refusals(path.read_text(encoding="utf-8")):
            found[name] = found.get(name, False) or retries
    return found


def find_refusals(source: str) -> Iterator[tuple[str, bool]]:
    """Find each call that begins with one of our codes, and whether it may say `retry`."""
    for call in find_calls(source):
        first = call.args[0] if call.args else None
        if isinstance(first, ast.Constant) and first.value in set(ErrorCode):
            retry = next((item.value for item in call.keywords if item.arg == "retry"), None)
            is_never = retry is None or (isinstance(retry, ast.Constant) and retry.value is False)
            yield str(first.value), not is_never


def find_calls(source: str, *, name: str | None = None) -> Iterator[ast.Call]:
    """Find the calls in a source, or only those of a function by its bare name."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and (
            name is None or (isinstance(node.func, ast.Name) and node.func.id == name)
        ):
            yield node
