"""The documents people write about their fleet: policy, nodes, sites and environments (spec.md §1)."""

import re
from datetime import timedelta
from typing import Annotated, Literal, cast
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)
from pydantic.config import JsonDict, JsonValue

from schemas.model import (
    API_VERSION,
    AbsolutePath,
    Duration,
    Flag,
    IdentifiedMetadata,
    Line,
    Metadata,
    Model,
    Name,
    RelativePath,
    Shape,
    limit_duration,
    make_expectation,
    parse_whole_number,
)
from schemas.state import EnvironmentType, OverwritePolicy, Preset
from schemas.wall_clock import LocalTime, TimeZone, check_rule

LOCAL_HOST = "localhost"
SSH_PORT = 22


def read_off_as_none(value: object) -> object:
    """Let people write `off` where a policy may be left out."""
    return None if value == "off" else value


def allow_off(schema: JsonDict) -> None:
    """Let the JSON Schema of a field take what `read_off_as_none` takes."""
    cast("list[JsonValue]", schema["anyOf"]).append({"const": "off"})


class FreezeWindow(Model):
    """A span of time, perhaps a repeating one, in which nothing is promoted."""

    start: LocalTime
    """Local time at which the first window opens."""
    duration: Annotated[Duration, limit_duration(timedelta(days=366))]
    """How long each window lasts."""
    rrule: Line | None = None
    """RFC 5545 rule by which it repeats, such as `FREQ=WEEKLY;BYDAY=FR`; absent: once."""
    time_zone: TimeZone = "UTC"
    """IANA name of the zone in which `start` is meant."""
    reason: Line | None = None
    """Why; shown to whoever is held up."""

    @field_validator("rrule")
    @classmethod
    def check_rrule(cls, value: str | None, info: ValidationInfo) -> str | None:
        """Take one rule that dateutil understands and that repeats daily at most."""
        if value is None or "start" not in info.data:
            return value
        return check_rule(value, start=info.data["start"])


class Promotions(Model):
    """The emergency stop."""

    enabled: Flag = True
    """`false` stops promotions at once, up to the cut-over of running ones."""
    reason: Line | None = None
    """Why; shown to whoever is held up."""


class Timeouts(Model):
    """How long each step of a job may take; never applied between the RENAME and the verdict."""

    drift_check: Duration = timedelta(minutes=30)
    """Comparing production with the baseline, live checks of a promotion included."""
    backup: Duration = timedelta(hours=6)
    """Taking a backup and reading it back."""
    backup_cleanup: Duration = timedelta(minutes=30)
    """Forgetting and pruning expired backups."""
    stage: Duration = timedelta(hours=6)
    """Preparing the new release and the shadow database."""
    cut_over: Duration = timedelta(minutes=30)
    """Waiting for the moment of the RENAME."""
    health_check: Duration = timedelta(minutes=30)
    """Waiting for a verdict on a release's health."""
    rollback: Duration = timedelta(minutes=30)
    """Putting the previous release back."""
    refresh: Duration = timedelta(hours=6)
    """Pulling production's data down."""
    restore: Duration = timedelta(hours=6)
    """Putting a backup back."""


PublicKey = Annotated[
    str,
    Shape(
        r"(sk-)?(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521))(@openssh\.com)? [A-Za-z0-9+/]{40,2000}={0,3}"
        r"( [^\x00-\x1f\x7f]{1,200})?",
        "a public SSH key such as the one line of ~/.ssh/id_ed25519.pub",
    ),
]


class FleetSpec(Model):
    """Policy for the whole fleet."""

    backup_max_age: Duration = timedelta(hours=1)
    """How old a full backup of the target may be for the backup gate."""
    drift_check_max_age: Duration = timedelta(minutes=15)
    """How old a clean drift check may be for the drift gate."""
    drift_check_interval: Annotated[
        Duration | None, BeforeValidator(read_off_as_none), Field(json_schema_extra=allow_off)
    ] = None
    """How often the reconciler checks by itself; commits only when a verdict changes."""
    overwrite_policy: OverwritePolicy = OverwritePolicy.BLOCK
    """What a conflict on mergeable data does."""
    promotions: Promotions = Promotions()
    """The emergency stop for all sites."""
    freeze_windows: tuple[FreezeWindow, ...] = ()
    """When nothing is promoted on any site."""
    retention: Duration = timedelta(days=30)
    """How long backups are kept."""
    keep_old_release: Duration = timedelta(days=7)
    """How long the replaced tables and release stay on the node for a rollback."""
    timeouts: Timeouts = Timeouts()
    """How long each step may take."""
    unreachable_after: Duration = timedelta(hours=24)
    """How long a node may be unreachable until its running job ends `failed`."""
    allowed_signers: Annotated[
        tuple[PublicKey, ...] | None,
        BeforeValidator(read_off_as_none),
        Field(json_schema_extra=allow_off),
    ] = None
    """Public SSH keys that may sign commits that bring intents; absent: signatures are not asked for.

    Once it is set, only a commit signed by one of these keys changes it."""


