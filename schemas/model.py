"""The frozen base of every model and the small types that documents are made of."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

API_VERSION: Final = "pressluft/v1"
MESSAGE_BYTES: Final = 10 * 1024  # spec.md §5: error_message


class Model(BaseModel):
    """A frozen value that refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class PlainScalar(str):
    """An unquoted YAML scalar as it was written; the field it lands in decides what it means."""

    __slots__ = ()


def make_expectation(expected: str) -> PydanticCustomError:
    """Make the error that a validator raises; `expected` completes the sentence "expected ..."."""
    return PydanticCustomError("expectation", "expected {expected}", {"expected": expected})


@dataclass(frozen=True, slots=True)
class Shape:
    """Annotation of a string that must match `pattern` as a whole; `expected` says so in words."""

    pattern: str
    expected: str
    compiled: re.Pattern[str] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "compiled", re.compile(self.pattern))

    def check(self, text: str) -> str:
        """Return `text`; raise the expectation when it has another shape."""
        if self.compiled.fullmatch(text) is None:
            raise make_expectation(self.expected)
        return text

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {**handler(schema), "pattern": f"^(?:{self.pattern})$"}


UNREADABLE: Final = r"\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff"
"""Inside of a character class: what no text of a document may hold; of the controls only the newline may."""

NAME_PATTERN: Final = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
NAME_EXPECTED: Final = "a name of lower-case letters, digits and inner dashes, 1 to 63 characters"
ID_PATTERN: Final = r"[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"

Name = Annotated[str, Shape(NAME_PATTERN, NAME_EXPECTED)]
Line = Annotated[str, Shape(rf"[^\n{UNREADABLE}]{{1,300}}", "one line of 1 to 300 characters")]
Text = Annotated[str, Shape(rf"[^{UNREADABLE}]{{1,2000}}", "text of 1 to 2000 characters, no tabs")]
Digest = Annotated[str, Shape(r"[0-9a-f]{64}", "a SHA-256 digest, 64 hexadecimal digits")]
BlobId = Annotated[
    str, Shape(r"[0-9a-f]{40}([0-9a-f]{24})?", "a git object id of 40 or 64 hexadecimal digits")
]


def parse_id(value: object) -> object:
    """Refuse the other spellings that `UUID()` takes (braces, `urn:`, no dashes)."""
    if isinstance(value, UUID):
        return value
    if isinstance(value, str) and re.fullmatch(ID_PATTERN, value):
        return UUID(value)
    raise make_expectation("a UUID such as 7d9f2b1c-0f3a-4c55-9d3e-2b6f3a1c8e10")


Id = Annotated[
    UUID,
    BeforeValidator(parse_id),
    WithJsonSchema({"type": "string", "format": "uuid", "pattern": f"^{ID_PATTERN}$"}),
]


def parse_flag(value: object) -> object:
    """Take a bool, or an unquoted `true` or `false` (YAML 1.2 core); never `yes`, `on` or `1`."""
    if isinstance(value, PlainScalar) and re.fullmatch("true|True|TRUE|false|False|FALSE", value):
        return value.lower() == "true"
    if isinstance(value, bool):
        return value
    raise make_expectation("true or false")


def parse_whole_number(value: object) -> object:
    """Take an int, or an unquoted decimal number without leading zeros (`010` is a string)."""
    if isinstance(value, PlainScalar) and re.fullmatch(r"[-+]?(0|[1-9][0-9]{0,17})", value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise make_expectation("a whole number")


Flag = Annotated[bool, BeforeValidator(parse_flag)]
Count = Annotated[int, Field(ge=0), BeforeValidator(parse_whole_number)]

DURATION_PATTERN: Final = (
    r"(?=.)((?P<w>[0-9]{1,6})w)?((?P<d>[0-9]{1,6})d)?((?P<h>[0-9]{1,6})h)?"
    r"((?P<m>[0-9]{1,6})m)?((?P<s>[0-9]{1,9})s)?"
)
ISO_DURATION_PATTERN: Final = (
    r"P(?=.)((?P<w>[0-9]{1,6})W)?((?P<d>[0-9]{1,6})D)?"
    r"(T(?=.)((?P<h>[0-9]{1,6})H)?((?P<m>[0-9]{1,6})M)?((?P<s>[0-9]{1,9})S)?)?"
)
DURATION_EXPECTED: Final = "a duration such as 90s, 15m, 1h30m, 30d or PT2H"
LONGEST_DURATION: Final = timedelta(days=36_500)
SECONDS_OF_UNIT: Final[Mapping[str, int]] = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}


def parse_duration(value: object) -> timedelta:
    """Read `1h30m` or ISO 8601 `PT1H30M` (no years, no months: they have no fixed length)."""
    if isinstance(value, timedelta):
        return check_duration(value)
    if not isinstance(value, str):
        raise make_expectation(DURATION_EXPECTED)
    match = re.fullmatch(DURATION_PATTERN, value) or re.fullmatch(ISO_DURATION_PATTERN, value)
    if match is None:
        raise make_expectation(DURATION_EXPECTED)
    seconds = sum(SECONDS_OF_UNIT[unit] * int(count) for unit, count in match.groupdict("0").items())
    return check_duration(timedelta(seconds=seconds))


