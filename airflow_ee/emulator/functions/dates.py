"""Dates: made, moved, compared, and taken apart, in any time zone."""

from __future__ import annotations

import calendar
import math
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.promote import registry
from airflow_ee.emulator.values.dates import MILLISECONDS, Date, DateRange, instant, zone_of
from airflow_ee.emulator.values.image import Image
from airflow_ee.emulator.values.numbers import Long

_FIELDS = ("year", "month", "day", "hour", "minute", "second")
_EXACT = ("hour", "minute", "second")
"""Units that are equally long everywhere; the clocks change between the others."""


def unit_of(function: str, unit: str) -> str:
    """A unit's name, for its singular or plural."""
    name = unit.lower().rstrip("s")
    if name not in MILLISECONDS:
        raise invalid(f"{function}: Unknown unit '{unit}'; use one of {', '.join(MILLISECONDS)}.")
    return name


def local(date: Date, zone: tzinfo) -> datetime:
    """What calendar and clock show in a zone."""
    return date.moment.astimezone(zone).replace(tzinfo=None)


def date_at(shown: datetime, zone: tzinfo) -> Date:
    """When calendar and clock show that; times that the clocks skip are moved on."""
    return Date.of_datetime(shown.replace(tzinfo=zone).astimezone(UTC))


@registry.implements("Date")
def make_date(value: Any, time_zone: str | None = None) -> Date:
    """An instant from text, milliseconds or another instant."""
    return Date.of(value, zone_of(time_zone))


@registry.implements("Date.fromYMD")
def from_ymd(year: int, month: int, day: int, time_zone: str | None = None) -> Date:
    """Midnight of a day."""
    try:
        midnight = datetime(year, month, day)
    except (ValueError, OverflowError) as problem:
        raise invalid(f"Date.fromYMD: {problem}.") from None
    return Date.of_datetime(instant(midnight, zone_of(time_zone)))


@registry.implements("Date.millis")
def millis(date: Date) -> int:
    """Milliseconds since 1970."""
    if not math.isfinite(date.milliseconds):
        raise invalid("Date.millis: the ends of all time have no number.")
    return Long(date.milliseconds)


@registry.implements("Date.advance")
def advance(date: Date, delta: float, unit: str, time_zone: str | None = None) -> Date:
    """Moved by whole units of the calendar, or by exact spans of the smaller units."""
    name = unit_of("Date.advance", unit)
    whole = float(delta).is_integer()
    if name in ("month", "year") and not whole:
        raise invalid(f"Date.advance: a fraction of a {name} is not emulated.")
    if name in _EXACT or not whole:
        return Date.of(date.milliseconds + delta * MILLISECONDS[name])
    return _moved(date, int(delta), name, zone_of(time_zone))


def _moved(date: Date, count: int, unit: str, zone: tzinfo) -> Date:
    shown = local(date, zone)
    try:
        if unit in ("day", "week"):
            return date_at(shown + timedelta(days=count * (7 if unit == "week" else 1)), zone)
        return date_at(_in_month(shown, count * (12 if unit == "year" else 1)), zone)
    except (OverflowError, ValueError):
        raise invalid("Date.advance: years before 1 and after 9999 are not emulated.") from None


def _in_month(shown: datetime, months: int) -> datetime:
    """So many months later; the last day where the month is shorter."""
    year, month = divmod(shown.year * 12 + shown.month - 1 + months, 12)
    return _with_month(shown, year, month + 1)


def _with_month(shown: datetime, year: int, month: int) -> datetime:
    day = min(shown.day, calendar.monthrange(year, month)[1])
    return shown.replace(year=year, month=month, day=day)


@registry.implements("Date.difference")
def difference(date: Date, start: Date, unit: str) -> float:
    """In units of average length."""
    return (date.milliseconds - start.milliseconds) / MILLISECONDS[unit_of("Date.difference", unit)]


@registry.implements("Date.unitRatio")
def unit_ratio(numerator: str, denominator: str) -> float:
    """How many of one unit an average other one has."""
    one, other = unit_of("Date.unitRatio", numerator), unit_of("Date.unitRatio", denominator)
    return MILLISECONDS[one] / MILLISECONDS[other]