class NodeSpec(Model):
    """How a node is reached; keys and known hosts are settings of the daemon, never in the repo."""

    host: Annotated[
        str, Shape(r"[A-Za-z0-9]([A-Za-z0-9.:-]{0,251}[A-Za-z0-9])?|::1", "a host name or an address")
    ]
    """Host name or address; `localhost` without a port is this machine, without SSH."""
    port: Annotated[int, Field(ge=1, le=65535), BeforeValidator(parse_whole_number)] | None = None
    """SSH port, 22 if absent."""
    user: Annotated[str, Shape(r"[a-z_][a-z0-9_-]{0,31}", "a user name of the node")] = "root"
    """Whom to log in as."""
    python_interpreter: AbsolutePath = "/usr/bin/python3"
    """Python 3.8 or newer on the node."""

    @property
    def is_local(self) -> bool:
        """Whether the playbooks run on this machine without SSH."""
        return self.host == LOCAL_HOST and self.port is None

    @property
    def ssh_port(self) -> int:
        """The port to connect to when the node is not local."""
        return self.port or SSH_PORT


class SiteSpec(Model):
    """One WordPress project."""

    display_name: Line | None = None
    """What people call it; the name if absent."""
    promotions: Promotions = Promotions()
    """The emergency stop for this site."""
    freeze_windows: tuple[FreezeWindow, ...] = ()
    """When nothing is promoted on this site."""


class Database(Model):
    """Where an environment keeps its tables; credentials are files on the node."""

    name: Annotated[str, Shape(r"[A-Za-z0-9_$-]{1,64}", "a database name of letters, digits, _, $ and -")]
    """The database's name."""
    table_prefix: Annotated[str, Shape(r"[A-Za-z0-9_]{1,32}", "a prefix of letters, digits and _")] = "wp_"
    """WordPress's `$table_prefix`."""


FpmService = Annotated[
    str,
    Shape(
        r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,127}|(/[A-Za-z0-9_][A-Za-z0-9_.@+-]*)+",
        "a systemd unit such as php8.2-fpm or the absolute path of a pid file",
    ),
]


class Php(Model):
    """PHP on the node."""

    fpm_service: FpmService | None = None
    """What to reload after a cut-over: a systemd unit, or the path of a PHP-FPM master's pid file."""
    cli: Annotated[
        str,
        Shape(
            r"(/?[A-Za-z0-9_][A-Za-z0-9_.+-]*)(/[A-Za-z0-9_][A-Za-z0-9_.+-]*)*", "a program such as php8.2"
        ),
    ] = "php"
    """The command-line PHP of the same version."""


class WebServer(Model):
    """The web server on the node."""

    cache_path: AbsolutePath | None = None
    """Folder of the page cache to purge after a cut-over."""


class Protect(Model):
    """What is protected beyond the preset; it only ever adds."""

    tables: tuple[
        Annotated[
            str, Shape(r"[A-Za-z0-9_$*-]{1,64}", "a table name without its prefix; * stands for anything")
        ],
        ...,
    ] = ()
    """Tables, without the prefix."""
    paths: tuple[RelativePath, ...] = ()
    """Paths relative to the root; a folder stands for all that is in it."""


class Health(Model):
    """What must be true for a release to count as healthy."""

    urls: Annotated[
        tuple[
            Annotated[
                str, Shape(r"(/|https?://)[^\s\x00-\x1f\x7f]{0,1000}", "a path such as /shop/ or a URL")
            ],
            ...,
        ],
        Field(min_length=1),
    ] = ("/",)
    """What must answer 200: paths below `url`, or URLs that begin with it."""
    body_contains: Line | None = None
    """Text that every answer must contain."""
    stable_for: Annotated[Duration, limit_duration(timedelta(minutes=10))] = timedelta(seconds=5)
    """How long it must stay healthy before the verdict."""


