"""`pressluft token`: the bearer tokens with which programs use the REST facade."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated

import typer

from api.tokens import TokenFile
from reconciler.cli.common import (
    EXIT_USAGE,
    ConfigOption,
    JsonOption,
    err,
    explained,
    out,
    print_json,
    print_table,
    stop,
)
from reconciler.settings import load_settings
from schemas.model import NAME_EXPECTED, NAME_PATTERN, format_timestamp

app = typer.Typer(help="Bearer tokens for programs.", no_args_is_help=True, rich_markup_mode=None)
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Who uses it; becomes the actor.")]


def open_tokens(config: ConfigOption) -> TokenFile:
    """Open the file of tokens that the settings name."""
    return TokenFile(load_settings(config).token_file)


def check_name(name: str) -> str:
    """Take a name as it is used for sites."""
    if not re.fullmatch(NAME_PATTERN, name):
        stop(f"{name!r}: expected {NAME_EXPECTED}", code=EXIT_USAGE)
    return name


@app.command("create")
@explained
def create(
    name: NameArgument,
    site: Annotated[list[str] | None, typer.Option(help="Only this site; repeatable. Default: all.")] = None,
    write: Annotated[bool, typer.Option("--write", help="May ask for jobs, not only read.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Make a token and print it; it is never shown again.

    Example: pressluft token create ci --site acme --write
    """
    sites = [check_name(item) for item in site or []]
    token = open_tokens(config).create(check_name(name), sites=sites, may_write=write, now=datetime.now(UTC))
    if as_json:
        print_json({"name": name, "token": token, "sites": sites, "may_write": write})
        return
    err.print("keep it now; only its hash is stored:", markup=False)
    out.print(token, markup=False)


@app.command("list")
@explained
def show(as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """List tokens with what they may do; never the tokens themselves.

    Example: pressluft token list
    """
    entries = open_tokens(config).list_entries()
    if as_json:
        print_json([entry.model_dump(mode="json", exclude={"sha256"}) for entry in entries])
        return
    print_table(
        ("NAME", "SITES", "MAY", "CREATED"),
        (
            (
                entry.name,
                ", ".join(entry.sites) or "all",
                "write" if entry.may_write else "read",
                format_timestamp(entry.created_at),
            )
            for entry in entries
        ),
    )


@app.command("revoke")
@explained
def revoke(name: NameArgument, config: ConfigOption = None) -> None:
    """Make a token worth nothing, at once and everywhere the file is used.

    Example: pressluft token revoke ci
    """
    open_tokens(config).revoke(name)
    out.print(f"token {name} is revoked", markup=False)