@registry.implements("Date.get")
def get(date: Date, unit: str, time_zone: str | None = None) -> int:
    """A field of the calendar; weeks are those of ISO 8601."""
    name, shown = unit_of("Date.get", unit), local(date, zone_of(time_zone))
    return Long(shown.isocalendar().week if name == "week" else getattr(shown, name))


@registry.implements("Date.update")
def update(
    date: Date,
    year: int | None = None,
    month: int | None = None,
    day: int | None = None,
    hour: int | None = None,
    minute: int | None = None,
    second: float | None = None,
    time_zone: str | None = None,
) -> Date:
    """Some fields of the calendar and clock set."""
    zone = zone_of(time_zone)
    if second is not None and not float(second).is_integer():
        raise invalid("Date.update: a fraction of a second is not emulated.")
    given = {"day": day, "hour": hour, "minute": minute, "second": second}
    fields: dict[str, Any] = {name: int(value) for name, value in given.items() if value is not None}
    shown = local(date, zone)
    try:
        if year is not None or month is not None:
            shown = _with_month(shown, year or shown.year, month or shown.month)
        return Date.of_datetime(instant(shown.replace(**fields), zone))
    except (ValueError, OverflowError, calendar.IllegalMonthError) as problem:
        raise invalid(f"Date.update: {problem}.") from None


def _start(shown: datetime, unit: str) -> datetime:
    """When the unit began that calendar and clock show."""
    if unit == "week":
        return _start(shown, "day") - timedelta(days=shown.weekday())
    kept = _FIELDS[: _FIELDS.index(unit) + 1]
    least: dict[str, Any] = {"month": 1, "day": 1, "hour": 0, "minute": 0, "second": 0}
    return shown.replace(microsecond=0, **{name: value for name, value in least.items() if name not in kept})


@registry.implements("Date.getRange")
def get_range(date: Date, unit: str, time_zone: str | None = None) -> DateRange:
    """The whole unit that the instant lies in."""
    name, zone = unit_of("Date.getRange", unit), zone_of(time_zone)
    if name in _EXACT:
        shown = local(date, zone)
        begun = Date.of(date.milliseconds - (shown - _start(shown, name)) / timedelta(milliseconds=1))
        return DateRange(begun, Date(begun.milliseconds + MILLISECONDS[name]))
    begun = date_at(_start(local(date, zone), name), zone)
    return DateRange(begun, _moved(begun, 1, name, zone))


@registry.implements("Date.getFraction")
def get_fraction(date: Date, unit: str, time_zone: str | None = None) -> float:
    """How much of the unit that the instant lies in is over."""
    whole = get_range(date, unit, time_zone)
    length = whole.end.milliseconds - whole.start.milliseconds
    return (date.milliseconds - whole.start.milliseconds) / length


@registry.implements("Date.getRelative")
def get_relative(date: Date, unit: str, in_unit: str, time_zone: str | None = None) -> int:
    """How many whole units of a larger one are over; 0 where the unit is not the smaller one."""
    small, large = unit_of("Date.getRelative", unit), unit_of("Date.getRelative", in_unit)
    begun = get_range(date, large, time_zone).start
    if small in _EXACT:
        return Long((date.milliseconds - begun.milliseconds) // MILLISECONDS[small])
    zone = zone_of(time_zone)
    shown, first = local(date, zone), local(begun, zone)
    if small in ("day", "week"):
        return Long((shown.date() - first.date()).days // (7 if small == "week" else 1))
    months = (shown.year - first.year) * 12 + shown.month - first.month - (shown.day < first.day)
    return Long(months // (12 if small == "year" else 1))


@registry.implements("Image.date")
def image_date(image: Image) -> Date:
    """When the image begins."""
    start = image.properties.get("system:time_start")
    if start is None:
        raise invalid("Image.date: Parameter 'value' is required and may not be null.")
    return Date.of(start)
