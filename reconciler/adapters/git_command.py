"""The git command line in a clean room: nothing of the user's configuration, no prompts, time limits."""

from __future__ import annotations

import base64
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from reconciler.adapters.process import Finished, ProgramTimedOut, read_start, run_program
from reconciler.errors import RepoUnusable, Transient

TIMEOUT = 60.0
"""Seconds for one exchange with a remote; ssh itself gives up earlier on a silent one."""

_CONFIG = """\
[safe]
\tdirectory = *
[gc]
\tautoDetach = false
[maintenance]
\tautoDetach = false
[http]
\tlowSpeedLimit = 100
\tlowSpeedTime = 20
\tfollowRedirects = false
"""
# The operator named this one repository in the settings, which is the consent `safe.directory` asks for. Nothing
# may run on in the background after we return, and credentials must not follow a redirect.

_KEPT = ("PATH", "SSH_AUTH_SOCK", "GIT_SSL_CAINFO", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy")
_FIXED = {
    "LC_ALL": "C",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "false",
    "SSH_ASKPASS_REQUIRE": "never",
    "GIT_ALLOW_PROTOCOL": "file:ssh:https",
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_SSH_VARIANT": "ssh",
}


class Secret(Protocol):
    """A token that does not print itself, such as pydantic's `SecretStr`."""

    def get_secret_value(self) -> str:
        """Return the token."""


@dataclass(frozen=True, slots=True)
class Access:
    """How a remote repository is reached. Without `ssh_key` the agent's keys are used."""

    ssh_key: Path | None = None
    known_hosts: Path | None = None
    token: Secret | None = None


@dataclass(frozen=True, slots=True)
class Git:
    """Runs git on one repository. `home` is a private folder that holds our git configuration."""

    git_dir: Path
    home: Path
    access: Access

    def run(self, *words: str, timeout: float = TIMEOUT) -> Finished:
        """Run `git <words>`. Raises `Transient` when it does not end in time or cannot be started for now."""
        try:
            return run_program(
                ["git", *words], environment=self._make_environment(), timeout=timeout, folder=self.git_dir
            )
        except ProgramTimedOut as error:
            raise Transient(str(error)) from error
        except FileNotFoundError as error:
            raise RepoUnusable("git is not installed, or the repository's folder is gone") from error
        except OSError as error:
            raise Transient(f"git cannot be started: {error}") from error

    def read_blob_start(self, oid: str, limit: int) -> bytes:
        """Return the first `limit` bytes of a blob that is too big to be loaded."""
        command = ["git", "cat-file", "blob", oid]
        return read_start(command, environment=self._make_environment(), limit=limit)

    def _make_environment(self) -> Mapping[str, str]:
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        own = {
            "HOME": str(self.home),
            "GIT_DIR": str(self.git_dir),
            "GIT_CONFIG_GLOBAL": str(self.home / "gitconfig"),
            "GIT_SSH_COMMAND": shlex.join(make_ssh_command(self.access)),
        }
        return {"PATH": os.defpath, **kept, **_FIXED, **own, **_make_token_header(self.access.token)}


def write_git_home(home: Path) -> None:
    """Create the folder that stands in for the user's home, with our configuration and nothing else."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    (home / "gitconfig").write_text(_CONFIG)


def make_ssh_command(access: Access) -> list[str]:
    """Return ssh with fixed options: no user configuration, known hosts only, no prompts, no silence."""
    options = {
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "ConnectTimeout": "10",
        "ServerAliveInterval": "5",
        "ServerAliveCountMax": "3",
        "ForwardAgent": "no",
        "PermitLocalCommand": "no",
    }
    if access.known_hosts:
        options |= {"UserKnownHostsFile": f'"{access.known_hosts}"', "GlobalKnownHostsFile": "/dev/null"}
    if access.ssh_key:
        options["IdentitiesOnly"] = "yes"
    words = ["ssh", "-F", "none"]
    for name, value in options.items():
        words += ["-o", f"{name}={value}"]
    return [*words, "-i", str(access.ssh_key)] if access.ssh_key else words


def _make_token_header(token: Secret | None) -> Mapping[str, str]:
    """Hand the token over in the environment, where `ps` does not show it."""
    if token is None:
        return {}
    # GitHub, GitLab, Gitea and Bitbucket all take a token as the password; the name is free or this one.
    pair = base64.b64encode(f"x-access-token:{token.get_secret_value()}".encode()).decode()
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "http.extraHeader",
        "GIT_CONFIG_VALUE_0": f"Authorization: Basic {pair}",
    }
