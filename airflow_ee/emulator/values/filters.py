"""Filters as values: each knows whether an element matches, and where and when nothing can."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_ee.emulator.pixels.crs import WGS84
from airflow_ee.emulator.pixels.grid import Bounds
from airflow_ee.emulator.values.dates import Date, DateRange
from airflow_ee.emulator.values.element import geometry_of
from airflow_ee.emulator.values.geometry import Geometry

Test = Callable[[Any, Any], bool]


class FilterValue:
    """Lets everything pass; the others narrow it."""

    def matches(self, element: Any) -> bool:  # noqa: ARG002 -- nothing is refused
        """Whether the element stays."""
        return True

    def window(self) -> DateRange | None:
        """An interval outside of which nothing can match."""
        return None

    def region(self) -> Bounds | None:
        """Longitudes and latitudes outside of which nothing can match."""
        return None

    def as_value(self) -> dict[str, Any]:
        """How ``getInfo`` shows the filter."""
        return {"type": "Filter"}


@dataclass(frozen=True, slots=True)
class Never(FilterValue):
    """Lets nothing pass."""

    def matches(self, element: Any) -> bool:  # noqa: ARG002 -- everything is refused
        """No."""
        return False


@dataclass(frozen=True, slots=True)
class PropertyTest(FilterValue):
    """A property against a value, on whichever side each of them stands."""

    field: str
    value: Any
    test: Test
    value_on_the_left: bool = False
    passes_missing: bool = False

    def matches(self, element: Any) -> bool:
        """Elements without the property do not match, unless the test is for that."""
        found = element.properties.get(self.field)
        if found is None:
            return self.passes_missing
        try:
            return bool(self.test(self.value, found) if self.value_on_the_left else self.test(found, self.value))
        except TypeError:
            return False


@dataclass(frozen=True, slots=True)
class During(FilterValue):
    """An instant of the element within an interval."""

    field: str
    interval: DateRange

    def matches(self, element: Any) -> bool:
        """Elements without the instant do not match."""
        found = element.properties.get(self.field)
        return found is not None and Date.of(found) in self.interval

    def window(self) -> DateRange | None:
        """The interval, where it is about the element's start."""
        return self.interval if self.field == "system:time_start" else None


@dataclass(frozen=True, slots=True)
class Spatial(FilterValue):
    """The element's shape against another."""

    geometry: Geometry
    relation: str

    def matches(self, element: Any) -> bool:
        """Compared in longitude and latitude."""
        own = geometry_of(element)
        if own is None:
            return False
        mine, other = own.in_crs(WGS84), self.geometry.in_crs(WGS84)
        if self.relation == "intersects":
            return bool(mine.intersects(other))
        return bool(mine.within(other) if self.relation == "within" else mine.contains(other))

    def region(self) -> Bounds | None:
        """The other shape's bounds."""
        return self.geometry.bounds_in(WGS84)


@dataclass(frozen=True, slots=True)
class Every(FilterValue):
    """All of several."""

    filters: Sequence[FilterValue]

    def matches(self, element: Any) -> bool:
        """None refuses."""
        return all(each.matches(element) for each in self.filters)

    def window(self) -> DateRange | None:
        """What the intervals have in common."""
        windows = [window for window in (each.window() for each in self.filters) if window is not None]
        if not windows:
            return None
        return DateRange(max(window.start for window in windows), min(window.end for window in windows))

    def region(self) -> Bounds | None:
        """The first region: the others only make it narrower."""
        return next((region for region in (each.region() for each in self.filters) if region is not None), None)


@dataclass(frozen=True, slots=True)
class Either(FilterValue):
    """Any of several."""

    filters: Sequence[FilterValue]

    def matches(self, element: Any) -> bool:
        """One lets pass."""
        return any(each.matches(element) for each in self.filters)

    def window(self) -> DateRange | None:
        """From the first start to the last end, if every one has an interval."""
        windows = [each.window() for each in self.filters]
        known = [window for window in windows if window is not None]
        if not known or len(known) < len(windows):
            return None
        return DateRange(min(window.start for window in known), max(window.end for window in known))


@dataclass(frozen=True, slots=True)
class Opposite(FilterValue):
    """What another refuses."""

    filter: FilterValue

    def matches(self, element: Any) -> bool:
        """Turned round."""
        return not self.filter.matches(element)


@dataclass(frozen=True, slots=True)
class Calendar(FilterValue):
    """A field of the element's start within a range, which may wrap round the year's end."""

    start: int
    end: int
    field: str

    def matches(self, element: Any) -> bool:
        """Elements without a start do not match."""
        found = element.properties.get("system:time_start")
        if found is None:
            return False
        value = calendar_field(Date.of(found), self.field)
        if self.end < self.start:
            return value >= self.start or value <= self.end
        return self.start <= value <= self.end


_FIELDS: dict[str, Callable[[Date], int]] = {
    "year": lambda date: date.moment.year,
    "month": lambda date: date.moment.month,
    "hour": lambda date: date.moment.hour,
    "minute": lambda date: date.moment.minute,
    "day_of_year": lambda date: date.moment.timetuple().tm_yday,
    "day_of_month": lambda date: date.moment.day,
    "day_of_week": lambda date: date.moment.isoweekday(),
}
CALENDAR_FIELDS = tuple(_FIELDS)


def calendar_field(date: Date, field: str) -> int:
    """A field of a date as a number, counted as calendars do."""
    return _FIELDS[field](date)
