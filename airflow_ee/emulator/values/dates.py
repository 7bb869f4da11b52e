"""Instants and intervals as Earth Engine counts them: milliseconds since 1970, UTC."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from airflow_ee.emulator.errors import invalid

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECONDS = {
    "second": 1e3,
    "minute": 6e4,
    "hour": 3.6e6,
    "day": 8.64e7,
    "week": 6.048e8,
    "month": 365.2425 / 12 * 8.64e7,
    "year": 365.2425 * 8.64e7,
}
"""Average length of each unit, as Date.difference uses it."""


@dataclass(frozen=True, slots=True, order=True)
class Date:
    """An instant.

    >>> Date.of("2020-06-09").milliseconds
    1591660800000.0
    """

    milliseconds: float

    @classmethod
    def of(cls, value: Any, zone: tzinfo = UTC) -> Date:
        """An instant from what users write: a Date, milliseconds, or ISO 8601 text in a time zone."""
        if isinstance(value, Date):
            return value
        if isinstance(value, DateRange):
            return value.start
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return cls(float(math.trunc(value)))
        if isinstance(value, str):
            return cls(float(math.floor(cls.of_datetime(parse_time(value, zone)).milliseconds)))
        raise invalid(f"Date: Cannot interpret {value!r} as a date.")

    @classmethod
    def of_datetime(cls, moment: datetime) -> Date:
        """An instant from an aware datetime."""
        return cls((moment - EPOCH) / timedelta(milliseconds=1))

    @property
    def moment(self) -> datetime:
        """The instant as an aware datetime in UTC."""
        try:
            return EPOCH + timedelta(milliseconds=self.milliseconds)
        except OverflowError:
            raise invalid("Date: years before 1 and after 9999 are not emulated.") from None


@dataclass(frozen=True, slots=True)
class DateRange:
    """A half-open interval: the end does not belong to it. One that ends before it starts holds nothing."""

    start: Date
    end: Date

    def __contains__(self, date: Date) -> bool:
        return self.start <= date < self.end

    @property
    def empty(self) -> bool:
        """Whether no instant is in it."""
        return self.start >= self.end

    @property
    def unbounded(self) -> bool:
        """Whether every instant is in it."""
        return self == ALWAYS


ALWAYS = DateRange(Date(-math.inf), Date(math.inf))


def zone_of(name: str | None) -> tzinfo:
    """A time zone by its name or offset; UTC without one.

    >>> zone_of("+05:30").utcoffset(None)
    datetime.timedelta(seconds=19800)
    """
    if name is None or name == "UTC":
        return UTC
    offset = re.fullmatch(r"([+-])(\d{2}):(\d{2})", name)
    if offset and int(offset[2]) < 24 and int(offset[3]) < 60:
        size = timedelta(hours=int(offset[2]), minutes=int(offset[3]))
        return timezone(-size if offset[1] == "-" else size)
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise invalid(f"The datetime zone id '{name}' is not recognised") from None


def instant(local: datetime, zone: tzinfo) -> datetime:
    """When it is that time in a zone, the first of two times; a time that the clocks skip is refused."""
    moment = local.replace(tzinfo=zone)
    if moment.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != local:
        raise invalid(f"Illegal instant due to time zone offset transition: {local.isoformat()} ({zone})")
    return moment


_ISO = re.compile(
    r"""(?P<year>\d{4})(?:-(?P<day_of_year>\d{3})|-W(?P<week>\d{1,2})(?:-(?P<weekday>[1-7]))?
        |-(?P<month>\d{1,2})(?:-(?P<day>\d{1,2}))?)?
        (?:T(?:(?P<hour>\d{1,2})(?::(?P<minute>\d{1,2})(?::(?P<second>\d{1,2})(?:[.,](?P<fraction>\d+))?)?)?)?
        (?P<offset>Z|[+-]\d{2}:?\d{2}|[+-]\d{2})?)?""",
    re.VERBOSE,
)


def parse_time(text: str, zone: tzinfo = UTC) -> datetime:
    """ISO 8601 text as an aware datetime; what is missing at its end is the earliest possible.

    >>> parse_time("2020-06").isoformat(), parse_time("1996-001T8:30").isoformat()
    ('2020-06-01T00:00:00+00:00', '1996-01-01T08:30:00+00:00')
    """
    found = _ISO.fullmatch(text.strip())
    if found is None:
        raise invalid(f"Date: Bad date/time '{text}'.")
    try:
        local = datetime.combine(_day(found), datetime.min.time()).replace(
            hour=int(found["hour"] or 0),
            minute=int(found["minute"] or 0),
            second=int(found["second"] or 0),
            microsecond=int((found["fraction"] or "0").ljust(6, "0")[:6]),
        )
    except ValueError as problem:
        raise invalid(f"Date: Bad date/time '{text}': {problem}.") from None
    return instant(local, _offset(found["offset"]) if found["offset"] else zone)


def _day(found: re.Match[str]) -> date:
    year = int(found["year"])
    if found["day_of_year"]:
        day = date(year, 1, 1) + timedelta(days=int(found["day_of_year"]) - 1)
        if day.year != year:
            raise ValueError("day of year out of range")
        return day
    if found["week"]:
        return date.fromisocalendar(year, int(found["week"]), int(found["weekday"] or 1))
    return date(year, int(found["month"] or 1), int(found["day"] or 1))


def _offset(text: str) -> tzinfo:
    digits = text[1:].replace(":", "").ljust(4, "0")
    return UTC if text == "Z" else zone_of(f"{text[0]}{digits[:2]}:{digits[2:]}")


def timestamp(moment: datetime) -> str:
    """RFC 3339 with as many of 0, 3 or 6 fraction digits as are needed.

    >>> timestamp(datetime(2026, 11, 21, 10, 0, 0, 120000, tzinfo=UTC))
    '2026-11-21T10:00:00.120Z'
    """
    text = moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    micros = moment.microsecond
    if micros:
        text += f".{micros // 1000:03d}" if micros % 1000 == 0 else f".{micros:06d}"
    return text + "Z"
