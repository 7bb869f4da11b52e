"""Intervals of time."""

from __future__ import annotations

from typing import Any

from airflow_ee.emulator.functions.promote import registry
from airflow_ee.emulator.values.dates import ALWAYS, Date, DateRange, zone_of


@registry.implements("DateRange")
def make_range(start: Any, end: Any = None, time_zone: str | None = None) -> DateRange:
    """From the start up to, and not including, the end; a millisecond without one."""
    zone = zone_of(time_zone)
    first = Date.of(start, zone)
    return DateRange(first, Date(first.milliseconds + 1) if end is None else Date.of(end, zone))


@registry.implements("DateRange.unbounded")
def unbounded() -> DateRange:
    """All of time."""
    return ALWAYS


@registry.implements("DateRange.start")
def range_start(date_range: DateRange) -> Date:
    """The first instant."""
    return date_range.start


@registry.implements("DateRange.end")
def range_end(date_range: DateRange) -> Date:
    """The first instant that is not in it."""
    return date_range.end


@registry.implements("DateRange.isEmpty")
def is_empty(date_range: DateRange) -> bool:
    """Whether no instant is in it."""
    return date_range.empty


@registry.implements("DateRange.isUnbounded")
def is_unbounded(date_range: DateRange) -> bool:
    """Whether every instant is in it."""
    return date_range.unbounded


@registry.implements("DateRange.contains")
def contains(date_range: DateRange, other: Any) -> bool:
    """Whether an instant or a whole interval lies in it."""
    if isinstance(other, DateRange):
        return date_range.start <= other.start and other.end <= date_range.end
    return Date.of(other) in date_range


@registry.implements("DateRange.intersects")
def intersects(date_range: DateRange, other: DateRange) -> bool:
    """Whether an instant lies in both."""
    return not intersection(date_range, other).empty


@registry.implements("DateRange.intersection")
def intersection(date_range: DateRange, other: DateRange) -> DateRange:
    """What lies in both."""
    return DateRange(max(date_range.start, other.start), min(date_range.end, other.end))


@registry.implements("DateRange.union")
def union(date_range: DateRange, other: DateRange) -> DateRange:
    """What lies in either or between them; an empty one adds nothing."""
    if date_range.empty or other.empty:
        return other if date_range.empty else date_range
    return DateRange(min(date_range.start, other.start), max(date_range.end, other.end))
