"""Dates: making, moving, formatting."""

from __future__ import annotations

import calendar
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.promote import registry
from airflow_ee.emulator.values.dates import MILLISECONDS, Date, DateRange, timestamp
from airflow_ee.emulator.values.image import Image

UTC_NAMES = (None, "UTC", "GMT", "Etc/UTC", "Z")


def _utc_only(function: str, time_zone: str | None) -> None:
    if time_zone not in UTC_NAMES:
        raise invalid(f"{function}: only UTC is emulated, not time zone '{time_zone}'.")


def _unit(function: str, unit: str) -> str:
    name = unit.lower().rstrip("s")
    if name not in MILLISECONDS:
        raise invalid(f"{function}: Unknown unit '{unit}'; use one of {', '.join(MILLISECONDS)}.")
    return name


@registry.implements("Date")
def make_date(value: Any, time_zone: str | None = None) -> Date:
    """An instant from text, milliseconds or another instant."""
    _utc_only("Date", time_zone)
    return Date.of(value)


@registry.implements("Date.fromYMD")
def from_ymd(year: int, month: int, day: int, time_zone: str | None = None) -> Date:
    """Midnight of a day."""
    _utc_only("Date.fromYMD", time_zone)
    try:
        return Date.of_datetime(datetime(year, month, day, tzinfo=UTC))
    except ValueError as problem:
        raise invalid(f"Date.fromYMD: {problem}.") from None


@registry.implements("DateRange")
def make_range(start: Any, end: Any = None, time_zone: str | None = None) -> DateRange:
    """From the start up to, and not including, the end; a millisecond without one."""
    _utc_only("DateRange", time_zone)
    first = Date.of(start)
    last = Date(first.milliseconds + 1) if end is None else Date.of(end)
    if last < first:
        raise invalid("DateRange: The start of the range must not be after its end.")
    return DateRange(first, last)


@registry.implements("DateRange.start")
def range_start(date_range: DateRange) -> Date:
    """The first instant."""
    return date_range.start


@registry.implements("DateRange.end")
def range_end(date_range: DateRange) -> Date:
    """The first instant that is not in it."""
    return date_range.end


@registry.implements("DateRange.contains")
def range_contains(date_range: DateRange, other: Any) -> bool:
    """Whether an instant or a whole interval lies in it."""
    if isinstance(other, DateRange):
        return date_range.start <= other.start and other.end <= date_range.end
    return Date.of(other) in date_range


@registry.implements("Date.millis")
def millis(date: Date) -> float:
    """Milliseconds since 1970."""
    return date.milliseconds


@registry.implements("Date.advance")
def advance(date: Date, delta: float, unit: str, time_zone: str | None = None) -> Date:
    """Moved by calendar months and years, or by exact spans of the smaller units."""
    _utc_only("Date.advance", time_zone)
    name = _unit("Date.advance", unit)
    if name in ("month", "year") and float(delta).is_integer():
        return _advance_months(date, int(delta) * (12 if name == "year" else 1))
    return Date(date.milliseconds + delta * MILLISECONDS[name])


def _advance_months(date: Date, months: int) -> Date:
    moment = date.moment
    year, month = divmod(moment.year * 12 + moment.month - 1 + months, 12)
    day = min(moment.day, calendar.monthrange(year, month + 1)[1])
    return Date.of_datetime(moment.replace(year=year, month=month + 1, day=day))


@registry.implements("Date.difference")
def difference(date: Date, start: Date, unit: str) -> float:
    """In units of average length."""
    return (date.milliseconds - start.milliseconds) / MILLISECONDS[_unit("Date.difference", unit)]


@registry.implements("Date.get")
def get(date: Date, unit: str, time_zone: str | None = None) -> int:
    """A field of the calendar."""
    _utc_only("Date.get", time_zone)
    moment = date.moment
    fields = {"year": moment.year, "month": moment.month, "week": moment.isocalendar().week, "day": moment.day}
    fields |= {"hour": moment.hour, "minute": moment.minute, "second": moment.second}
    return fields[_unit("Date.get", unit)]


@registry.implements("Date.getRelative")
def get_relative(date: Date, unit: str, in_unit: str, time_zone: str | None = None) -> int:
    """A unit counted from 0 within a larger one."""
    _utc_only("Date.getRelative", time_zone)
    small, large = _unit("Date.getRelative", unit), _unit("Date.getRelative", in_unit)
    start = _start_of(date.moment, large)
    if small == "month":
        return date.moment.month - start.month
    return int((date.moment - start) / timedelta(milliseconds=MILLISECONDS[small]))


def _start_of(moment: datetime, unit: str) -> datetime:
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    starts = {
        "year": day.replace(month=1, day=1),
        "month": day.replace(day=1),
        "week": day - timedelta(days=moment.weekday()),
        "day": day,
        "hour": moment.replace(minute=0, second=0, microsecond=0),
        "minute": moment.replace(second=0, microsecond=0),
        "second": moment.replace(microsecond=0),
    }
    return starts[unit]


@registry.implements("Date.getRange")
def get_range(date: Date, unit: str, time_zone: str | None = None) -> DateRange:
    """The whole unit that the instant lies in."""
    _utc_only("Date.getRange", time_zone)
    name = _unit("Date.getRange", unit)
    start = Date.of_datetime(_start_of(date.moment, name))
    return DateRange(start, advance(start, 1, name))


_JODA = {
    "YYYY": "%Y", "yyyy": "%Y", "YY": "%y", "yy": "%y", "MMMM": "%B", "MMM": "%b", "MM": "%m", "dd": "%d", "DDD": "%j",
    "D": "%j", "HH": "%H", "mm": "%M", "ss": "%S", "SSS": "%f", "EEEE": "%A", "EEE": "%a", "M": "%m", "d": "%d",
    "H": "%H", "m": "%M", "s": "%S",
}  # fmt: skip
_JODA_FIELD = re.compile("'([^']*)'|" + "|".join(sorted(_JODA, key=len, reverse=True)))


@registry.implements("Date.format")
def format_date(date: Date, format: str | None = None, time_zone: str | None = None) -> str:
    """ISO 8601, or a pattern of the usual Joda letters."""
    _utc_only("Date.format", time_zone)
    if format is None:
        return timestamp(date.moment).removesuffix("Z")

    def field(match: re.Match[str]) -> str:
        letters = match[0]
        if letters.startswith("'"):
            return match[1]
        text = date.moment.strftime(_JODA[letters])
        if letters == "SSS":
            return text[:3]
        return text.lstrip("0") or "0" if len(letters) == 1 else text

    return _JODA_FIELD.sub(field, format)


@registry.implements("Image.date")
def image_date(image: Image) -> Date:
    """When the image begins."""
    start = image.properties.get("system:time_start")
    if start is None:
        raise invalid("Image.date: Parameter 'value' is required and may not be null.")
    return Date.of(start)
