"""Settings of the daemon, the facade and the command line: environment variables `PRESSLUFT_*` or a TOML file."""

from __future__ import annotations

import socket
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from reconciler.errors import SettingsInvalid

CHECKOUT = Path(__file__).resolve().parent.parent
BUNDLE = Path(__file__).resolve().parent / "_bundle"


class Settings(BaseSettings):
    """Where things are on this machine. Nothing here is policy: policy is in the fleet repo."""

    model_config = SettingsConfigDict(env_prefix="PRESSLUFT_", extra="forbid", frozen=True)

    repo: str = "."
    """The fleet repo: a path or a URL (ssh, https)."""
    branch: str | None = None
    """Where people write; the repo's HEAD if absent."""
    status_branch: str | None = None
    """Where the reconciler writes; the same branch if absent."""
    state_dir: Path = Path("/var/lib/pressluft-controller")
    """The controller's own folder: mirror, runs, logs. Nothing in it is needed to recover."""
    worker: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,63}$")] = socket.gethostname() or "worker"
    """This daemon's name in `locked_by`; unique among the daemons of a fleet."""
    signing_key: Path | None = None
    """SSH private key that signs status commits; without one nobody can tell a forged status/ from a true one."""
    trusted_keys: Path | None = None
    """Public keys of all daemons of this fleet, as in ssh-keygen(1), ALLOWED SIGNERS; `signing_key` alone if absent."""
    trusted_from: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None = None
    """Commit whose status/ counts although no trusted key signed it: where a fleet without keys was given some."""
    ssh_key: Path | None = None
    """SSH private key for nodes and for a fleet repo over ssh."""
    known_hosts: Path | None = None
    """Host keys of nodes and git servers; unknown hosts are refused."""
    node_state_dir: str = "/var/lib/pressluft"
    """Where nodes keep identity, journal and baselines."""
    node_config_dir: str = "/etc/pressluft"
    """Where nodes keep `node.ini` and credentials."""
    token: SecretStr | None = None
    """Token for a fleet repo over https."""
    max_jobs: Annotated[int, Field(ge=1, le=64)] = 4
    """How many jobs run at once."""
    poll_seconds: Annotated[float, Field(gt=0, le=3600)] = 5.0
    """How often tips are compared even if nothing woke the daemon."""
    stop_seconds: Annotated[float, Field(ge=0, le=86400)] = 30.0
    """How long a daemon that is told to stop goes on with the jobs it runs; it claims no others."""
    stuck_seconds: Annotated[float, Field(gt=0, le=86400)] = 600.0
    """After how long without a pass `/healthz` calls the daemon's loop stuck."""
    metrics: str = ""
    """`HOST:PORT`, or a port of the loopback address, of the daemon's `/metrics` and `/healthz` without the facade."""
    admin_password_hash: Path | None = None
    """File with the argon2 hash of the facade's admin password."""
    api_tokens: Path | None = None
    """File with the hashes of the facade's bearer tokens; in `state_dir` if absent."""
    webhook_secret: Path | None = None
    """File with the secret that git servers sign `POST /hooks/git` with."""
    host: str = "127.0.0.1"
    """Address of the facade."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8420
    """Port of the facade."""
    root_path: Annotated[str, Field(pattern=r"^(/[A-Za-z0-9._~-]+)*$")] = ""
    """The prefix under which a proxy shows the facade, such as `/pressluft`."""
    trusted_proxies: str = ""
    """Addresses and networks, with commas, whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed."""

    @property
    def token_file(self) -> Path:
        """Where `pressluft token` keeps the hashes of bearer tokens."""
        return self.api_tokens or self.state_dir / "api-tokens.json"

    @classmethod
    def settings_customise_sources(  # noqa: PLR0917 - the signature is pydantic's
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic's
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments win over the environment, the environment over the file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def load_settings(config: Path | None = None, *, given: Mapping[str, object] | None = None) -> Settings:
    """Read the settings; `config` is a TOML file whose keys are the fields above, `given` wins over all.

    Raises pydantic's `ValidationError`, which names the setting, and `SettingsInvalid` for a file that is not there or
    is no TOML: what it was meant to say, such as whom to trust, must not be left out without a word.
    """
    if config is not None:
        check_file(config)

    class FromFile(Settings):
        model_config = SettingsConfigDict(toml_file=config)

    source: type[Settings] = FromFile if config else Settings
    return source(**dict(given or {}))  # type: ignore[arg-type] # pydantic validates what is given


def check_file(path: Path) -> None:
    """Raise `SettingsInvalid` unless the file holds TOML."""
    try:
        tomllib.loads(path.read_text())
    except OSError as error:
        raise SettingsInvalid(
            f"the file with settings {path} cannot be read: {error.strerror}; correct --config or PRESSLUFT_CONFIG"
        ) from error
    except ValueError as error:  # no UTF-8, or no TOML
        raise SettingsInvalid(f"the file with settings {path} is no TOML: {error}") from error


def find_bundled(name: str) -> Path:
    """Return the folder `ansible` or `contracts`: in a checkout its own, else the wheel's copy."""
    in_checkout = CHECKOUT / name
    return in_checkout if (CHECKOUT / "pyproject.toml").is_file() else BUNDLE / name
