from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from schemas.model import (
    MESSAGE_BYTES,
    Count,
    Duration,
    Flag,
    Id,
    Line,
    Message,
    Name,
    PlainScalar,
    Timestamp,
    format_duration,
    format_timestamp,
    parse_duration,
    parse_timestamp,
)


def is_taken(kind: object, value: object) -> bool:
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("15m", 900),
        ("1h30m", 5400),
        ("30d", 30 * 86_400),
        ("2w", 14 * 86_400),
        ("0s", 0),
        ("PT2H", 7200),
        ("P1DT1H", 90_000),
        ("P4D", 4 * 86_400),
        ("P1W", 7 * 86_400),
        ("PT1M30S", 90),
    ],
)
def test_a_duration_is_read(text: str, seconds: int) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "P",
        "PT",
        "P1DT",
        "1",
        "1y",
        "P1Y",
        "P1M",
        "-1h",
        "1.5h",
        "30m1h",
        "1h 30m",
        "1H",
        "٣h",
        "9999999d",
        "36501d",
    ],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    assert not is_taken(Duration, text)


def test_a_duration_with_a_fraction_of_a_second_is_refused() -> None:
    assert not is_taken(Duration, timedelta(milliseconds=1))


@settings(deadline=None)
@given(st.integers(min_value=0, max_value=10**9))
def test_a_duration_reads_back_as_it_was_written(seconds: int) -> None:
    assert parse_duration(format_duration(timedelta(seconds=seconds))) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
        ("2026-01-02T03:04Z", "2026-01-02T03:04:00Z"),
        ("2026-01-02T03:04:05.678Z", "2026-01-02T03:04:05.678Z"),
        ("2026-01-02T03:04:05.678999Z", "2026-01-02T03:04:05.678Z"),
        ("2026-01-02T03:04:05+02:00", "2026-01-02T01:04:05Z"),
    ],
)
def test_a_time_is_kept_in_utc(text: str, written: str) -> None:
    assert format_timestamp(parse_timestamp(text)) == written


@pytest.mark.parametrize(
    "value",
    [
        "2026-01-02",
        "2026-01-02T03:04:05",
        "2026-02-30T03:04:05Z",
        "0001-01-01T00:00:00+14:00",
        "1767323045",
        1767323045,
        datetime(2026, 1, 2),  # noqa: DTZ001 - a naive time is the case
        "2026-01-02T03:04:05Z\n",
        "9999-12-31T23:59:59Z",
    ],
)
def test_a_time_without_its_zone_is_refused(value: object) -> None:
    assert not is_taken(Timestamp, value)


FIRST, LAST = datetime(1970, 1, 3), datetime(2999, 12, 30)  # noqa: DTZ001 - hypothesis adds the zone
ELSEWHERE = st.just(timezone(timedelta(hours=5)))


@settings(deadline=None)
@given(st.datetimes(FIRST, LAST, timezones=ELSEWHERE))
def test_a_time_reads_back_as_it_was_written(moment: datetime) -> None:
    kept = parse_timestamp(moment)
    assert parse_timestamp(format_timestamp(kept)) == kept
    assert timedelta(0) <= moment.astimezone(UTC) - kept < timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("kind", "value", "taken"),
    [
        pytest.param(Name, "a", True, id="one letter"),
        pytest.param(Name, "a" * 63, True, id="63 letters"),
        pytest.param(Name, "a" * 64, False, id="64 letters"),
        pytest.param(Name, "-a", False, id="dash first"),
        pytest.param(Name, "a-", False, id="dash last"),
        pytest.param(Name, "A", False, id="upper case"),
        pytest.param(Name, "a\n", False, id="newline at the end"),
        pytest.param(Name, "", False, id="empty name"),
        pytest.param(Line, "two\nlines", False, id="two lines"),
        pytest.param(Line, "x" * 301, False, id="long line"),
        pytest.param(Line, "ESC \x1b[31m", False, id="terminal escape"),
        pytest.param(Id, "7d9f2b1c-0f3a-4c55-9d3e-2b6f3a1c8e10", True, id="uuid"),
        pytest.param(Id, "7d9f2b1c0f3a4c559d3e2b6f3a1c8e10", False, id="uuid without dashes"),
        pytest.param(Id, "{7d9f2b1c-0f3a-4c55-9d3e-2b6f3a1c8e10}", False, id="uuid in braces"),
        pytest.param(Flag, PlainScalar("true"), True, id="true"),
        pytest.param(Flag, PlainScalar("yes"), False, id="yes is no truth value"),
        pytest.param(Flag, "true", False, id="a quoted true is a text"),
        pytest.param(Flag, 1, False, id="one is no truth value"),
        pytest.param(Count, PlainScalar("10"), True, id="ten"),
        pytest.param(Count, PlainScalar("010"), False, id="leading zero"),
        pytest.param(Count, PlainScalar("1_0"), False, id="underscore"),
        pytest.param(Count, PlainScalar("-1"), False, id="negative count"),
        pytest.param(Count, PlainScalar("1.0"), False, id="float"),
        pytest.param(Count, "10", False, id="a quoted number is a text"),
        pytest.param(Count, True, False, id="true is no number"),
    ],
)
def test_small_types_take_what_they_mean(kind: object, value: object, taken: bool) -> None:
    assert is_taken(kind, value) is taken


@settings(deadline=None)
@given(st.text())
def test_any_message_can_be_kept(text: str) -> None:
    kept = TypeAdapter(Message).validate_python(text)
    assert len(kept.encode()) <= MESSAGE_BYTES
    assert TypeAdapter(Message).validate_python(kept) == kept


def test_a_long_message_is_cut_at_10_kib_between_characters() -> None:
    kept = TypeAdapter(Message).validate_python("€" * 10_000)
    assert kept == "€" * (MESSAGE_BYTES // 3)