URL_PATTERN = r"https?://(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?(/[A-Za-z0-9._~%-]+)*"


def check_url(value: str) -> str:
    """Take a plain http(s) URL without credentials, query, fragment or slash at the end."""
    expected = "a URL such as https://shop.example without a slash at the end, a query or credentials"
    if re.fullmatch(URL_PATTERN, value) is None:
        raise make_expectation(expected)
    try:
        _ = urlsplit(value).port  # also looks at what stands in brackets
    except ValueError as error:
        raise make_expectation(expected) from error
    return value


Url = Annotated[
    str, AfterValidator(check_url), WithJsonSchema({"type": "string", "pattern": f"^{URL_PATTERN}$"})
]


class EnvironmentSpec(Model):
    """An isolated runtime of a site."""

    type: EnvironmentType
    """What it is for."""
    node: Name
    """The node it runs on."""
    source: Annotated[Name | None, Field(validate_default=True)] = None
    """The environment it was cloned from; null for production, required for all others."""
    promotion_preset: Preset = Preset.CONTENT_PROTECT
    """Which data is protected and preserved."""
    url: Url
    """Where it is served, as WordPress knows it."""
    root: AbsolutePath
    """Its folder on the node."""
    database: Database
    """Where its tables are."""
    php: Php = Php()
    """PHP on the node."""
    web_server: WebServer = WebServer()
    """The web server on the node."""
    protect: Protect = Protect()
    """What is protected beyond the preset."""
    health: Annotated[Health, Field(validate_default=True)] = Health()
    """What must be true for a release to count as healthy."""

    @field_validator("source")
    @classmethod
    def check_source(cls, value: str | None, info: ValidationInfo) -> str | None:
        """Production has no source; everything else was cloned from something."""
        kind = info.data.get("type")
        if kind == EnvironmentType.PRODUCTION and value is not None:
            raise make_expectation("no source, since production is cloned from nothing")
        if kind not in {None, EnvironmentType.PRODUCTION} and value is None:
            raise make_expectation(f"the environment that this {kind} was cloned from")
        return value

    @field_validator("health")
    @classmethod
    def check_health_urls(cls, value: Health, info: ValidationInfo) -> Health:
        """Only the environment itself is asked for its health."""
        url = info.data.get("url")
        for item in value.urls:
            if (
                url is not None
                and not item.startswith("/")
                and item != url
                and not item.startswith(f"{url}/")
            ):
                raise make_expectation(f"health.urls to be paths or to begin with {url}/")
        return value

    @property
    def is_production(self) -> bool:
        """Whether this is the site's production."""
        return self.type is EnvironmentType.PRODUCTION

    @property
    def health_urls(self) -> tuple[str, ...]:
        """The URLs to ask, absolute."""
        return tuple(f"{self.url}{item}" if item.startswith("/") else item for item in self.health.urls)


class Fleet(Model):
    """`pressluft.yaml`."""

    api_version: Literal["pressluft/v1"] = Field(default=API_VERSION, alias="apiVersion")
    kind: Literal["Fleet"] = "Fleet"
    metadata: Metadata
    spec: FleetSpec = FleetSpec()


class Node(Model):
    """`nodes/<node>.yaml`."""

    api_version: Literal["pressluft/v1"] = Field(default=API_VERSION, alias="apiVersion")
    kind: Literal["Node"] = "Node"
    metadata: IdentifiedMetadata
    spec: NodeSpec


class Site(Model):
    """`sites/<site>/site.yaml`."""

    api_version: Literal["pressluft/v1"] = Field(default=API_VERSION, alias="apiVersion")
    kind: Literal["Site"] = "Site"
    metadata: IdentifiedMetadata
    spec: SiteSpec = SiteSpec()


class Environment(Model):
    """`sites/<site>/environments/<env>.yaml`."""

    api_version: Literal["pressluft/v1"] = Field(default=API_VERSION, alias="apiVersion")
    kind: Literal["Environment"] = "Environment"
    metadata: IdentifiedMetadata
    spec: EnvironmentSpec

    @field_validator("spec")
    @classmethod
    def check_source_is_another(cls, value: EnvironmentSpec, info: ValidationInfo) -> EnvironmentSpec:
        """Nothing is cloned from itself."""
        if "metadata" in info.data and value.source == info.data["metadata"].name:
            raise make_expectation("spec.source to be another environment")
        return value


FleetDocument = Fleet | Node | Site | Environment
