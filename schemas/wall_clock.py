"""Times as people's clocks show them: local times, time zones and rules of repetition (RFC 5545)."""

import re
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Final
from zoneinfo import available_timezones

from dateutil.rrule import rrule, rruleset, rrulestr
from pydantic import AfterValidator, BeforeValidator, PlainSerializer, WithJsonSchema

from schemas.model import YEARS, make_expectation, parse_iso

LOCAL_TIME_PATTERN = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2})?"
LOCAL_TIME_EXPECTED = "a local time without offset such as 2026-11-27T08:00:00; time_zone says where"


def parse_local_time(value: object) -> datetime:
    """Read a wall-clock time; its place is told by `time_zone`, so an offset is refused."""
    if isinstance(value, datetime) and value.tzinfo is None:
        return value.replace(microsecond=0)
    if not isinstance(value, str) or re.fullmatch(LOCAL_TIME_PATTERN, value) is None:
        raise make_expectation(LOCAL_TIME_EXPECTED)
    moment = parse_iso(value, expected=LOCAL_TIME_EXPECTED)
    if moment.year not in YEARS:
        raise make_expectation(LOCAL_TIME_EXPECTED)
    return moment


LocalTime = Annotated[
    datetime,
    BeforeValidator(parse_local_time),
    PlainSerializer(lambda value: value.isoformat(timespec="seconds"), return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": f"^{LOCAL_TIME_PATTERN}$"}),
]


@lru_cache(maxsize=1)
def known_time_zones() -> frozenset[str]:
    """List the IANA names this machine knows; read once, since it walks the zone files."""
    return frozenset(available_timezones())


def check_time_zone(value: str) -> str:
    """Take an IANA name."""
    if value not in known_time_zones():
        raise make_expectation("an IANA time zone such as Europe/Berlin or UTC")
    return value


TimeZone = Annotated[
    str, AfterValidator(check_time_zone), WithJsonSchema({"type": "string", "pattern": "^[A-Za-z]"})
]


def occurs(rule: rrule | rruleset, *, start: datetime) -> bool:
    """Tell whether a rule ever comes true; one that never does would keep a pass busy to the calendar's end."""
    if not isinstance(rule, rrule):
        return False
    horizon = start.replace(day=min(start.day, 28), year=start.year + 28)
    return next(iter(rule.replace(until=horizon, count=None)), None) is not None


RULE_EXPECTED: Final = "a rule such as FREQ=WEEKLY;BYDAY=FR, repeating daily at most, UNTIL in local time"
RULE_PARTS: Final = (
    r"FREQ=(DAILY|WEEKLY|MONTHLY|YEARLY)",
    r"INTERVAL=[1-9][0-9]{0,2}",
    r"COUNT=[1-9][0-9]{0,3}",
    r"UNTIL=[0-9]{8}(T[0-9]{6})?",
    r"WKST=[A-Z]{2}",
    r"BY(DAY|MONTHDAY|YEARDAY|WEEKNO|MONTH|SETPOS|EASTER)=[A-Z0-9,+-]+",
)
"""What a rule may consist of: no hours, minutes and seconds, of which a pass could find millions."""
RULE: Final = re.compile(f"({'|'.join(RULE_PARTS)})(;({'|'.join(RULE_PARTS)}))*")


def check_rule(text: str, *, start: datetime) -> str:
    """Take one rule that dateutil understands, that repeats daily at most and that ever comes true."""
    if RULE.fullmatch(text) is None or text.count("FREQ=") != 1:
        raise make_expectation(RULE_EXPECTED)
    try:
        rule = rrulestr(text, dtstart=start)
    except (ValueError, TypeError, AttributeError, KeyError, IndexError) as error:
        raise make_expectation(RULE_EXPECTED) from error
    if not occurs(rule, start=start):
        raise make_expectation("a rule that comes true within 28 years (a whole cycle of the calendar)")
    return text