def check_duration(value: timedelta) -> timedelta:
    """Refuse what `format_duration` could not write without loss, and what would pass the calendar's end."""
    if not timedelta(0) <= value <= LONGEST_DURATION or value.microseconds:
        raise make_expectation("a duration of whole seconds, from none to 36500d")
    return value


def format_duration(value: timedelta) -> str:
    """Write whole seconds in the canonical form, the largest units first: `1d2h`, `90m` as `1h30m`."""
    rest, parts = value.days * 86_400 + value.seconds, []
    for unit in "dhms":
        count, rest = divmod(rest, SECONDS_OF_UNIT[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


# Python's named groups and look-aheads are no part of the regular expressions JSON Schema speaks of.
DURATION_JSON_PATTERN: Final = (
    r"^(([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?"
    r"|P([0-9]+W)?([0-9]+D)?(T([0-9]+H)?([0-9]+M)?([0-9]+S)?)?)$"
)

Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "minLength": 2, "pattern": DURATION_JSON_PATTERN}),
]


def limit_duration(longest: timedelta) -> AfterValidator:
    """Make the annotation of a duration that is more than nothing and at most `longest`."""

    def check(value: timedelta) -> timedelta:
        if not timedelta(0) < value <= longest:
            raise make_expectation(f"a duration of more than 0s and at most {format_duration(longest)}")
        return value

    return AfterValidator(check)


TIMESTAMP_PATTERN: Final = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?(Z|[+-][0-9]{2}:[0-9]{2})"
)
TIMESTAMP_EXPECTED: Final = "a time with its zone such as 2026-01-02T03:04:05Z, of the years 1970 to 2999"
YEARS: Final = range(1970, 3000)  # far from the ends of Python's calendar, where adding a duration fails


def parse_timestamp(value: object) -> datetime:
    """Read an aware time as UTC, cut to milliseconds so that what is written equals what is held."""
    if isinstance(value, str) and re.fullmatch(TIMESTAMP_PATTERN, value):
        value = parse_iso(value, expected=TIMESTAMP_EXPECTED)
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise make_expectation(TIMESTAMP_EXPECTED)
    if value.year not in YEARS:
        raise make_expectation(TIMESTAMP_EXPECTED)
    moment = value.astimezone(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def parse_iso(text: str, *, expected: str) -> datetime:
    """Read an ISO 8601 time; raise the expectation for a day or hour that does not exist."""
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise make_expectation(expected) from error


def format_timestamp(value: datetime) -> str:
    """Write UTC as `2026-01-02T03:04:05Z`, with milliseconds only where there are any."""
    moment = value.astimezone(UTC)
    precision = "milliseconds" if moment.microsecond else "seconds"
    return moment.replace(tzinfo=None).isoformat(timespec=precision) + "Z"


Timestamp = Annotated[
    datetime,
    BeforeValidator(parse_timestamp),
    PlainSerializer(format_timestamp, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time", "pattern": f"^{TIMESTAMP_PATTERN}$"}),
]


def clean_message(value: object) -> object:
    """Make any text fit to be kept: no control characters, at most 10 KiB (spec.md §5).

    It never refuses text, since a failure must always be recordable.
    """
    if not isinstance(value, str):
        return value
    readable = re.sub(rf"[{UNREADABLE}\ud800-\udfff]", " ", value)
    return readable.encode()[:MESSAGE_BYTES].decode(errors="ignore")


Message = Annotated[str, BeforeValidator(clean_message)]


def check_absolute_path(value: str) -> str:
    """Take a normal absolute path below `/` without control characters."""
    parts = value.split("/")[1:]
    if not value.startswith("/") or any(part in {"", ".", ".."} for part in parts) or not is_printable(value):
        raise make_expectation("an absolute path such as /srv/www/shop, not / itself, without //, . or ..")
    return value


def check_relative_path(value: str) -> str:
    """Take a path below the environment's root; `*` stands for any characters."""
    if any(part in {"", ".", ".."} for part in value.split("/")) or not is_printable(value):
        raise make_expectation(
            "a path relative to the environment's root, without .., // or a slash at the end"
        )
    return value


def is_printable(value: str) -> bool:
    """Tell whether there is text and none of it is a control character or a broken surrogate."""
    return re.fullmatch(rf"[^\n{UNREADABLE}\ud800-\udfff]{{1,1024}}", value) is not None


# A name between two slashes that is neither empty nor `.` nor `..`, without a look-ahead.
PART_JSON_PATTERN: Final = r"([^/.][^/]*|\.[^/.][^/]*|\.\.[^/]+)"

AbsolutePath = Annotated[
    str,
    AfterValidator(check_absolute_path),
    WithJsonSchema({"type": "string", "maxLength": 1024, "pattern": f"^(/{PART_JSON_PATTERN})+$"}),
]
RelativePath = Annotated[
    str,
    AfterValidator(check_relative_path),
    WithJsonSchema(
        {"type": "string", "maxLength": 1024, "pattern": f"^{PART_JSON_PATTERN}(/{PART_JSON_PATTERN})*$"}
    ),
]


class Metadata(Model):
    """What a document is called."""

    name: Name
    """Equal to the file's or folder's name."""
    id: Id | None = None
    """A UUID; on an intent it becomes the job's id."""


class IdentifiedMetadata(Model):
    """What a document is called, and the id that stays when it is renamed."""

    name: Name
    """Equal to the file's or folder's name."""
    id: Id
    """A UUID that is never given to anything else."""
