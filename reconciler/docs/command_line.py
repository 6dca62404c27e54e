"""The generated part of `docs/reference/command-line.md`: every command with its arguments and options."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Final, get_type_hints

import typer
from typer.core import TyperArgument, TyperGroup, TyperOption

from reconciler.cli.main import app
from reconciler.docs.page import code, make_table

PROGRAM: Final = "pressluft"
EXAMPLE: Final = "Example: "
Command = typer.core.TyperCommand


def make_parts() -> Mapping[str, str]:
    """Make one section for each command, in the order of `pressluft --help`."""
    sections = [make_section(name, command) for name, command in find_commands().items()]
    return {"commands": "\n\n".join(sections)}


def find_commands() -> Mapping[str, Command]:
    """Find all commands by name; one of a group is named with it, such as `token create`."""
    return dict(list_commands(typer.main.get_command(app)))


def list_commands(group: object, *, prefix: str = "") -> Iterator[tuple[str, Command]]:
    """List the commands of a group and of the groups in it."""
    for name, command in group.commands.items() if isinstance(group, TyperGroup) else ():
        if isinstance(command, Command):
            yield f"{prefix}{name}", command
        else:
            yield from list_commands(command, prefix=f"{prefix}{name} ")


def find_choices(command: Command) -> Mapping[str, str]:
    """Find the parameters of a command that take one of a few words, and the words."""
    hints = get_type_hints(inspect.unwrap(command.callback)) if command.callback else {}
    return {
        parameter: " or ".join(code(word) for word in hint)
        for parameter, hint in hints.items()
        if isinstance(hint, type) and issubclass(hint, StrEnum)
    }


def make_section(name: str, command: Command) -> str:
    """Describe one command: what it is for, how it is called, its arguments and options, an example."""
    text, _, example = (command.help or "").partition(EXAMPLE)
    parts = [f"### {name}", " ".join(text.split()), f"```\n{make_usage(name, command)}\n```"]
    rows = list(make_rows(command, find_choices(command)))
    if rows:
        parts.append(make_table(("argument or option", "default", "meaning"), rows))
    if example:
        parts.append(f"```console\n$ {' '.join(example.split())}\n```")
    return "\n\n".join(parts)


def make_usage(name: str, command: Command) -> str:
    """Write how a command is called, its arguments by their names."""
    arguments = [find_metavar(param) for param in command.params if isinstance(param, TyperArgument)]
    options = ["[OPTIONS]"] if any(isinstance(param, TyperOption) for param in command.params) else []
    return " ".join([PROGRAM, name, *options, *arguments])


def find_metavar(argument: TyperArgument) -> str:
    """Return the name under which an argument is shown; one that may be left out stands in brackets."""
    shown = argument.metavar or (argument.name or "").upper()
    return shown if argument.required or shown.startswith("[") else f"[{shown}]"


def make_rows(command: Command, choices: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Make a row for each argument and option."""
    for param in command.params:
        if isinstance(param, TyperArgument):
            yield code(find_metavar(param)), "required" if param.required else "", param.help or ""
        elif isinstance(param, TyperOption):
            names = ", ".join(code(name) for name in (*param.opts, *param.secondary_opts))
            yield (
                names,
                code(format_default(param.default)),
                describe(param, choices.get(param.name or "", "")),
            )


def describe(option: TyperOption, choices: str) -> str:
    """Say what an option does, what it takes where that is one of a few words, and which variable sets it."""
    variable = f"Also `{option.envvar}`." if isinstance(option.envvar, str) else ""
    return " ".join(part for part in (f"{choices}." if choices else "", option.help, variable) if part)


def format_default(value: object) -> str:
    """Write a default as it would be typed; none for what is off or absent unless given."""
    return "" if value is None or value is False or callable(value) else str(value)
